import { describe, expect, test } from 'vitest';
import { runCommand } from '../../support/process/command.ts';

const helpOf = async (path: readonly string[], columns = 80): Promise<string> => {
  const { code, stdout, stderr } = await runCommand([...path, '--help'], { screen: { columns } });
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return stdout;
};

/** Every command with its help, as the help itself names them. */
async function allCommands(path: readonly string[] = []): Promise<readonly (readonly string[])[]> {
  const [, list = ''] = /\nCommands:\n((?: .*\n)+)/.exec(await helpOf(path, 400)) ?? [];
  const names = [...list.matchAll(/^ {2}(\S+)/gm)].map(([, name = '']) => name).filter((name) => name !== 'help');
  return [path, ...(await Promise.all(names.map((name) => allCommands([...path, name])))).flat()];
}

const COMMANDS = await allCommands();

test('the help names every command', () => {
  expect(COMMANDS.map((path) => path.join(' '))).toEqual(
    expect.arrayContaining(['', 'serve', 'org show', 'member add', 'model sync', 'doctor', 'backup']),
  );
});

describe.each(COMMANDS.map((path) => ['modelgate', ...path].join(' ')))('the help of %s', (name) => {
  const path = name.split(' ').slice(1);

  test('ends with examples and exit codes', async () => {
    expect(await helpOf(path)).toMatch(/\nExamples?:\n( {2,}\$? ?\S.+\n)+\nExit codes: [^]*$/);
  });

  test.each([60, 80])('breaks no word at %i columns', async (columns) => {
    const [wide, narrow] = [await helpOf(path, 2_000), await helpOf(path, columns)];
    expect(narrow.split('\n').filter((line) => line.length > columns && line.trim().includes(' '))).toEqual([]);
    const wordsOf = (text: string): string[] => text.split(/\s+/).filter((word) => word !== '\\');
    expect(wordsOf(narrow)).toEqual(wordsOf(wide));
  });

  test('says what to do, as every other help does', async () => {
    const [, first = ''] = /^Usage: .*\n\n(\S+)/.exec(await helpOf(path)) ?? [];
    if (path.length > 0) expect(first).not.toMatch(/s$/);
  });

  test('is what `modelgate help` prints', async () => {
    expect((await runCommand(['help', ...path], { screen: { columns: 80 } })).stdout).toBe(await helpOf(path));
  });
});

test('help of what is no command is wrong use', async () => {
  expect(await runCommand(['help', 'model', 'alow'])).toMatchObject({
    code: 2,
    stderr: 'modelgate: There is no command "alow".\n',
  });
});
