/** A backup on its way into the place of the database: unpacked beside it, made whole, and checked. It is only read itself. */
import {
  chmodSync,
  chownSync,
  createWriteStream,
  lstatSync,
  readdirSync,
  realpathSync,
  rmSync,
  statSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { PassThrough } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { toFailure, unchanged } from '../backend-file/failure.ts';
import { findHolders } from '../backend-file/processes.ts';
import { secondsSince } from '../backend-file/text.ts';
import { closing } from '../backend-file/transaction.ts';
import { failureCode, openForWriting } from '../store/database.ts';
import { readSchema } from '../store/schema.ts';
import { type DatabaseFacts, type OnStep, makeVerified, readFacts, stream } from './backup.ts';
import { discard, flush, kindOf, openFile, removeStalePartials, requireSpace, sizeOf } from './files.ts';
import { type ReplacementOptions, putInPlace, requireUnused } from './replacement.ts';

interface RestoreOptions extends ReplacementOptions {
  readonly path: string;
  readonly file: string;
  readonly onStep: OnStep;
}

/** Checks a backup beside the untouched database. @returns what `putInPlace` will do; it returns what it did, for `--json` */
export async function prepareRestoration(options: RestoreOptions) {
  const started = performance.now();
  const { file, path } = options;
  // a link is followed, so that the file is replaced and not the link
  const isThere = lstatSync(path, { throwIfNoEntry: false }) !== undefined;
  const target = isThere ? realpathSync(path) : join(realpathSync(dirname(path)), basename(path));
  const folder = dirname(target);
  const old = statSync(target, { throwIfNoEntry: false });
  requireOther(file, target);
  await requireUnused(target, options);
  try {
    removeStalePartials(folder);
    removeInterrupted(target);
  } catch (error) {
    throw toFailure(error, folder);
  }
  const { partial, facts, complaints } = await stageDatabase(target, options);
  try {
    inheritOwner(partial, target);
    flush(partial);
  } catch (error) {
    discard(partial);
    throw toFailure(error, folder);
  }
  const { users, models, members, grants } = facts;
  const [bytes, preparedSeconds] = [sizeOf(partial), secondsSince(started)];
  return {
    target,
    replacedBytes: old?.size,
    bytes,
    users,
    async putInPlace() {
      const resumed = performance.now();
      const replaced = await putInPlace(target, partial, options);
      const seconds = Number((preparedSeconds + secondsSince(resumed)).toFixed(3));
      return { restored: target, from: file, bytes, replaced, users, models, members, grants, complaints, seconds };
    },
    discard: () => discard(partial),
  };
}

export type Restoration = Awaited<ReturnType<typeof prepareRestoration>>;

function requireOther(file: string, target: string): void {
  const [backup, old] = [file, target].map((path) => statSync(path, { throwIfNoEntry: false, bigint: true }));
  if (backup === undefined) {
    throw unchanged(`There is no file at ${file}.`, 'Name a backup of the database.', { code: 'no_such_file' });
  }
  if (backup.ino !== old?.ino || backup.dev !== old.dev) return;
  throw unchanged(`${file} is the database itself.`, 'Name a backup of it.');
}

/** A kept database that is still the current one was named by a command that was killed a moment later. */
function removeInterrupted(target: string): void {
  const current = statSync(target, { throwIfNoEntry: false });
  if (current === undefined || current.nlink === 1) return;
  const folder = dirname(target);
  for (const entry of readdirSync(folder)) {
    if (!entry.startsWith(`${basename(target)}.replaced.`)) continue;
    const path = join(folder, entry);
    const { ino, dev } = lstatSync(path);
    if (ino === current.ino && dev === current.dev) rmSync(path);
  }
}

/** As the old file, or as the folder where there is none: the backend must be able to open it. */
function inheritOwner(partial: string, target: string): void {
  const old = statSync(target, { throwIfNoEntry: false });
  const { uid, gid } = old ?? statSync(dirname(target));
  const own = statSync(partial);
  if (own.uid !== uid || own.gid !== gid) chownSync(partial, uid, gid);
  chmodSync(partial, (old?.mode ?? 0o600) & 0o777);
}

const NO_BACKUP: readonly (readonly [prefix: string, what: string, remedy: string])[] = [
  ['Z_', 'cannot be unpacked: it is cut off or damaged', 'Take another backup.'],
  ['SQLITE_NOTADB', 'holds no SQLite database', 'Name a backup of the webui.db.'],
  ['SQLITE_CORRUPT', 'is damaged', 'Take another backup.'],
];

/** @throws OperationFailure that names the backup; nothing is left behind then */
function stageDatabase(target: string, { file, signal, onStep }: RestoreOptions) {
  const isPacked = isCompressed(file);
  requireSpace(sizeOf(file), dirname(target), 'the restored database');
  return makeVerified(target, {
    shown: file,
    remedy: 'Take another backup.',
    signal,
    onStep,
    async fill(partial) {
      if (!isPacked) requireStill(file);
      const streaming = { signal, onStep, step: isPacked ? 'decompress' : 'copy' } as const;
      // a plain copy may have a log or a journal beside it, which holds what was committed last
      for (const companion of isPacked ? [''] : ['', '-wal', '-journal']) {
        if (companion !== '' && sizeOf(`${file}${companion}`) === 0) continue;
        const into = createWriteStream(`${partial}${companion}`, { mode: 0o600 });
        await stream(`${file}${companion}`, isPacked ? createGunzip() : new PassThrough(), into, streaming);
      }
      return makeWhole(partial, file);
    },
    explain: (error, folder) => {
      const code = failureCode(error);
      const [, what, remedy] = NO_BACKUP.find(([prefix]) => code.startsWith(prefix)) ?? [];
      if (what !== undefined) return unchanged(`${file} ${what} (${code}).`, remedy, { cause: error });
      return toFailure(error, /^(?:ENOSPC|EDQUOT|EFBIG|EROFS|SQLITE_)/.test(code) ? folder : file);
    },
  });
}

/** @throws OperationFailure where it is neither a database nor one in gzip */
function isCompressed(file: string): boolean {
  try {
    if (!statSync(file).isFile()) {
      throw unchanged(`${file} is no file.`, 'Name a backup of the database.', { code: 'no_such_file' });
    }
    using opened = openFile(file, 'r');
    const kind = kindOf(opened.descriptor);
    if (kind !== 'other') return kind === 'gzip';
  } catch (error) {
    throw toFailure(error, file);
  }
  const finding = `${file} is neither a SQLite database nor one in gzip.`;
  throw unchanged(finding, 'Name a backup, such as webui_20260131_030000.db.gz.');
}

function requireStill(file: string): void {
  const [holder] = findHolders([file]).holders;
  if (holder === undefined) return;
  const finding = `${file} is open in process ${holder.pid} (${holder.command}), so it is no backup that stands still.`;
  throw unchanged(finding, 'Make one of it first: `modelgate backup DIR`');
}

/** Moves the log into the file, rolls back what was never committed, and requires the tables of Open WebUI. */
function makeWhole(partial: string, shown: string): DatabaseFacts {
  using connection = closing(openForWriting(partial, 0));
  const { hasUserTable, backendReady } = readSchema(connection);
  if (!hasUserTable) {
    const finding = `${shown} is a SQLite database, but not one of Open WebUI: it has no table "user".`;
    throw unchanged(finding, 'Name a backup of the webui.db.');
  }
  if (!backendReady) {
    throw unchanged(
      `${shown} has the tables of Open WebUI in a shape that this version does not know: it may belong to a newer release, or was copied in the middle of a migration.`,
      'Look for a newer modelgate, or take another backup.',
    );
  }
  if (connection.pragma('journal_mode', { simple: true }) === 'wal') connection.pragma('wal_checkpoint(TRUNCATE)');
  return readFacts(connection, shown);
}
