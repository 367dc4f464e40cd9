import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** What a script of this folder prints. */
export function runPython(script: string, words: readonly string[], input = ''): string {
  return execFileSync('python3', [fileURLToPath(new URL(script, import.meta.url)), ...words], {
    input,
    encoding: 'utf8',
    env: { ...process.env, PYTHONUTF8: '1' },
    timeout: 60_000,
    maxBuffer: 64 * 1024 * 1024,
  });
}

/** One process for all orders: a line of JSON each, and a line of JSON back. */
export function askPython<T>(script: string, orders: readonly object[]): T[] {
  return runPython(script, [], orders.map((order) => JSON.stringify(order)).join('\n'))
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as T);
}
