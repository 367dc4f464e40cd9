/** Who may use a file, in words: in containers the backend and the gate are two users of one folder. */
import { accessSync, constants, statfsSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { getegid, geteuid } from 'node:process';

/** @returns owners by number, user:group, and modes, of the file, its folder and this process; never throws */
export function describeAccess(path: string): string {
  const folder = `its folder ${ownerOf(dirname(path))}`;
  const asker = `this process is ${geteuid?.() ?? 'unknown'}:${getegid?.() ?? 'unknown'}`;
  const mount = isReadOnlyMount(dirname(path)) ? ', and the file system is mounted read-only' : '';
  return `${path} ${ownerOf(path)}, ${folder}, ${asker}${mount}`;
}

/** What a commit and its journal need, at the least. */
const SMALLEST_ROOM_BYTES = 64 * 1024;

/** Is there no room left beside the file, for this user, in bytes or in files? False where that cannot be seen. */
export function isDiskFull(path: string): boolean {
  try {
    const { blocks, bavail, bsize, files, ffree } = statfsSync(dirname(path));
    // some file systems count neither
    return (blocks > 0 && bavail * bsize < SMALLEST_ROOM_BYTES) || (files > 0 && ffree === 0);
  } catch {
    return false;
  }
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
