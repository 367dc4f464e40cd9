/**
 * SQLite's own look at every page: the guide's `PRAGMA integrity_check`. It takes seconds for each gigabyte. In WAL mode
 * nobody waits for it; outside of it a reader keeps writers out, so a copy is checked in place of a large file.
 */
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Operation } from '../backend-file.ts';
import { asSize } from '../copies/disk-space.ts';
import { readIntegrity } from '../copies/integrity.ts';
import { copyLive } from '../copies/live-copy.ts';
import { explainFailure } from '../file-failure.ts';
import type { Finding } from './finding.ts';
import { ok, problem, unknown } from './finding.ts';

const NAME = 'integrity';
/** Checked in a third of a second, for which the backend's writers wait. */
const SMALL_BYTES = 32 * 1024 ** 2;

/** @param mode as `PRAGMA journal_mode` says @throws errors with SQLite's code; OperationFailure after Ctrl-C */
export async function checkIntegrity(
  operation: Operation,
  mode: string,
  onProgress: (done: number, total: number) => void,
): Promise<Finding> {
  const { path, patience } = operation;
  const { size } = statSync(path);
  if (mode === 'wal' || size <= SMALL_BYTES) return judge(await readIntegrity(path, patience.signal), size);
  const folder = mkdtempSync(join(tmpdir(), 'modelgate-doctor-'));
  try {
    const copy = join(folder, 'copy.db');
    writeFileSync(copy, '', { mode: 0o600 });
    await copyLive(operation, copy, () => undefined, { onProgress });
    return judge(await readIntegrity(copy, patience.signal), size);
  } catch (error) {
    const isNoRoom = explainFailure(error, folder)?.finding.includes('disk is full') === true;
    if (!isNoRoom) throw error;
    return unknown(
      NAME,
      `Not checked: ${folder} has no room for a copy of ${asSize(size)}, and checking the file itself would keep the backend from writing.`,
      'Run it with TMPDIR in a folder with more room, or while the backend is stopped.',
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function judge(
  { damage, complaints }: { readonly damage: readonly string[]; readonly complaints: readonly string[] },
  size: number,
): Finding {
  // SQLite puts a headline over the findings about pages
  const [first = '', ...more] = damage.filter((line) => !line.startsWith('***'));
  if (damage.length > 0) {
    return problem(
      NAME,
      `The file is damaged: ${first}${more.length > 0 ? `, and ${more.length} findings more` : ''}.`,
      'Keep a plain copy of it (cp), then bring back a backup: `modelgate restore FILE`',
    );
  }
  // the backend has written them, and nobody can put that right
  const [complaint] = complaints;
  const aside = complaint === undefined ? '' : `; some rows break a rule of their own table (${complaint})`;
  return ok(NAME, `Integrity check passed: SQLite has read every page of the file (${asSize(size)})${aside}.`);
}
