/** Who may use a file, in words: in containers the backend and the gate are two users of one folder. */
import { accessSync, constants, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { getegid, geteuid } from 'node:process';

/** @returns owners by number, user:group, and modes, of the file, its folder and this process; never throws */
export function describeAccess(path: string): string {
  const folder = `its folder ${ownerOf(dirname(path))}`;
  const asker = `this process is ${geteuid?.() ?? 'unknown'}:${getegid?.() ?? 'unknown'}`;
  const mount = isReadOnlyMount(dirname(path)) ? ', and the file system is mounted read-only' : '';
  return `${path} ${ownerOf(path)}, ${folder}, ${asker}${mount}`;
}

function ownerOf(path: string): string {
  try {
    const { uid, gid, mode } = statSync(path);
    return `belongs to ${uid}:${gid} with mode ${(mode & 0o7777).toString(8)}`;
  } catch (error) {
    return `cannot be looked at (${codeOf(error)})`;
  }
}

function isReadOnlyMount(folder: string): boolean {
  try {
    accessSync(folder, constants.W_OK);
    return false;
  } catch (error) {
    return codeOf(error) === 'EROFS';
  }
}

const codeOf = (error: unknown): string => (error instanceof Error && 'code' in error ? String(error.code) : 'unknown');
