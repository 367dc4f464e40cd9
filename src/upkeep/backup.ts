/** Copies of the database, opened, checked and compared before anything relies on them; and backups, which are made of one. */
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream, lstatSync, readdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Duplex } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { isDeepStrictEqual } from 'node:util';
import { createGunzip, createGzip } from 'node:zlib';
import { OperationFailure, toFailure, unchanged } from '../backend-file/failure.ts';
import { numbered, parseMoment, quoted, secondsSince, toMoment } from '../backend-file/text.ts';
import { type Operation, closing, hearStop, reading, requireTables } from '../backend-file/transaction.ts';
import { type Connection, failureCode, openForReading } from '../store/database.ts';
import { readSchema } from '../store/schema.ts';
import { copyLive } from './copy.ts';
import {
  createPartial,
  discard,
  prepareDirectory,
  publish,
  removeStalePartials,
  requireSpace,
  sizeOf,
} from './files.ts';
import { runLong } from './maintenance.ts';

export type Step = 'copy' | 'check' | 'compress' | 'verify' | 'decompress';

export type OnStep = (step: Step, done: number, total: number) => void;

interface Making {
  readonly signal: AbortSignal;
  readonly onStep: OnStep;
  readonly original: string;
  /** Before "needs … bytes". */
  readonly copy: string;
  /** Where the original is damaged. */
  readonly remedy: string;
  readonly fill: (partial: string) => Promise<DatabaseFacts>;
  /** After the check. @throws OperationFailure where the copy is not what was read */
  readonly finish: (partial: string, facts: DatabaseFacts) => void;
  readonly explain: (error: unknown, folder: string) => unknown;
}

/** @returns a checked copy beside the target, which the caller publishes or discards @throws; nothing is left behind then */
export async function makeVerified(target: string, making: Making) {
  const { original, copy, remedy, signal, onStep } = making;
  const folder = dirname(target);
  let partial: string | undefined;
  try {
    removeStalePartials(folder);
    requireSpace(sizeOf(original), folder, copy);
    partial = createPartial(target);
    const facts = await making.fill(partial);
    onStep('check', 0, 1);
    const { damage, complaints } = await readIntegrity(partial, signal);
    if (damage !== undefined)
      throw unchanged(`${original} is damaged: ${damage} (integrity_check).`, remedy, { code: 'damaged' });
    making.finish(partial, facts);
    await hearStop(signal);
    return { partial, facts, complaints };
  } catch (error) {
    if (partial === undefined) throw toFailure(error, folder);
    discard(partial);
    throw making.explain(error, folder);
  }
}

/** A copy of the live database. @throws OperationFailure as `makeVerified` */
export function makeVerifiedCopy(operation: Operation, target: string, onStep: OnStep) {
  const { path, patience } = operation;
  const factsOf = (connection: Connection): DatabaseFacts => readFacts(connection, path);
  return makeVerified(target, {
    signal: patience.signal,
    onStep,
    original: path,
    copy: 'the copy',
    remedy: 'Keep a plain copy of it (cp), then bring back a backup: `modelgate restore FILE`',
    fill: (partial) => copyLive(operation, partial, factsOf, (done, total) => onStep('copy', done, total)),
    finish(partial, facts) {
      using copy = closing(openForReading(partial, 0));
      const copied: Readonly<Record<string, unknown>> = factsOf(copy);
      const differing = Object.entries(facts).find(([what, value]) => !isDeepStrictEqual(value, copied[what]))?.[0];
      if (differing === undefined) return;
      throw unchanged(
        `The copy of ${path} does not hold what was read (${differing} differ), and was thrown away.`,
        'Try again; if it stays so, look into the log of the system for errors of the disk.',
      );
    },
    explain(error, folder) {
      // reading never fills a disk
      const isOfTarget = /^(?:ENOSPC|EDQUOT|EFBIG|EROFS|SQLITE_FULL|SQLITE_IOERR_WRITE)/.test(failureCode(error));
      return toFailure(error, isOfTarget ? folder : path);
    },
  });
}

/** The backend has written such rows: they say nothing about the disk, and a backup that refused them would be none. */
const BROKEN_RULE = /^(?:NULL value in |CHECK constraint failed in |(?:TEXT|NUMERIC|INT|REAL|BLOB|non-\w+) value in )/;

/** @returns what is wrong about the file, in short, and rows that break a rule of their table, in SQLite's words */
export async function readIntegrity(path: string, signal: AbortSignal) {
  const rows = await runLong(path, 'integrity', signal);
  // SQLite puts a headline over the findings about pages
  const findings = rows.flatMap((row) => row.split('\n')).filter((line) => line !== 'ok' && !line.startsWith('***'));
  const isRule = (line: string) => (BROKEN_RULE.test(line) ? 'complaints' : 'damage');
  const { complaints = [], damage: [first, ...more] = [] } = Object.groupBy(findings, isRule);
  const rest = more.length > 0 ? `, and ${more.length} more findings` : '';
  return { damage: first && `${quoted(first)}${rest}`, complaints };
}

