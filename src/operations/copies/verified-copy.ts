/** A copy of the live database that has been opened, checked and compared before anybody relies on it. */
import { dirname } from 'node:path';
import type { Connection } from '../../store/database.ts';
import { failureCode, openForReading } from '../../store/database.ts';
import type { Operation } from '../backend-file.ts';
import type { DatabaseFacts } from '../database-facts.ts';
import { readFacts, requireSame } from '../database-facts.ts';
import { toFailure } from '../file-failure.ts';
import { hearStop } from '../stopping.ts';
import { requireIntegrity } from './integrity.ts';
import { copyLive } from './live-copy.ts';
import { createPartial, discard } from './partial-file.ts';

/** What long work is at; bytes, where they can be told. */
export type Step = 'copy' | 'check' | 'compress' | 'verify' | 'decompress';

export type OnStep = (step: Step, done: number, total: number) => void;

export interface VerifiedCopy {
  /** Hidden, beside the target: the caller publishes or discards it. */
  readonly partial: string;
  readonly facts: DatabaseFacts;
  /** Rows that break a rule of their table, in SQLite's words; they are copied as they are. */
  readonly complaints: readonly string[];
}

/**
 * @param target where the copy will go; its folder must be there
 * @throws OperationFailure; nothing is left behind then
 */
export async function makeVerifiedCopy(operation: Operation, target: string, onStep: OnStep): Promise<VerifiedCopy> {
  const { path, patience } = operation;
  const partial = createPartialFor(target);
  try {
    const read = (connection: Connection): DatabaseFacts => readFacts(connection, path);
    const facts = await copyLive(operation, partial, read, {
      onProgress: (done, total) => onStep('copy', done, total),
    });
    onStep('check', 0, 1);
    const complaints = await requireIntegrity(partial, { shown: path, remedy: DAMAGED }, patience.signal);
    requireSame(facts, factsOf(partial, path), path);
    await hearStop(patience.signal);
    return { partial, facts, complaints };
  } catch (error) {
    discard(partial);
    throw toFailure(error, isOfTarget(error) ? dirname(target) : path);
  }
}

const DAMAGED = 'Keep a plain copy of it (cp), then bring back a backup: `modelgate restore FILE`';

/** Reading never fills a disk. */
const isOfTarget = (error: unknown): boolean =>
  /^(?:ENOSPC|EDQUOT|EFBIG|EROFS|SQLITE_FULL|SQLITE_IOERR_WRITE)/.test(failureCode(error));

function createPartialFor(target: string): string {
  try {
    return createPartial(target);
  } catch (error) {
    throw toFailure(error, dirname(target));
  }
}

function factsOf(copy: string, shown: string): DatabaseFacts {
  const connection = openForReading(copy, 0);
  try {
    return readFacts(connection, shown);
  } finally {
    connection.close();
  }
}
