/** The thread that writes `usage.db`: all moves that have come together are one transaction. See `ledger.ts`. */
import { workerData } from 'node:worker_threads';
import { type Line, answerCalls } from '../store/bounded-call.ts';
import { describeFailure, failureCode, identityOf, isBusy } from '../store/database.ts';
import { createBook } from './book.ts';
import { openUsageFile } from './schema.ts';

/** By the names of the book's methods, with their arguments. */
export type Move = {
  [N in keyof Moves]: { readonly kind: N; readonly of: Parameters<Moves[N]> };
}[keyof Moves];

type Moves = ReturnType<typeof createBook>;
export type MoveResult<N extends keyof Moves> = ReturnType<Moves[N]>;

export interface LedgerQuestion {
  readonly file: string;
  readonly moves: readonly Move[];
  /** Ends with this question. */
  readonly isLast: boolean;
}

/** `failure`: nothing of it was written, and may be later. A move that has a mistake of ours in it is left out. */
export type LedgerAnswer =
  | {
      readonly results: readonly ({ readonly value: unknown } | { readonly mistake: string })[];
      readonly isNew: boolean;
    }
  | { readonly failure: string; readonly code: string };

/** Longer than a commit of another gate, and shorter than a caller waits. */
const BUSY_MS = 500;

interface OpenFile {
  /** With its companions: what is committed to a WAL that was deleted is lost. */
  readonly identity: string | undefined;
  readonly moves: Moves;
  readonly transaction: <T>(act: () => T) => T;
  readonly close: () => void;
}

const files = new Map<string, OpenFile>();

function answer({ file: path, moves, isLast }: LedgerQuestion): LedgerAnswer {
  try {
    const known = files.get(path);
    const isNew = known !== undefined && known.identity !== identityNow(path);
    if (isNew) close(path);
    const file = files.get(path) ?? open(path);
    const results = perform(file, moves);
    if (isLast) close(path);
    return { results, isNew };
  } catch (error) {
    // what another process holds is there again when it lets go; all else may need another connection
    if (!isBusy(error)) close(path);
    return { failure: describeFailure(error, path), code: failureCode(error) };
  }
}

function open(path: string): OpenFile {
  const connection = openUsageFile(path, BUSY_MS);
  const transaction = connection.transaction((act: () => unknown) => act());
  const file = {
    identity: identityNow(path),
    moves: createBook(connection),
    transaction: <T>(act: () => T): T => transaction.immediate(act) as T,
    close: () => connection.close(),
  };
  files.set(path, file);
  return file;
}

function close(path: string): void {
  const file = files.get(path);
  files.delete(path);
  file?.close();
}

const identityNow = (path: string): string | undefined => identityOf(path, path)?.file;

function perform({ moves: known, transaction }: OpenFile, moves: readonly Move[]) {
  const one = ({ kind, of }: Move) => ({ value: (known[kind] as (...of: unknown[]) => unknown)(...of) });
  try {
    return transaction(() => moves.map(one));
  } catch (error) {
    if (isOfTheFile(error)) throw error;
    // a mistake in one move must not cost the others
    return moves.map((move) => {
      try {
        return transaction(() => one(move));
      } catch (mistake) {
        if (isOfTheFile(mistake)) throw mistake;
        return { mistake: String(mistake) };
      }
    });
  }
}

const isOfTheFile = (error: unknown): boolean =>
  isBusy(error) ||
  /^(?:SQLITE_(?:FULL|READONLY|IOERR|CANTOPEN|CORRUPT|NOTADB|PERM|PROTOCOL)|E[A-Z]+$)/.test(failureCode(error));

answerCalls(workerData as Line, (question) => answer(question as LedgerQuestion));
