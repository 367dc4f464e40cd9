/** A backup on its way into the place of the database: unpacked beside it, made whole, and checked. It is only read itself. */
import { chmodSync, chownSync, createWriteStream, lstatSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { PassThrough } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { toFailure, unchanged } from '../backend-file/failure.ts';
import { findHolders } from '../backend-file/processes.ts';
import { secondsSince } from '../backend-file/text.ts';
import { closing } from '../backend-file/transaction.ts';
import { failureCode, openForWriting } from '../store/database.ts';
import { stream } from './backup.ts';
import { discard, flush, kindOf, openFile, prepareDirectory, sizeOf } from './files.ts';
import { type Facts, type Kind, BACKEND, LEDGER } from './kinds.ts';
import { type ReplacementOptions, putInPlace, requireUnused } from './replacement.ts';
import { type OnStep, makeVerified } from './verified-copy.ts';

interface RestoreOptions extends ReplacementOptions {
  readonly path: string;
  readonly file: string;
  readonly onStep: OnStep;
}

/** Checks a backup beside the untouched database. @returns what `putInPlace` will do; it returns what it did, for `--json` */
export const prepareRestoration = (options: RestoreOptions) => prepare(options, BACKEND);

/** The same for modelgate's ledger. Its folder is made where only it is missing. */
export async function prepareLedger(options: Omit<RestoreOptions, 'backend'>) {
  prepareDirectory(dirname(options.path));
  return await prepare({ ...options, backend: 'unconcerned' }, LEDGER);
}

async function prepare<F extends Facts>(options: RestoreOptions, kind: Kind<F>) {
  const started = performance.now();
  const { file, path } = options;
  // a link is followed, so that the file is replaced and not the link
  const isThere = lstatSync(path, { throwIfNoEntry: false }) !== undefined;
  const target = isThere ? realpathSync(path) : join(realpathSync(dirname(path)), basename(path));
  const isPacked = isCompressed(file, target);
  await requireUnused(target, options);
  const { partial, facts, complaints } = await stageDatabase(target, options, kind, isPacked);
  const { tables: _, ...counts } = facts;
  const [bytes, preparedSeconds] = [sizeOf(partial), secondsSince(started)];
  return {
    target,
    replacedBytes: statSync(target, { throwIfNoEntry: false })?.size,
    bytes,
    counts,
    async putInPlace() {
      const resumed = performance.now();
      const replaced = await putInPlace(target, partial, options);
      const seconds = Number((preparedSeconds + secondsSince(resumed)).toFixed(3));
      return { restored: target, from: file, bytes, replaced, ...counts, complaints, seconds };
    },
    discard: () => discard(partial),
  };
}

export type Restoration = Awaited<ReturnType<typeof prepareRestoration>>;
export type LedgerRestoration = Awaited<ReturnType<typeof prepareLedger>>;

/** Whether a backup is one of the ledger, by its name: people rename it to something that begins so. */
export const isOfLedger = (file: string): boolean => basename(file).startsWith(LEDGER.prefix);

/** @returns whether it is compressed @throws OperationFailure where it is no backup, or the database itself */
function isCompressed(file: string, target: string): boolean {
  const [backup, old] = [file, target].map((path) => statSync(path, { throwIfNoEntry: false, bigint: true }));
  if (backup?.isFile() !== true) {
    throw unchanged(`There is no file at ${file}.`, 'Name a backup of the database.', { code: 'no_such_file' });
  }
  if (backup.ino === old?.ino && backup.dev === old.dev) {
    throw unchanged(`${file} is the database itself.`, 'Name a backup of it.');
  }
  try {
    using opened = openFile(file, 'r');
    const kind = kindOf(opened.descriptor);
    if (kind !== 'other') return kind === 'gzip';
  } catch (error) {
    throw toFailure(error, file);
  }
  const finding = `${file} is neither a SQLite database nor one in gzip.`;
  throw unchanged(finding, 'Name a backup, such as webui_20260131_030000.db.gz.');
}

/** As the old file, or as the folder where there is none: the backend must be able to open it. */
function inheritOwner(partial: string, target: string): void {
  const old = statSync(target, { throwIfNoEntry: false });
  const { uid, gid } = old ?? statSync(dirname(target));
  const own = statSync(partial);
  if (own.uid !== uid || own.gid !== gid) chownSync(partial, uid, gid);
  chmodSync(partial, (old?.mode ?? 0o600) & 0o777);
  flush(partial);
}

/** FILE is the database's own name. */
const NAME_ONE = 'Name a backup of the FILE.';

const NO_BACKUP: readonly (readonly [prefix: string, what: string, remedy: string])[] = [
  ['Z_', 'cannot be unpacked: it is cut off or damaged', 'Take another backup.'],
  ['SQLITE_NOTADB', 'holds no SQLite database', NAME_ONE],
  ['SQLITE_CORRUPT', 'is damaged', 'Take another backup.'],
  ['not_open_webui', 'is a SQLite database, but not one of Open WebUI: it has no table "user"', NAME_ONE],
];

/** @throws OperationFailure that names the backup; nothing is left behind then */
const stageDatabase = <F extends Facts>(
  target: string,
  { file, signal, onStep }: RestoreOptions,
  kind: Kind<F>,
  isPacked: boolean,
) =>
  makeVerified<F>(target, {
    original: file,
    copy: 'the restored database',
    remedy: 'Take another backup.',
    signal,
    onStep,
    async fill(partial) {
      const [holder] = isPacked ? [] : findHolders([file]).holders;
      if (holder !== undefined) {
        const finding = `${file} is open in process ${holder.pid} (${holder.command}), so it is no backup that stands still.`;
        throw unchanged(finding, 'Make one of it first: `modelgate backup DIR`');
      }
      const streaming = { signal, onStep, step: isPacked ? 'decompress' : 'copy' } as const;
      // a plain copy may have a log or a journal beside it, which holds what was committed last
      for (const companion of isPacked ? [''] : ['', '-wal', '-journal']) {
        if (companion !== '' && sizeOf(`${file}${companion}`) === 0) continue;
        const into = createWriteStream(`${partial}${companion}`, { mode: 0o600 });
        await stream(`${file}${companion}`, isPacked ? createGunzip() : new PassThrough(), into, streaming);
      }
      using whole = closing(openForWriting(partial, 0));
      // moves the log into the file, and rolls back what was never committed
      if (whole.pragma('journal_mode', { simple: true }) === 'wal') whole.pragma('wal_checkpoint(TRUNCATE)');
      return kind.read(whole, file);
    },
    finish: (partial) => inheritOwner(partial, target),
    explain: (error, folder) => {
      const code = failureCode(error);
      const [, what, remedy = ''] = NO_BACKUP.find(([prefix]) => code.startsWith(prefix)) ?? [];
      if (what !== undefined)
        return unchanged(`${file} ${what} (${code}).`, remedy.replace('FILE', `${kind.prefix}.db`), { cause: error });
      return toFailure(error, /^(?:ENOSPC|EDQUOT|EFBIG|EROFS|EPERM|SQLITE_)/.test(code) ? folder : file);
    },
  });
