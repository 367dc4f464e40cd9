/** A backup while the backend goes on writing: copied, checked, compressed, and compared with what was checked. */
import { mkdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { failureCode } from '../../store/database.ts';
import type { Operation } from '../backend-file.ts';
import { reading } from '../backend-file.ts';
import type { DatabaseFacts } from '../database-facts.ts';
import { OperationFailure } from '../failure.ts';
import { toFailure } from '../file-failure.ts';
import { shellCommand } from '../shell-words.ts';
import { compressFile, hashCompressed } from './compression.ts';
import { requireSpace, sizeOf } from './disk-space.ts';
import { createPartial, discard, publish, removeStalePartials } from './partial-file.ts';
import type { Retained } from './retention.ts';
import { backupName, deleteOldBackups } from './retention.ts';
import type { OnStep } from './verified-copy.ts';
import { makeVerifiedCopy } from './verified-copy.ts';

export interface BackupOptions {
  /** Absolute. */
  readonly directory: string;
  /** Milliseconds; undefined keeps everything. */
  readonly keepMs?: number | undefined;
  readonly now: Date;
  readonly onStep: OnStep;
}

export interface Backup extends Retained {
  readonly path: string;
  readonly bytes: number;
  /** Of the database that is in it. */
  readonly databaseBytes: number;
  readonly facts: DatabaseFacts;
  /** Rows that break a rule of their table, in SQLite's words. */
  readonly complaints: readonly string[];
  /** The folder was not there. */
  readonly madeDirectory: boolean;
}

/** @returns what was made, and which old ones were deleted @throws OperationFailure; then neither was done */
export async function backUp(operation: Operation, options: BackupOptions): Promise<Backup> {
  const { directory, keepMs, now, onStep } = options;
  const { signal } = operation.patience;
  await reading(operation, 'backend', () => undefined);
  const madeDirectory = prepareDirectory(directory);
  requireSpace(sizeOf(operation.path), directory, 'the copy');
  const copy = await makeVerifiedCopy(operation, join(directory, backupName(now, 1).replace('.gz', '')), onStep);
  let compressed: string | undefined;
  try {
    const databaseBytes = statSync(copy.partial).size;
    compressed = createPartial(join(directory, backupName(now, 1)));
    const original = await compressFile(copy.partial, compressed, signal, (done, total) =>
      onStep('compress', done, total),
    );
    const unpacked = await hashCompressed(compressed, signal, (done, total) => onStep('verify', done, total));
    if (unpacked !== original) {
      throw new OperationFailure(
        `The compressed backup does not give back what was checked, and was thrown away. Look into the log of the system for errors of the disk under ${directory}.`,
      );
    }
    const path = publish(compressed, (attempt) => backupName(now, attempt));
    const retained = keepMs === undefined ? { deleted: [], stuck: [] } : deleteOldBackups(directory, path, keepMs, now);
    const { facts, complaints } = copy;
    return { path, bytes: statSync(path).size, databaseBytes, facts, complaints, madeDirectory, ...retained };
  } catch (error) {
    if (compressed !== undefined) discard(compressed);
    throw toFailure(error, directory);
  } finally {
    discard(copy.partial);
  }
}

/**
 * Makes the folder where only it is missing, and takes away what killed commands have left in it.
 * @returns whether it was made
 * @throws OperationFailure
 */
export function prepareDirectory(directory: string): boolean {
  try {
    const found = statSync(directory, { throwIfNoEntry: false });
    if (found !== undefined && !found.isDirectory()) {
      throw new OperationFailure(`${directory} is not a folder. Nothing was changed. Name a folder for the backups.`, {
        code: 'no_such_file',
      });
    }
    if (found === undefined) {
      // with `recursive` a volume that is not mounted would become a folder on the disk of the system
      mkdirSync(directory, { mode: 0o700 });
      return true;
    }
    removeStalePartials(directory);
    return false;
  } catch (error) {
    if (/^(?:ENOENT|ENOTDIR)$/.test(failureCode(error))) {
      throw new OperationFailure(
        `There is no folder ${dirname(directory)} to make ${directory} in. Nothing was changed. Is the volume mounted? Else make it: \`${shellCommand('mkdir', '-p', directory)}\``,
        { code: 'no_such_file' },
      );
    }
    throw toFailure(error, directory);
  }
}
