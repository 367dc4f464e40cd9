/** The thread that writes the ledger: all moves that have come together are one transaction. See `ledger.ts`. */
import { workerData } from 'node:worker_threads';
import type { PostgresAddress } from '../config/postgres-url.ts';
import { type Line, answerCalls } from '../store/bounded-call.ts';
import { describeFailure, failureCode, identityOf, isBusy } from '../store/database.ts';
import { PostgresFailure } from '../store/postgres/failure.ts';
import { createBook } from './book.ts';
import { PostgresLedger } from './postgres-ledger.ts';
import { openUsageFile } from './schema.ts';

/** By the names of the book's methods, with their arguments. */
export type Move = {
  [N in keyof Moves]: { readonly kind: N; readonly of: Parameters<Moves[N]> };
}[keyof Moves];

type Moves = ReturnType<typeof createBook>;
export type MoveResult<N extends keyof Moves> = ReturnType<Moves[N]>;

export interface LedgerQuestion {
  /** Of the file; with `postgres` the URL without its password, for sentences. */
  readonly file: string;
  readonly postgres: PostgresAddress | undefined;
  readonly moves: readonly Move[];
  /** Ends with this question, which has no moves. */
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
  /** In one transaction. */
  readonly transact: <T>(acts: readonly (() => T)[], writes: boolean) => T[];
  readonly close: () => void;
}

const files = new Map<string, OpenFile>();
const servers = new Map<string, PostgresLedger>();

function answer(question: LedgerQuestion): LedgerAnswer {
  const { file: path, postgres, moves, isLast } = question;
  const key = postgres === undefined ? path : JSON.stringify(postgres);
  if (isLast) return end(key);
  try {
    const known = files.get(key);
    const isNew = known !== undefined && known.identity !== identityNow(path);
    if (isNew) close(key);
    const file = files.get(key) ?? (postgres === undefined ? open(path) : openPostgres(key, postgres));
    files.set(key, file);
    return { results: perform(file, moves), isNew };
  } catch (error) {
    // what another process holds is there again when it lets go; all else may need another connection
    if (!isBusy(error)) close(key);
    const failure = error instanceof PostgresFailure ? error.message : describeFailure(error, path);
    return { failure, code: failureCode(error) };
  }
}

function end(key: string): LedgerAnswer {
  close(key);
  servers.get(key)?.close();
  servers.delete(key);
  return { results: [], isNew: false };
}

function openPostgres(key: string, address: PostgresAddress): OpenFile {
  const server = servers.get(key) ?? new PostgresLedger(address);
  servers.set(key, server);
  server.connect();
  const { connection, seen, transact } = server;
  return { identity: undefined, moves: createBook(connection, seen), transact, close: () => undefined };
}

function open(path: string): OpenFile {
  const connection = openUsageFile(path, BUSY_MS);
  const transaction = connection.transaction((act: () => unknown) => act());
  return {
    identity: identityNow(path),
    moves: createBook(connection),
    transact: <T>(acts: readonly (() => T)[]) => transaction.immediate(() => acts.map((act) => act())) as T[],
    close: () => void connection.close(),
  };
}

function close(key: string): void {
  const file = files.get(key);
  files.delete(key);
  file?.close();
}

const identityNow = (path: string): string | undefined => identityOf(path, path)?.file;

const READING: ReadonlySet<Move['kind']> = new Set(['usedUp', 'uses', 'sealedKey', 'unresolved', 'sums']);

type Result = { readonly value: unknown } | { readonly mistake: string };

function perform({ moves: known, transact }: OpenFile, moves: readonly Move[]): readonly Result[] {
  const one = ({ kind, of }: Move) => ({ value: (known[kind] as (...of: unknown[]) => unknown)(...of) });
  const together = (some: readonly Move[]) =>
    transact(
      some.map((move) => () => one(move)),
      some.some(({ kind }) => !READING.has(kind)),
    );
  try {
    return together(moves);
  } catch (error) {
    if (!isMistake(error)) throw error;
    // a mistake in one move must not cost the others
    return moves.flatMap((move): readonly Result[] => {
      try {
        return together([move]);
      } catch (mistake) {
        if (!isMistake(mistake)) throw mistake;
        return [{ mistake: String(mistake) }];
      }
    });
  }
}

const OF_THE_FILE = /^(?:SQLITE_(?:FULL|READONLY|IOERR|CANTOPEN|CORRUPT|NOTADB|PERM|PROTOCOL)|E[A-Z]+$)/;
/** A value, a rule of a table, or a statement; no right, and no table that is gone. */
const MISTAKE_ON_POSTGRES = /^(?:22|23|42(?!501|P01|703))/;

/** Of one move, and not of the whole ledger? */
function isMistake(error: unknown): boolean {
  const code = failureCode(error);
  if (error instanceof PostgresFailure) return MISTAKE_ON_POSTGRES.test(code);
  return !isBusy(error) && !OF_THE_FILE.test(code);
}

answerCalls(workerData as Line, (question) => answer(question as LedgerQuestion));
