/** How fast the ledger grows, and whether its disk has room for that. */
import { existsSync, statfsSync } from 'node:fs';
import { dirname } from 'node:path';
import { asSize } from '../backend-file/text.ts';
import { ATTEMPT_MS, closing } from '../backend-file/transaction.ts';
import {
  type FileConnection,
  describeFailure,
  failureCode,
  noteCompanions,
  openForReading,
} from '../store/database.ts';
import { isLost, remedyFor } from '../usage/remedy.ts';
import { firstIdOf } from '../usage/statements.ts';
import { type Verdict, ok, problem, unknown, warning } from './finding.ts';

const DAY_MS = 86_400_000;
const SEEN_DAYS = 7;
const YEAR_DAYS = 365;
/** Less than this of a disk, or less than so many days of growth, and it is nearly full. */
const LEAST_FREE = 0.05;
const LEAST_DAYS = 30;
const LEAST_ROWS = 1_000;

/** @param path of `usage.db`. Whether it can be written is seen with the settings */
export function checkLedger(path: string): readonly Verdict[] {
  if (!existsSync(path)) return [ok(`There is no ${path} yet: the gate makes it.`)];
  return onLedger(path, (ledger) => {
    const growth = growthOf(ledger);
    return [describeGrowth(path, growth), ...checkRoom(dirname(path), growth.bytesADay)];
  });
}

/** @param path of a file that is there @returns what `check` says, or that the file cannot be read */
export function onLedger(path: string, check: (ledger: FileConnection) => readonly Verdict[]): readonly Verdict[] {
  using cleanup = new DisposableStack();
  cleanup.defer(noteCompanions(path));
  try {
    using ledger = closing(openForReading(path, ATTEMPT_MS));
    return check(ledger);
  } catch (error) {
    if (!failureCode(error).startsWith('SQLITE_')) throw error;
    const finding = `the ledger ${path} cannot be read, ${describeFailure(error, path)}.`;
    const code = failureCode(error);
    return [
      isLost(code) ? problem(`No call is counted: ${finding}`, remedyFor(code)) : unknown(`Not checked: ${finding}`),
    ];
  }
}

interface Growth {
  readonly rows: number;
  readonly bytes: number;
  /** Of the last week. */
  readonly rowsADay: number;
  readonly bytesADay: number;
}

function growthOf(ledger: FileConnection): Growth {
  const pragma = (name: string): number => Number(ledger.pragma(name, { simple: true }));
  const count = ledger.prepare<[string], number>('SELECT count(*) FROM usage_request WHERE id >= ?').pluck();
  const rows = count.get('') ?? 0;
  const bytes = (pragma('page_count') - pragma('freelist_count')) * pragma('page_size');
  const rowsADay = (count.get(firstIdOf(Date.now() - SEEN_DAYS * DAY_MS)) ?? 0) / SEEN_DAYS;
  return { rows, bytes, rowsADay, bytesADay: rows === 0 ? 0 : (rowsADay * bytes) / rows };
}

function describeGrowth(path: string, { rows, bytes, rowsADay, bytesADay }: Growth): Verdict {
  if (rows === 0) return ok(`${path} (${asSize(bytes)}) has no call yet.`);
  const calls = `${rows.toLocaleString('en')} ${rows === 1 ? 'call' : 'calls'}`;
  const each = `${Math.round(bytes / rows).toLocaleString('en')} bytes a call`;
  // of a few calls the file's own pages say nothing
  if (rows < LEAST_ROWS) return ok(`${path} (${asSize(bytes)}) has ${calls}.`);
  const rate = Math.round(rowsADay).toLocaleString('en');
  return ok(
    `${path} (${asSize(bytes)}) has ${calls}, ${each}. At the rate of the last week (${rate} a day) it grows by ${asSize(bytesADay * YEAR_DAYS)} a year; MODELGATE_USAGE_KEEP says how long calls are kept.`,
  );
}

function checkRoom(folder: string, bytesADay: number): readonly Verdict[] {
  const { bavail, blocks, bsize } = statfsSync(folder);
  const [free, size] = [bavail * bsize, blocks * bsize];
  const days = bytesADay === 0 ? Infinity : free / bytesADay;
  if (free >= size * LEAST_FREE && days >= LEAST_DAYS) return [];
  const until = days < YEAR_DAYS ? `, enough for ${Math.floor(days).toLocaleString('en')} days of calls` : '';
  return [
    warning(
      `The disk of ${folder} has ${asSize(free)} left of ${asSize(size)}${until}. When it is full, no call can be written.`,
      'Free space, or put MODELGATE_STATE_DIR on a disk with more of it.',
    ),
  ];
}
