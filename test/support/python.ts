import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** Python is the backend's language and on most machines; where it is not, the tests that ask it are left out. */
export const hasPython = spawnSync('python3', ['--version']).status === 0;

/** One process for all orders: a line of JSON each. */
export function askPython<T>(script: string, orders: readonly object[]): T[] {
  const path = fileURLToPath(new URL(script, import.meta.url));
  const input = orders.map((order) => JSON.stringify(order)).join('\n');
  const { status, stdout, stderr } = spawnSync('python3', [path], {
    input,
    encoding: 'utf8',
    timeout: 60_000,
    maxBuffer: 64 * 1024 * 1024,
  });
  if (status !== 0) throw new Error(stderr);
  return stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as T);
}
