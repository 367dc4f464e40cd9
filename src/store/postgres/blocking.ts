/**
 * PostgreSQL as commands use it: a statement is asked, and the command stands still until the answer is there, as with SQLite. `pg`
 * runs in a thread of its own. Nothing that serves requests may use it.
 */
import { once } from 'node:events';
import { MessageChannel, Worker, receiveMessageOnPort } from 'node:worker_threads';
import type { PostgresAddress } from '../../config/postgres-url.ts';
import type { Connection } from '../connection.ts';
import { translate } from './dialect.ts';
import { PostgresFailure } from './failure.ts';
import { missingIn, toColumns } from './initialize.ts';
import type { PostgresTable } from './lane.ts';
import { COLUMNS, INDEXED, PRESENT, objectsIn } from './tables.ts';

export interface BlockingQuestion {
  readonly text: string;
  readonly values: readonly unknown[];
}

export type BlockingAnswer = PostgresTable | { readonly code: string; readonly message: string };

type Ask = (text: string, values?: readonly unknown[]) => PostgresTable;

/** Rows of a cursor at once. */
const AT_ONCE = 5_000;

/** The schema of the backend where its own settings name none. */
const PUBLIC = 'public';

/** @throws PostgresFailure where it cannot be reached, or will not have us */
export async function openBlocking(address: PostgresAddress): Promise<Connection> {
  const { port1: port, port2 } = new MessageChannel();
  const bell = new Int32Array(new SharedArrayBuffer(4));
  const workerData = { address, port: port2, bell };
  const thread = new Worker(new URL('blocking-thread.ts', import.meta.url), { workerData, transferList: [port2] });
  // what the thread sends first is whether there is a connection
  const [opened] = (await once(thread, 'message')) as [BlockingAnswer | undefined];
  if (opened !== undefined && 'code' in opened) throw new PostgresFailure(opened.message, opened.code);
  thread.unref();
  const ask: Ask = (text, values = []) => {
    Atomics.store(bell, 0, 0);
    port.postMessage({ text, values } satisfies BlockingQuestion);
    Atomics.wait(bell, 0, 0);
    const { message } = receiveMessageOnPort(port) as { message: BlockingAnswer };
    if ('code' in message) throw new PostgresFailure(message.message, message.code);
    return message;
  };
  // the thread ends its connection with the port
  return createConnection(ask, address.schema ?? PUBLIC, () => port.close());
}

function createConnection(ask: Ask, schema: string, close: () => void): Connection {
  let inTransaction = false;
  const catalogue = createCatalogue(ask, schema);
  const connection = {
    close,
    prepare: (sql: string) => createStatement(ask, translate(sql, schema)),
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

function createStatement(ask: Ask, { text, names }: ReturnType<typeof translate>) {
  type Shape = (row: readonly unknown[], columns: readonly string[]) => unknown;
  let shape: Shape = (row, columns) => Object.fromEntries(columns.map((column, at) => [column, row[at]]));
  const placed = (given: readonly unknown[]): readonly unknown[] => {
    const named = given.find((one) => typeof one === 'object' && one !== null) as Record<string, unknown> | undefined;
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
    run: (...given: readonly unknown[]) => ({ changes: ask(text, placed(given)).count }),
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
