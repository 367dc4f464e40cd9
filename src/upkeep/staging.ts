/**
 * A backup on its way into the place of the database: unpacked beside it, made whole, and checked. The backup itself is
 * only read, so that it may lie on a read-only disk.
 */
import { closeSync, openSync, readSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { toFailure, unchanged } from '../backend-file/failure.ts';
import { findHolders } from '../backend-file/processes.ts';
import { hearStop, requireGoingOn } from '../backend-file/transaction.ts';
import { failureCode, openForWriting } from '../store/database.ts';
import { readSchema } from '../store/schema.ts';
import { decompressFile } from './backup.ts';
import { copyBytes } from './copy.ts';
import { createPartial, discard, requireSpace, sizeOf } from './files.ts';
import { type DatabaseFacts, type OnStep, type VerifiedCopy, readFacts, requireIntegrity } from './verified-copy.ts';

/** @throws OperationFailure that names the backup; nothing is left behind then */
export async function stageDatabase(
  file: string,
  target: string,
  signal: AbortSignal,
  onStep: OnStep,
): Promise<VerifiedCopy> {
  const kind = kindOf(file);
  requireSpace(sizeOf(file), dirname(target), 'the restored database');
  const partial = createPartial(target);
  try {
    if (kind === 'plain') await copyPlain(file, partial, signal, onStep);
    else await decompressFile(file, partial, signal, (done, total) => onStep('decompress', done, total));
    onStep('check', 0, 1);
    const facts = makeWhole(partial, file);
    const complaints = await requireIntegrity(partial, { shown: file, remedy: 'Take another backup.' }, signal);
    await hearStop(signal);
    return { partial, facts, complaints };
  } catch (error) {
    discard(partial);
    throw toBackupFailure(error, file, dirname(target));
  }
}

const SQLITE_HEADER = Buffer.from('SQLite format 3\0', 'latin1');
const GZIP_HEADER = Buffer.from([0x1f, 0x8b]);

/** By content: people rename files. @throws OperationFailure where it is neither */
function kindOf(file: string): 'plain' | 'compressed' {
  const header = readHeader(file);
  if (header.subarray(0, GZIP_HEADER.length).equals(GZIP_HEADER)) return 'compressed';
  if (header.equals(SQLITE_HEADER)) return 'plain';
  throw unchanged(
    `${file} is neither a SQLite database nor one in gzip.`,
    'Name a backup, such as webui_20260131_030000.db.gz.',
  );
}

/** @param descriptor open for reading @returns whether it begins as a SQLite database does */
export const hasHeader = (descriptor: number): boolean => headerOf(descriptor).equals(SQLITE_HEADER);

function headerOf(descriptor: number): Buffer {
  const header = Buffer.alloc(SQLITE_HEADER.length);
  return header.subarray(0, readSync(descriptor, header, 0, header.length, 0));
}

function readHeader(file: string): Buffer {
  try {
    if (!statSync(file).isFile()) {
      throw unchanged(`${file} is no file.`, 'Name a backup of the database.', { code: 'no_such_file' });
    }
    const descriptor = openSync(file, 'r');
    try {
      return headerOf(descriptor);
    } finally {
      closeSync(descriptor);
    }
  } catch (error) {
    throw toFailure(error, file);
  }
}

/** A plain copy may have a log or a journal beside it, which holds what was committed last. */
async function copyPlain(file: string, partial: string, signal: AbortSignal, onStep: OnStep): Promise<void> {
  const [holder] = findHolders([file]).holders;
  if (holder !== undefined) {
    throw unchanged(
      `${file} is open in process ${holder.pid} (${holder.command}), so it is no backup that stands still.`,
      'Make one of it first: `modelgate backup DIR`',
    );
  }
  for (const companion of ['', '-wal', '-journal']) {
    if (companion !== '' && sizeOf(`${file}${companion}`) === 0) continue;
    const source = openSync(`${file}${companion}`, 'r');
    const target = openSync(`${partial}${companion}`, 'w', 0o600);
    try {
      await copyBytes(source, target, (done, total) => {
        requireGoingOn(signal);
        onStep('copy', done, total);
      });
    } finally {
      closeSync(source);
      closeSync(target);
    }
  }
}

/** Moves the log into the file, rolls back what was never committed, and requires the tables of Open WebUI. */
function makeWhole(partial: string, shown: string): DatabaseFacts {
  const connection = openForWriting(partial, 0);
  try {
    const { hasUserTable, backendReady } = readSchema(connection);
    if (!hasUserTable) {
      throw unchanged(
        `${shown} is a SQLite database, but not one of Open WebUI: it has no table "user".`,
        'Name a backup of the webui.db.',
      );
    }
    if (!backendReady) {
      throw unchanged(
        `${shown} has the tables of Open WebUI in a shape that this version does not know: it may belong to a newer release, or was copied in the middle of a migration.`,
        'Look for a newer modelgate, or take another backup.',
      );
    }
    if (connection.pragma('journal_mode', { simple: true }) === 'wal') connection.pragma('wal_checkpoint(TRUNCATE)');
    return readFacts(connection, shown);
  } finally {
    connection.close();
  }
}

function toBackupFailure(error: unknown, file: string, folder: string): unknown {
  const code = failureCode(error);
  const options = { cause: error };
  if (code.startsWith('Z_')) {
    return unchanged(
      `${file} cannot be unpacked: it is cut off or damaged (${code}).`,
      'Take another backup.',
      options,
    );
  }
  if (code === 'SQLITE_NOTADB') {
    return unchanged(`${file} holds no SQLite database (${code}).`, 'Name a backup of the webui.db.', options);
  }
  if (code.startsWith('SQLITE_CORRUPT')) {
    return unchanged(`${file} is damaged (${code}).`, 'Take another backup.', options);
  }
  return toFailure(error, /^(?:ENOSPC|EDQUOT|EFBIG|EROFS|SQLITE_)/.test(code) ? folder : file);
}
