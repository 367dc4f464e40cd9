/** `modelgate demo` as a process, the lines that it prints to be pasted, and the keys of its users. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { withTimeout } from '../process/with-timeout.ts';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
export const MAIN = join(ROOT, 'src/main.ts');

export interface Demo {
  readonly child: ChildProcess;
  /** What stands on standard output so far. */
  output(): string;
  /** What the demo printed before it began to wait. */
  readonly guide: string;
  readonly databasePath: string;
  readonly failures: () => string;
}

export const startDemo = (...words: string[]) => start(process.execPath, [MAIN, 'demo', ...words]);

/** In a process group of its own, as a shell starts it: Ctrl-C reaches every process of the group. */
export async function start(program: string, words: readonly string[]): Promise<Demo> {
  const child = spawn(program, words, { cwd: ROOT, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  let failures = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (failures += text));
  const ready = new Promise<void>((resolve, reject) => {
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
      if (output.includes('Ctrl-C ends the demo')) resolve();
    });
    child.once('exit', (code) => reject(new Error(`the demo ended with ${code ?? 'a signal'}: ${output}${failures}`)));
  });
  await withTimeout(ready, 40_000, 'the demo prints its guide');
  const databasePath = /database {2}(\S+)/.exec(output)?.[1] ?? '';
  return { child, output: () => output, guide: output, databasePath, failures: () => failures };
}

export async function interrupt({ child }: Demo): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
  const ended = once(child, 'exit') as Promise<[number | null]>;
  if (child.pid !== undefined) process.kill(-child.pid, 'SIGINT');
  return (await withTimeout(ended, 15_000, 'the demo ends'))[0];
}

/** The printed commands in their order: the one that loads the keys, then those to try. */
export const commandsOf = ({ guide }: Demo): readonly string[] =>
  guide
    .slice(guide.indexOf('Three things to try'))
    .split('\n')
    .filter((line) => line.startsWith('  '))
    .map((line) => line.trim());

/** What the file of the keys says of a variable. */
export function keyOf({ databasePath }: Demo, variable: string): string {
  const keys = readFileSync(join(dirname(databasePath), 'keys'), 'utf8');
  const [, value] = new RegExp(`^${variable}='?(.*?)'?$`, 'm').exec(keys) ?? [];
  if (value === undefined) throw new Error(`the keys have no ${variable}`);
  return value;
}
