import { describe, expect, test } from 'vitest';
import { runCommand } from '../../support/process/command.ts';

async function printed(...words: string[]): Promise<string> {
  const { code, stdout, stderr } = await runCommand(words);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return stdout;
}

/** What the script offers at each place. */
const offeredIn = (script: string): ReadonlyMap<string, readonly string[]> =>
  new Map(
    [...script.matchAll(/^ {4}'((?: [a-z][\w-]*)*)'\) words='(.*)' ;;$/gm)].map(([, at = '', words = '']) => [
      at,
      words.split(' '),
    ]),
  );

describe.each(['bash', 'zsh'])('completion %s', (shell) => {
  test('offers at each place the commands and options of its help', async () => {
    const offered = offeredIn(await printed('completion', shell));
    expect(offered.size).toBeGreaterThan(20);
    for (const [at, words] of offered) {
      const help = await printed(...at.split(' ').slice(1), '--help');
      const options = [...help.matchAll(/^ {2}(?:-\w, )?(--[\w-]+)/gm)].map(([, option]) => option);
      expect(words.filter((word) => word.startsWith('--'))).toEqual(options);
      const commands = [...help.matchAll(/^ {2}([a-z][\w-]*)(?= \[options\]| .* {2}| {2})/gm)].map(([, name]) => name);
      expect(commands).toEqual(expect.arrayContaining(at === ' completion' ? [] : commandsOf(words)));
    }
  });

  test('offers the values that an option or argument can have', async () => {
    const script = await printed('completion', shell);
    expect(script).toContain("    ' model sync --from') words='table config live' ;;\n");
    expect(script).toContain("    *' --database') words='' ;;\n");
    expect(offeredIn(script).get(' completion')).toEqual(['bash', 'zsh', 'fish', '--help']);
  });
});

const commandsOf = (words: readonly string[]): string[] => words.filter((word) => !word.startsWith('-'));

test('completion fish has a line for each command and option, with what it does', async () => {
  const lines = (await printed('completion', 'fish')).split('\n');
  expect(lines).toEqual(
    expect.arrayContaining([
      `complete -c modelgate -n "__modelgate_at ''" -a doctor -d 'look for what usually is wrong, and say what to do; nothing is changed'`,
      `complete -c modelgate -n "__modelgate_at ' model allow'" -l json -d 'print JSON'`,
      `complete -c modelgate -n "__modelgate_at ' model sync'" -l from -r -a 'table config live' -d 'where the catalogue is read'`,
      String.raw`complete -c modelgate -n "__modelgate_at ' org list'" -l database -r -F -d 'the backend\'s SQLite file, in place of DATABASE_URL'`,
    ]),
  );
});

test('completion of another shell is refused with those that there are', async () => {
  expect(await runCommand(['completion', 'tcsh'])).toMatchObject({
    code: 2,
    stderr: 'modelgate: <shell> "tcsh": expected one of bash, zsh, fish.\n',
  });
});

test('the manual page has a section for each command, and nothing that roff would take for a request', async () => {
  const page = await printed('man');
  expect(page).toMatch(/^\.TH MODELGATE 1 "" "modelgate \d/);
  for (const command of ['serve', 'model sync', 'backup']) {
    expect(page).toContain(`.SS modelgate ${command}\n.nf\nUsage: modelgate ${command} `);
  }
  expect(page).toContain('.SH EXIT STATUS\nExit codes: 0 done');
  expect(page.match(/^\.\w+/gm)?.every((request) => ['.TH', '.SH', '.SS', '.nf', '.fi'].includes(request))).toBe(true);
});
