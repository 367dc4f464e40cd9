/** Copies of a database, opened, checked and compared before anything relies on them. */
import { dirname } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { toFailure, unchanged } from '../backend-file/failure.ts';
import { quoted } from '../backend-file/text.ts';
import { type Operation, closing, hearStop } from '../backend-file/transaction.ts';
import { type Connection, failureCode, openForReading } from '../store/database.ts';
import { copyLive } from './copy.ts';
import { createPartial, discard, removeStalePartials, requireSpace, sizeOf } from './files.ts';
import type { Facts, Kind } from './kinds.ts';
import { runLong } from './maintenance.ts';

export type Step = 'copy' | 'check' | 'compress' | 'verify' | 'decompress';

export type OnStep = (step: Step, done: number, total: number) => void;

interface Making<F> {
  readonly signal: AbortSignal;
  readonly onStep: OnStep;
  readonly original: string;
  /** Before "needs … bytes". */
  readonly copy: string;
  /** Where the original is damaged. */
  readonly remedy: string;
  readonly fill: (partial: string) => Promise<F>;
  /** After the check. @throws OperationFailure where the copy is not what was read */
  readonly finish: (partial: string, facts: F) => void;
  readonly explain: (error: unknown, folder: string) => unknown;
}

/** @returns a checked copy beside the target, which the caller publishes or discards @throws; nothing is left behind then */
export async function makeVerified<F>(target: string, making: Making<F>) {
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

/** A copy of the live file. @throws OperationFailure as `makeVerified` */
export function makeVerifiedCopy<F extends Facts>(operation: Operation, kind: Kind<F>, target: string, onStep: OnStep) {
  const { path, patience } = operation;
  const factsOf = (connection: Connection): F => kind.read(connection, path);
  return makeVerified(target, {
    signal: patience.signal,
    onStep,
    original: path,
    copy: 'the copy',
    remedy: kind.whenDamaged,
    fill: (partial) => copyLive(operation, partial, factsOf, (done, total) => onStep('copy', done, total)),
    finish(partial, facts) {
      using copy = closing(openForReading(partial, 0));
      const copied = new Map(Object.entries(factsOf(copy)));
      const differing = Object.entries(facts).find(([what, value]) => !isDeepStrictEqual(value, copied.get(what)))?.[0];
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
