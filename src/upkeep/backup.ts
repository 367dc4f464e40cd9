/** Backups: checked copies, packed, and unpacked again to see that nothing was lost; and what is deleted after them. */
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream, existsSync, lstatSync, readdirSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Duplex } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createGzip } from 'node:zlib';
import { OperationFailure, toFailure, unchanged } from '../backend-file/failure.ts';
import { numbered, parseMoment, secondsSince, toMoment } from '../backend-file/text.ts';
import { type Operation, reading } from '../backend-file/transaction.ts';
import { failureCode } from '../store/database.ts';
import { createPartial, discard, prepareDirectory, publish, sizeOf } from './files.ts';
import { type Facts, type Kind, BACKEND, LEDGER } from './kinds.ts';
import { type OnStep, type Step, makeVerifiedCopy } from './verified-copy.ts';

interface BackupOptions {
  readonly directory: string;
  /** Undefined keeps everything. */
  readonly keepMs?: number | undefined;
  readonly now: Date;
  readonly onStep: OnStep;
  /** Path of the ledger, which is copied too. */
  readonly ledger?: string | undefined;
}

/** @returns what was made, and which old ones were deleted, for `--json` @throws OperationFailure; then neither was done */
export async function backUp(operation: Operation, options: BackupOptions) {
  const { directory, keepMs, now, ledger } = options;
  const started = performance.now();
  await reading(operation, 'backend', () => undefined);
  const madeDirectory = prepareDirectory(directory);
  using cleanup = new DisposableStack();
  try {
    const database = await pack(operation, BACKEND, options, cleanup);
    const usage =
      ledger === undefined ? undefined : await pack({ ...operation, path: ledger }, LEDGER, options, cleanup);
    // a backup that looks whole is whole: the ledger has its name first
    const [path = '', besides] = publishAll([...(usage ? [usage] : []), database], directory, now).reverse();
    const { tables: _, ...counts } = database.facts;
    return {
      path,
      bytes: sizeOf(path),
      database_bytes: database.bytes,
      seconds: secondsSince(started),
      ...counts,
      made_directory: madeDirectory,
      complaints: database.complaints,
      ledger:
        usage === undefined || besides === undefined
          ? null
          : {
              ...{ path: besides, bytes: sizeOf(besides), database_bytes: usage.bytes },
              ...{ calls: usage.facts.calls, complaints: usage.complaints },
            },
      ...deleteOldBackups(directory, [path, besides], keepMs, now),
    };
  } catch (error) {
    throw toFailure(error, directory);
  }
}

export type Backup = Awaited<ReturnType<typeof backUp>>;

const nameOf = ({ prefix }: Pick<Kind<Facts>, 'prefix'>, now: Date, number: number): string =>
  `${numbered(`${prefix}_${toMoment(now)}`, number)}.db.gz`;

/** A checked copy, packed and unpacked again, that has no name yet. @throws OperationFailure, or an error of the folder */
async function pack<F extends Facts>(
  operation: Operation,
  kind: Kind<F>,
  { directory, now, onStep }: BackupOptions,
  cleanup: DisposableStack,
) {
  // such as `webui_20260131_030000.db.gz`, as the guide's script names them
  const target = join(directory, nameOf(kind, now, 1));
  const { partial, facts, complaints } = await makeVerifiedCopy(operation, kind, target.replace('.gz', ''), onStep);
  using copy = new DisposableStack();
  copy.defer(() => discard(partial));
  const compressed = createPartial(target);
  cleanup.defer(() => discard(compressed));
  const packing = { signal: operation.patience.signal, onStep, step: 'compress' } as const;
  const original = await stream(partial, createGzip(), createWriteStream(compressed), packing);
  const unpacked = createHash('sha256').setEncoding('hex');
  await stream(compressed, createGunzip(), unpacked, { ...packing, step: 'verify' });
  if (unpacked.read() !== original) {
    throw new OperationFailure(
      `The compressed backup does not give back what was checked, and was thrown away. Look into the log of the system for errors of the disk under ${directory}.`,
    );
  }
  return { prefix: kind.prefix, compressed, facts, bytes: sizeOf(partial), complaints };
}

type Packed = Pick<Kind<Facts>, 'prefix'> & { readonly compressed: string };

/** Those of one backup have the same number. @returns their paths @throws; then none has its name */
function publishAll(packed: readonly Packed[], directory: string, now: Date): string[] {
  let number = 1;
  while (packed.some((one) => existsSync(join(directory, nameOf(one, now, number))))) number++;
  const published: string[] = [];
  try {
    for (const one of packed) {
      const path = publish(one.compressed, (attempt) => {
        const name = nameOf(one, now, attempt === 1 ? number : ++number);
        if (attempt > 1 && published.length > 0)
          throw unchanged(`Another backup is being made in ${directory}.`, 'Try again.');
        return name;
      });
      published.push(path);
    }
    return published;
  } catch (error) {
    for (const path of published) rmSync(path, { force: true });
    throw error;
  }
}

/** @returns where the ledger of the same backup is, if it has one, by its name */
export function ledgerBeside(backup: string): string | undefined {
  const [, ends] = /^webui(_\d{8}_\d{6}(?:-\d+)?\.db\.gz)$/.exec(basename(backup)) ?? [];
  const path = join(dirname(backup), `${LEDGER.prefix}${ends}`);
  return ends !== undefined && existsSync(path) ? path : undefined;
}

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

const WHOLE_BACKUP = /^(?:webui|usage)_(\d{8}_\d{6})(?:-\d+)?\.db\.gz$/;

export const POLICY_BACKUP = /^policy_(\d{8}_\d{6})(?:-\d+)?\.json\.gz$/;

/** Deletes backups older than `keepMs` by their names, and no other file. @param newest stay, whatever the clock says */
export function deleteOldBackups(
  directory: string,
  newest: readonly (string | undefined)[],
  keepMs = Number.POSITIVE_INFINITY,
  now: Date,
  named = WHOLE_BACKUP,
) {
  const deleted: string[] = [];
  const stuck: { path: string; code: string }[] = [];
  for (const entry of readdirSync(directory).toSorted()) {
    const path = join(directory, entry);
    const made = parseMoment(named.exec(entry)?.[1] ?? '');
    if (made === undefined || newest.includes(path) || now.getTime() - made.getTime() <= keepMs) continue;
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
