/**
 * The ledger in PostgreSQL: many moves in one transaction, in few round trips. What moves read is asked for together before any
 * of them runs, and what they write goes with the next question. Transactions of all gates come one after the other, so that what
 * one has read is so until its end.
 */
import type { PostgresAddress } from '../config/postgres-url.ts';
import type { Connection } from '../store/database.ts';
import { type Manners, type Statement, createConnection, only, startThread } from '../store/postgres/blocking.ts';
import type { SeenStates } from './budget-states.ts';
import { makeLedgerTables } from './schema.ts';

/** A gate that is gone, or stands still, keeps its place in the row for so long. */
const BEGIN = `BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL idle_in_transaction_session_timeout = 5000;
  SET LOCAL lock_timeout = 1500`;
/** Of all that write to the ledger in this schema. */
export const lockOf = (schema: string): string =>
  `SELECT pg_advisory_xact_lock(hashtext('modelgate ledger'), hashtext('${schema.replaceAll("'", "''")}'))`;

/** A statement that is late costs the connection: its answer may still come. */
const MANNERS: Manners = {
  applicationName: 'modelgate ledger',
  connectTimeoutMs: 1_000,
  queryTimeoutMs: 5_000,
  pipeline: true,
};

/** Most moves know all that they need after so many questions, each of which is about what the one before has said. */
const MOST_QUESTIONS = 12;

type Table = ReturnType<typeof only>;

interface Written {
  readonly statement: Statement;
  count: number | undefined;
}

/** What a move needs is not read yet. */
class NotYetRead extends Error {}

/** Its thread outlives a connection. */
export class PostgresLedger {
  readonly connection: Connection;
  /** For `createBook`. */
  readonly seen: SeenStates = new Map();
  readonly #thread: ReturnType<typeof startThread>;
  readonly #schema: string;
  readonly #known = createKnown();
  readonly #names = new Map<string, string>();
  /** While moves run for what they read alone: what that is. */
  #foreseen: Map<string, Statement> | undefined;
  /** And not sent. */
  #written: Written[] = [];

