/** The backup before a migration: beside the database as in the deployment guide, or in a folder of the operator's. */
import { accessSync, constants } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Operation } from '../backend-file.ts';
import { prepareDirectory } from '../copies/backup.ts';
import { requireSpace, sizeOf } from '../copies/disk-space.ts';
import { discard, publish } from '../copies/partial-file.ts';
import type { OnStep, VerifiedCopy } from '../copies/verified-copy.ts';
import { makeVerifiedCopy } from '../copies/verified-copy.ts';
import { toFailure } from '../file-failure.ts';
import { numbered, toMoment } from '../moment.ts';

export interface MigrationBackup extends Omit<VerifiedCopy, 'partial'> {
  readonly path: string;
}

/**
 * @param directory undefined: beside the database
 * @returns `webui.db.backup.20260131_030000`, a whole and checked copy
 * @throws OperationFailure where the database is damaged or the copy cannot be made; then nothing was left behind
 */
export async function backUpBeforeMigration(
  operation: Operation,
  { directory = dirname(operation.path), now, onStep }: { directory?: string | undefined; now: Date; onStep: OnStep },
): Promise<MigrationBackup> {
  requireWritable(operation.path);
  prepareDirectory(directory);
  requireSpace(sizeOf(operation.path), directory, 'the backup');
  const nameOf = (attempt: number): string => numbered(`${basename(operation.path)}.backup.${toMoment(now)}`, attempt);
  const { partial, facts, complaints } = await makeVerifiedCopy(operation, join(directory, nameOf(1)), onStep);
  try {
    return { path: publish(partial, nameOf), facts, complaints };
  } catch (error) {
    discard(partial);
    throw toFailure(error, directory);
  }
}

/** A backup of what cannot be migrated afterwards would only be in the way. */
function requireWritable(path: string): void {
  for (const needed of [path, dirname(path)]) {
    try {
      accessSync(needed, constants.W_OK);
    } catch (error) {
      throw toFailure(error, needed);
    }
  }
}