type DatabaseFacts = ReturnType<typeof readFacts>;

/** To be called in one transaction. @throws OperationFailure where it is no database of Open WebUI, naming `path` */
export function readFacts(connection: Connection, path: string) {
  requireTables(path, readSchema(connection), 'backend');
  const named = connection.prepare<[], string>("SELECT type || ' ' || name FROM sqlite_schema ORDER BY 1").pluck();
  const tables = named.all();
  const count = (table: string): number => {
    if (!tables.includes(`table ${table}`)) return 0;
    return connection.prepare<[], number>(`SELECT count(*) FROM "${table}"`).pluck().get() ?? 0;
  };
  const [members, grants] = [count('organization_members'), count('organization_models')];
  return { users: count('user'), models: count('model'), members, grants, tables };
}

interface BackupOptions {
  readonly directory: string;
  /** Undefined keeps everything. */
  readonly keepMs?: number | undefined;
  readonly now: Date;
  readonly onStep: OnStep;
}

/** @returns what was made, and which old ones were deleted, for `--json` @throws OperationFailure; then neither was done */
export async function backUp(operation: Operation, { directory, keepMs, now, onStep }: BackupOptions) {
  const started = performance.now();
  const { signal } = operation.patience;
  await reading(operation, 'backend', () => undefined);
  const madeDirectory = prepareDirectory(directory);
  // such as `webui_20260131_030000.db.gz`, as the guide's script names them
  const nameOf = (attempt: number): string => `${numbered(`webui_${toMoment(now)}`, attempt)}.db.gz`;
  const target = join(directory, nameOf(1));
  const copy = await makeVerifiedCopy(operation, target.replace('.gz', ''), onStep);
  using cleanup = new DisposableStack();
  cleanup.defer(() => discard(copy.partial));
  try {
    const compressed = createPartial(target);
    cleanup.defer(() => discard(compressed));
    const packing = { signal, onStep, step: 'compress' } as const;
    const original = await stream(copy.partial, createGzip(), createWriteStream(compressed), packing);
    const unpacked = createHash('sha256').setEncoding('hex');
    await stream(compressed, createGunzip(), unpacked, { ...packing, step: 'verify' });
    if (unpacked.read() !== original) {
      throw new OperationFailure(
        `The compressed backup does not give back what was checked, and was thrown away. Look into the log of the system for errors of the disk under ${directory}.`,
      );
    }
    const path = publish(compressed, nameOf);
    const { tables: _, ...counts } = copy.facts;
    return {
      path,
      bytes: sizeOf(path),
      database_bytes: sizeOf(copy.partial),
      seconds: secondsSince(started),
      ...counts,
      made_directory: madeDirectory,
      complaints: copy.complaints,
      ...deleteOldBackups(directory, path, keepMs, now),
    };
  } catch (error) {
    throw toFailure(error, directory);
  }
}

export type Backup = Awaited<ReturnType<typeof backUp>>;

/** A file through gzip, or as it is: a database need not fit into memory. @returns the SHA-256 of what went in */
export async function stream(
  source: string,
  through: Duplex,
  into: NodeJS.WritableStream,
  { signal, step, onStep }: { readonly signal: AbortSignal; readonly step: Step; readonly onStep: OnStep },
): Promise<string> {
  const hash = createHash('sha256');
  const total = sizeOf(source);
  const counted = async function* (chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    let done = 0;
    for await (const chunk of chunks) {
      hash.update(chunk);
      yield chunk;
      onStep(step, (done += chunk.length), total);
    }
  };
  try {
    await pipeline(createReadStream(source, { highWaterMark: 1024 * 1024 }), counted, through, into, { signal });
    return hash.digest('hex');
  } catch (error) {
    throw signal.aborted ? unchanged('Stopped.', '', { cause: error }) : error;
  }
}

const WHOLE_BACKUP = /^webui_(\d{8}_\d{6})(?:-\d+)?\.db\.gz$/;

export const POLICY_BACKUP = /^policy_(\d{8}_\d{6})(?:-\d+)?\.json\.gz$/;

/** Deletes backups older than `keepMs` by their names, and no other file. @param newest stays, whatever the clock says */
export function deleteOldBackups(
  directory: string,
  newest: string,
  keepMs = Number.POSITIVE_INFINITY,
  now: Date,
  named = WHOLE_BACKUP,
) {
  const deleted: string[] = [];
  const stuck: { path: string; code: string }[] = [];
  for (const entry of readdirSync(directory).toSorted()) {
    const path = join(directory, entry);
    const made = parseMoment(named.exec(entry)?.[1] ?? '');
    if (made === undefined || path === newest || now.getTime() - made.getTime() <= keepMs) continue;
    try {
      if (!lstatSync(path).isFile()) continue;
      rmSync(path);
      deleted.push(path);
    } catch (error) {
      stuck.push({ path, code: failureCode(error) });
    }
  }
  return { deleted, not_deleted: stuck };
}