  constructor(address: PostgresAddress) {
    this.#thread = startThread(address, MANNERS);
    this.#thread.thread.unref();
    this.#schema = address.schema ?? 'public';
    const { read, write, close } = this;
    this.connection = createConnection(read, this.#schema, close, write);
  }

  /** Once more where the connection was lost. Makes what is missing. @throws PostgresFailure */
  connect(): void {
    this.#thread.ask('connect');
    const ask = (text: string, values: readonly unknown[] = []) => only(this.#thread.ask([{ text, values }]));
    makeLedgerTables(createConnection(ask, this.#schema, this.close));
  }

  /** @param writes not: what only reads waits for no one @throws PostgresFailure, in which case nothing is done */
  readonly transact = <T>(acts: readonly (() => T)[], writes: boolean): T[] => {
    this.#known.clear();
    this.#written = [];
    try {
      this.#thread.ask([{ text: writes ? `${BEGIN}; ${lockOf(this.#schema)}` : BEGIN, values: [] }]);
      this.#foresee(acts);
      this.seen.clear();
      const done = acts.map((act) => act());
      this.#send({ text: 'COMMIT', values: [] });
      return done;
    } catch (error) {
      this.#written = [];
      this.#rollBack();
      throw error;
    }
  };

  readonly close = (): void => this.#thread.close();

  readonly read = (text: string, values: readonly unknown[] = []): Table => {
    const statement = this.#statementOf(text, values);
    const key = JSON.stringify([statement.name, statement.values]);
    const found = this.#known.get(key);
    if (found !== undefined) return found;
    if (this.#foreseen === undefined) return this.#known.set(key, statement, only(this.#send(statement)));
    this.#foreseen.set(key, statement);
    throw new NotYetRead();
  };

  readonly write = (text: string, values: readonly unknown[]): { readonly changes: number } => {
    if (this.#foreseen !== undefined) return { changes: 0 };
    const one: Written = { statement: this.#statementOf(text, values), count: undefined };
    this.#known.forget(one.statement);
    this.#written.push(one);
    const flush = () => void this.#send();
    return {
      get changes() {
        if (one.count === undefined) flush();
        return one.count ?? 0;
      },
    };
  };

  #statementOf(text: string, values: readonly unknown[]): Statement {
    const name = this.#names.get(text) ?? `ledger_${this.#names.size}`;
    this.#names.set(text, name);
    // it takes no NUL
    return {
      text,
      name,
      values: values.map((value) => (typeof value === 'string' ? value.replaceAll('\0', '\uFFFD') : value)),
    };
  }

  /** @returns the answers to them, behind all that is written and not sent */
  #send(...statements: readonly Statement[]): readonly Table[] {
    const sent = this.#written;
    this.#written = [];
    const answers = this.#thread.ask([...sent.map(({ statement }) => statement), ...statements]);
    for (const [at, one] of sent.entries()) one.count = answers[at]?.count;
    return answers.slice(sent.length);
  }

  /** Runs them for what they read alone, again and again, until all of it is known. */
  #foresee(acts: readonly (() => unknown)[]): void {
    let unready = acts;
    for (let question = 0; question < MOST_QUESTIONS; question++) {
      const foreseen = new Map<string, Statement>();
      this.#foreseen = foreseen;
      this.seen.clear();
      unready = unready.filter(isUnready);
      this.#foreseen = undefined;
      if (foreseen.size === 0) return;
      const answers = this.#thread.ask([...foreseen.values()]);
      for (const [at, [key, statement]] of [...foreseen].entries())
        this.#known.set(key, statement, only(answers.slice(at)));
    }
  }

  #rollBack(): void {
    try {
      this.#thread.ask([{ text: 'ROLLBACK', values: [] }]);
    } catch {
      // it has gone with its connection
    }
  }
}

function isUnready(act: () => unknown): boolean {
  try {
    act();
  } catch (error) {
    // a mistake of a move is its own, when it runs
    return error instanceof NotYetRead;
  }
  return false;
}

/** Says of no budget and of no call anything: what is a little older is as good. */
const ROUGH: ReadonlySet<string> = new Set(['usage_mean']);

/** What was read in this transaction, as long as nothing is written over it. */
function createKnown() {
  const tables = new Map<string, Table>();
  const keysOf = new Map<string, Set<string>>();
  return {
    get: (key: string) => tables.get(key),
    set(key: string, statement: Statement, table: Table): Table {
      tables.set(key, table);
      for (const place of placesOf(statement)) keysOf.set(place, (keysOf.get(place) ?? new Set<string>()).add(key));
      return table;
    },
    forget(statement: Statement): void {
      const [place = ''] = placesOf(statement);
      const [name = '', row] = place.split('\n');
      if (ROUGH.has(name)) return;
      const places = row === undefined ? [...keysOf.keys()].filter((one) => one.startsWith(name)) : [name, place];
      for (const one of places) {
        for (const key of keysOf.get(one) ?? []) tables.delete(key);
        keysOf.delete(one);
      }
    },
    clear(): void {
      tables.clear();
      keysOf.clear();
    },
  };
}

const OF_ONE_CALL = /\bWHERE id = \$(\d+)|\(id, [^)]+\)\s+VALUES \(\$(\d+)/;
const OF_ONE_PAYER = /usage_budget_state.*\borganization_id = \$(\d+)/s;

/** The tables that a statement names, the one that it writes first; with the call, or whose budgets, it is about. */
function placesOf({ text, values }: Statement): readonly string[] {
  const found: readonly (string | undefined)[] = OF_ONE_CALL.exec(text) ?? OF_ONE_PAYER.exec(text) ?? [];
  const by = found[1] ?? found[2];
  const row = by === undefined ? '' : `\n${String(values[Number(by) - 1])}`;
  return [...text.matchAll(/"\.(\w+)/g)].map(([, table]) => `${table}${row}`);
}
