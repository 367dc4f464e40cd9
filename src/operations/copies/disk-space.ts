/** Room on disks, and sizes in words. */
import { statfsSync, statSync } from 'node:fs';
import { OperationFailure } from '../failure.ts';

/** @returns bytes, 0 where there is no such file */
export const sizeOf = (path: string): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0;

/**
 * @param what stands before "needs"
 * @throws OperationFailure where what is needed would not fit into the folder
 */
export function requireSpace(needed: number, directory: string, what: string): void {
  const { bavail, bsize } = statfsSync(directory);
  const free = bavail * bsize;
  if (free >= needed) return;
  throw new OperationFailure(
    `${directory} has ${asSize(free)} free, and ${what} needs up to ${asSize(needed)}. Nothing was changed. Free some space first.`,
    { code: 'disk_full' },
  );
}

/** `478.2 MB`, `12.5 KB`; 1 MB = 1024 KB, as in the settings. */
export function asSize(bytes: number): string {
  const [scale, unit] = bytes < 1024 * 1024 ? [1024, 'KB'] : [1024 * 1024, 'MB'];
  return `${(bytes / scale).toLocaleString('en', { minimumFractionDigits: 1, maximumFractionDigits: 1 })} ${unit}`;
}
