/** How Debian's PostgreSQL is run by a test: which programs, as whom, on which port. */
import { execFileSync } from 'node:child_process';
import { chownSync, existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Whom the server runs as: it refuses root. */
export const OWNER =
  process.getuid?.() === 0
    ? { uid: Number(execFileSync('id', ['-u', 'postgres'])), gid: Number(execFileSync('id', ['-g', 'postgres'])) }
    : {};

/** Where Debian keeps the programs of the newest version that is installed. */
export function program(name: string): string {
  const root = '/usr/lib/postgresql';
  const versions = existsSync(root) ? readdirSync(root).toSorted((a, b) => Number(b) - Number(a)) : [];
  const found = versions.map((version) => join(root, version, 'bin', name)).find((path) => existsSync(path));
  if (found === undefined)
    throw new Error('PostgreSQL is not installed: this test needs the Debian package postgresql');
  return found;
}

/** @returns what it printed @throws Error with what the program wrote, where it fails */
export const run = (name: string, words: readonly string[], env: Record<string, string> = {}): string =>
  execFileSync(program(name), words, {
    ...OWNER,
    ...{ cwd: '/', env: { ...process.env, ...env }, stdio: 'pipe', encoding: 'utf8', maxBuffer: 2 ** 26 },
  });

/** Only the server itself may read it: it refuses a key that others can read. */
export function writePrivately(path: string, text: string): void {
  writeFileSync(path, text, { mode: 0o600 });
  if (OWNER.uid !== undefined) chownSync(path, OWNER.uid, OWNER.gid);
}
