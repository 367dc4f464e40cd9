/** How fast the ledger grows, and whether its disk has room for that. */
import { existsSync, statfsSync } from 'node:fs';
import { dirname } from 'node:path';
import { asSize } from '../backend-file/text.ts';
import { ATTEMPT_MS, closing } from '../backend-file/transaction.ts';
import type { PostgresAddress } from '../config/postgres-url.ts';
import {
  type Connection,
  describeFailure,
  failureCode,
  isFile,
  noteCompanions,
  openForReading,
} from '../store/database.ts';
import { openBlocking } from '../store/postgres/blocking.ts';
import { PostgresFailure } from '../store/postgres/failure.ts';
import { isLost, remedyFor } from '../usage/remedy.ts';
import { hasLedger } from '../usage/schema.ts';
import { firstIdOf } from '../usage/statements.ts';
import { type Verdict, ok, problem, unknown, warning } from './finding.ts';

const DAY_MS = 86_400_000;
const SEEN_DAYS = 7;
const YEAR_DAYS = 365;
/** Less than this of a disk, or less than so many days of growth, and it is nearly full. */
const LEAST_FREE = 0.05;
const LEAST_DAYS = 30;
const LEAST_ROWS = 1_000;

/** Where the ledger is, as `LedgerConfig` has it. */
export interface LedgerPlace {
  readonly path: string;
  readonly postgres?: PostgresAddress | undefined;
}

/** Whether a file can be written is seen with the settings. */
export const checkLedger = (place: LedgerPlace): Promise<readonly Verdict[]> =>
  onLedger(place, ok(`There is no ledger at ${place.path} yet: the gate makes it.`), (ledger) => {
    const growth = growthOf(ledger);
    const found = describeGrowth(place.path, growth);
    if (isFile(ledger)) return [found, ...checkRoom(dirname(place.path), growth.bytesADay)];
    const isWritable = Number(askOf(ledger, WRITABLE)[0]?.['writable']) === 1;
    const finding = 'The role of the gate may not write the tables of the ledger: no call can be counted.';
    return [found, ...(isWritable ? [] : [problem(finding, remedyFor('42501', place.postgres))])];
  });

/** @param absent what is said where there is none @returns what `check` says, or that the ledger cannot be read */
export async function onLedger(
  { path, postgres }: LedgerPlace,
  absent: Verdict,
  check: (ledger: Connection) => readonly Verdict[],
): Promise<readonly Verdict[]> {
  if (postgres !== undefined) {
    try {
      using ledger = closing(await openBlocking(postgres));
      return hasLedger(ledger) ? check(ledger) : [absent];
    } catch (error) {
      if (error instanceof PostgresFailure) return [problem(error.message, remedyFor(error.code, postgres))];
      throw error;
    }
  }
  if (!existsSync(path)) return [absent];
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

/** What gates count in the backend's database budgets in a file do not know of. @param database where policy is */
export async function checkOtherLedger({ path, postgres }: LedgerPlace, database: PostgresAddress | undefined) {
  if (postgres !== undefined || database === undefined) return [];
  const place = { path: database.shown, postgres: database };
  const found = await onLedger(place, ok(''), (ledger) => {
    const calls = Math.round(growthOf(ledger).rowsADay * SEEN_DAYS).toLocaleString('en');
    const finding = `Calls are counted in ${database.shown} too, ${calls} in the last week: budgets there know nothing of ${path}, nor these of that.`;
    const remedy =
      'Give all gates one ledger: the same MODELGATE_USAGE_DATABASE, or neither it nor MODELGATE_STATE_DIR.';
    return calls === '0' ? [] : [warning(finding, remedy)];
  });
  // the database has checks of its own
  return found.filter(({ status }) => status === 'warning');
}

interface Growth {
  readonly rows: number;
  readonly bytes: number;
  /** Of the last week. */
  readonly rowsADay: number;
  readonly bytesADay: number;
}

const OWN = `pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relkind = 'r' AND c.relname LIKE 'usage\\_%'`;
const SIZE = `SELECT sum(pg_total_relation_size(c.oid))::bigint AS bytes FROM ${OWN}`;
const WRITABLE = `SELECT bool_and(has_table_privilege(c.oid, 'INSERT') AND has_table_privilege(c.oid, 'UPDATE')
  AND has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'DELETE')) AS writable FROM ${OWN}`;

const askOf = ({ postgres }: Connection, sql: string) => postgres?.ask(sql, [postgres.name]) ?? [];

function sizeOf(ledger: Connection): number {
  if (!isFile(ledger)) return Number(askOf(ledger, SIZE)[0]?.['bytes']);
  const pragma = (name: string): number => Number(ledger.pragma(name, { simple: true }));
  return (pragma('page_count') - pragma('freelist_count')) * pragma('page_size');
}

function growthOf(ledger: Connection): Growth {
  const count = ledger.prepare<[string], number>('SELECT count(*) FROM usage_request WHERE id >= ?').pluck();
  const rows = count.get('') ?? 0;
  const bytes = sizeOf(ledger);
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
