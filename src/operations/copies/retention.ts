/**
 * Which backups of a folder are too old to keep. Age is what the name says, so that a copied file keeps it; files of
 * any other name are nobody's backups and are never touched.
 */
import { lstatSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { failureCode } from '../../store/database.ts';
import { numbered, parseMoment, toMoment } from '../moment.ts';

/** `webui_20260131_030000.db.gz`, as the guide's script names them. */
export const backupName = (moment: Date, attempt: number): string =>
  `${numbered(`webui_${toMoment(moment)}`, attempt)}.db.gz`;

const BACKUP = /^webui_(\d{8}_\d{6})(?:-\d+)?\.db\.gz$/;

export interface Retained {
  readonly deleted: readonly string[];
  /** Too old, and could not be deleted. */
  readonly stuck: readonly { readonly path: string; readonly code: string }[];
}

/**
 * Deletes backups that are older than `keepMs`.
 * @param keepMs milliseconds
 * @param newest the one that has just been made and verified: it stays, whatever the clock says
 */
export function deleteOldBackups(directory: string, newest: string, keepMs: number, now: Date): Retained {
  const deleted: string[] = [];
  const stuck: { path: string; code: string }[] = [];
  for (const entry of readdirSync(directory).toSorted()) {
    const path = join(directory, entry);
    const made = parseMoment(BACKUP.exec(entry)?.[1] ?? '');
    if (made === undefined || path === newest || now.getTime() - made.getTime() <= keepMs) continue;
    try {
      if (!lstatSync(path).isFile()) continue;
      rmSync(path);
      deleted.push(path);
    } catch (error) {
      stuck.push({ path, code: failureCode(error) });
    }
  }
  return { deleted, stuck };
}
