/**
 * PostgreSQL as commands and the thread of the ledger use it: a statement is asked, and the asker stands still until the answer is
 * there, as with SQLite. `pg` runs in a thread of its own. Nothing that serves requests may use it.
 */
import { MessageChannel, Worker, receiveMessageOnPort } from 'node:worker_threads';
import type { PostgresAddress } from '../../config/postgres-url.ts';
import type { Connection } from '../connection.ts';
import { translate } from './dialect.ts';
import { PostgresFailure } from './failure.ts';
import { missingIn, toColumns } from './initialize.ts';
import type { PostgresTable } from './lane.ts';
import { COLUMNS, INDEXED, PRESENT, objectsIn } from './tables.ts';

export interface Statement {
  readonly text: string;
  readonly values: readonly unknown[];
  /** As of `PostgresConnection.query`. */
  readonly name?: string;
}

/** Statements that go together, or the wish for a new connection in the place of the one before. */
export type BlockingQuestion = 'connect' | readonly Statement[];
/** Of each statement; of the first that failed, why. */
export type BlockingAnswer = readonly PostgresTable[] | { readonly code: string; readonly message: string };

/** How the thread connects. */
export interface Manners {
  readonly applicationName: string;
  readonly connectTimeoutMs: number;
  readonly queryTimeoutMs: number;
  /** Statements that go together are sent together. */
  readonly pipeline: boolean;
}

/** Their work may take minutes; what they wait for is bounded by `lock_timeout`. */
const OF_COMMANDS: Manners = {
  applicationName: 'modelgate command',
  connectTimeoutMs: 5_000,
  queryTimeoutMs: 3_600_000,
  pipeline: false,
};

type Ask = (text: string, values?: readonly unknown[]) => PostgresTable;

/** Rows of a cursor at once. */
const AT_ONCE = 5_000;

/** The schema of the backend where its own settings name none. */
const PUBLIC = 'public';

/** @throws PostgresFailure where it cannot be reached, or will not have us */
export async function openBlocking(address: PostgresAddress): Promise<Connection> {
  const { thread, ...line } = startThread(address, OF_COMMANDS);
  line.send('connect');
  await Atomics.waitAsync(line.bell, 0, 0).value;
  thread.unref();
  try {
    line.receive();
  } catch (error) {
    line.close();
    throw error;
  }
  const ask: Ask = (text, values = []) => only(line.ask([{ text, values }]));
  return createConnection(ask, address.schema ?? PUBLIC, line.close);
}

/** @returns what asks the thread, and stands still until it answers; a first question must be `connect` */
export function startThread(address: PostgresAddress, manners: Manners) {
  const { port1: port, port2 } = new MessageChannel();
  const bell = new Int32Array(new SharedArrayBuffer(4));
  const workerData = { address, manners, port: port2, bell };
  const thread = new Worker(new URL('blocking-thread.ts', import.meta.url), { workerData, transferList: [port2] });
  const send = (question: BlockingQuestion): void => {
    Atomics.store(bell, 0, 0);
    port.postMessage(question);
  };
  /** @throws PostgresFailure */
  const receive = (): readonly PostgresTable[] => {
    const { message } = receiveMessageOnPort(port) as { message: BlockingAnswer };
    if ('code' in message) throw new PostgresFailure(message.message, message.code);
    return message;
  };
  const ask = (question: BlockingQuestion): readonly PostgresTable[] => {
    send(question);
    Atomics.wait(bell, 0, 0);
    return receive();
  };
  // the thread ends its connection with the port
  return { thread, bell, send, receive, ask, close: () => port.close() };
}

export const only = ([table]: readonly PostgresTable[]): PostgresTable => {
  if (table === undefined) throw new TypeError('a statement without an answer');
  return table;
};

/** What a statement that writes has done: it may be asked later than the statement. */
type Write = (text: string, values: readonly unknown[]) => { readonly changes: number };

/** @param write undefined where it needs no other way than what reads */
export function createConnection(
  ask: Ask,
  schema: string = PUBLIC,
  close: () => void,
  write: Write = (text, values) => ({ changes: ask(text, values).count }),
): Connection {
  let inTransaction = false;
  const catalogue = createCatalogue(ask, schema);
  const connection = {
    close,
    prepare: (sql: string) => createStatement(ask, write, translate(sql, schema)),
    exec(sql: string) {
      catalogue.forget();
      ask(sql);
      if (/^(?:BEGIN|COMMIT|ROLLBACK)\b/.test(sql)) inTransaction = sql.startsWith('BEGIN');
    },
    get inTransaction() {
      return inTransaction;
    },
    postgres: catalogue.schema,
  };
  // which rows a statement has, its caller says, as with better-sqlite3
  return connection as unknown as Connection;
}

function createStatement(ask: Ask, write: Write, { text, names }: ReturnType<typeof translate>) {
  type Shape = (row: readonly unknown[], columns: readonly string[]) => unknown;
  let shape: Shape = (row, columns) => Object.fromEntries(columns.map((column, at) => [column, row[at]]));
  const placed = (given: readonly unknown[]): readonly unknown[] => {
    const isNamed = (one: unknown) => typeof one === 'object' && one !== null && !ArrayBuffer.isView(one);
    const named = given.find(isNamed) as Record<string, unknown> | undefined;
    const plain = given.values();
    return names.map((name) => (name === undefined ? plain.next().value : named?.[name]));
  };
  const all = (...given: readonly unknown[]): unknown[] => {
    const { rows, columns } = ask(text, placed(given));
    return rows.map((row) => shape(row, columns));
  };
  const statement = {
    all,
    get: (...given: readonly unknown[]) => all(...given)[0],
    run: (...given: readonly unknown[]) => write(text, placed(given)),
    *iterate(...given: readonly unknown[]) {
      ask(`DECLARE every_row NO SCROLL CURSOR FOR ${text}`, placed(given));
      for (let isMore = true; isMore;) {
        const { rows, columns } = ask(`FETCH ${AT_ONCE} FROM every_row`);
        isMore = rows.length === AT_ONCE;
        for (const row of rows) yield shape(row, columns);
      }
      ask('CLOSE every_row');
    },
    pluck() {
      shape = ([first]) => first;
      return statement;
    },
    raw() {
      shape = (row) => row;
      return statement;
    },
  };
  return statement;
}

/** Read once for a transaction; a statement that may change it makes it forget. */
function createCatalogue(ask: Ask, name: string) {
  const inRows: (...asked: Parameters<Ask>) => Record<string, unknown>[] = (...asked) => {
    const { rows, columns } = ask(...asked);
    return rows.map((row) => Object.fromEntries(columns.map((column, at) => [column, row[at]])));
  };
  let columns: ReturnType<typeof toColumns> | undefined;
  const known = () => (columns ??= toColumns(inRows(COLUMNS, [name])));
  const forget = (): void => void (columns = undefined);
  return {
    forget,
    schema: {
      name,
      objects: objectsIn(name),
      missing: () => missingIn(name, inRows(PRESENT, [name])),
      columnsOf: (table: string) => known().all(table),
      writableIn: (table: string) => known().writable(table),
      hasIndexOn: (table: string, column: string) => ask(INDEXED, [name, table, column]).rows.length > 0,
      ask(text: string, values: readonly unknown[] = []) {
        forget();
        return inRows(text, values);
      },
    },
  };
}
