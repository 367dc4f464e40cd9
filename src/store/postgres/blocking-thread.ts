/** The thread in which `pg` runs for a command that waits; see `blocking.ts`. */
import { type MessagePort, workerData } from 'node:worker_threads';
import type { PostgresAddress } from '../../config/postgres-url.ts';
import { failureCode } from '../database.ts';
import type { BlockingAnswer, BlockingQuestion, Manners, Statement } from './blocking.ts';
import { type PostgresConnection, connectPostgres } from './connect.ts';

interface Start {
  readonly address: PostgresAddress;
  readonly manners: Manners;
  readonly port: MessagePort;
  readonly bell: Int32Array;
}

const { address, manners, port, bell } = workerData as Start;

const ASK_WHO_MS = 5_000;
/** After so long a statement that has no answer yet may be one that waits for a lock. */
const ASK_WHO_AFTER_MS = 300;
const BLOCKED = '55P03';

let connection: PostgresConnection | undefined;

async function connect(): Promise<BlockingAnswer> {
  void connection?.close();
  connection = undefined;
  try {
    connection = await connectPostgres(address, manners);
    return [];
  } catch (error) {
    return refusal(error);
  }
}

const refusal = (error: unknown) => ({
  code: failureCode(error),
  message: error instanceof Error ? error.message : 'no further words',
});

/** As SQLite has them. */
const asNumber = (value: unknown): unknown => (typeof value === 'boolean' ? Number(value) : value);

/** Behind a pooler it is another one in each transaction. */
let pid: unknown;

async function answer(connection: PostgresConnection, statements: readonly Statement[]): Promise<BlockingAnswer> {
  let holders: Promise<string> | undefined;
  const timer = manners.pipeline ? undefined : setTimeout(() => void (holders = nameHolders()), ASK_WHO_AFTER_MS);
  try {
    const sent = statements.map(({ text, values, name }) =>
      // without values several statements may stand in one text
      connection.table(text, values.length === 0 ? undefined : values, name),
    );
    // what is sent behind a statement that fails fails too, and for no reason of its own
    await Promise.allSettled(sent);
    const tables = await Promise.all(sent);
    if (!manners.pipeline && statements[0]?.text.startsWith('BEGIN') === true)
      pid = (await connection.table('SELECT pg_backend_pid()')).rows[0]?.[0];
    return tables.map(({ rows, ...table }) => ({ ...table, rows: rows.map((row) => row.map(asNumber)) }));
  } catch (error) {
    const { code, message } = refusal(error);
    if (code !== BLOCKED) return { code, message };
    const named = (await holders) ?? '';
    return { code, message: `${address.shown} is locked by ${named === '' ? 'another session' : named}.` };
  } finally {
    clearTimeout(timer);
  }
}

/** Asked while the statement waits: afterwards nothing says any more what it waited for. */
async function nameHolders(): Promise<string> {
  try {
    const other = await connectPostgres(address, { ...manners, queryTimeoutMs: ASK_WHO_MS });
    try {
      const { rows } = await other.table(
        `SELECT format('process %s (%s as %s, %s since %s s)', pid, coalesce(nullif(application_name, ''), 'no name'), usename,
           state, extract(epoch FROM now() - state_change)::int)
         FROM pg_stat_activity WHERE pid = ANY (pg_blocking_pids($1::int)) ORDER BY pid`,
        [pid],
      );
      return rows.map(([name]) => String(name)).join(' and ');
    } finally {
      await other.close();
    }
  } catch {
    return '';
  }
}

const settle = (found: BlockingAnswer): void => {
  port.postMessage(found);
  Atomics.store(bell, 0, 1);
  Atomics.notify(bell, 0);
};
port.on('message', (question: BlockingQuestion) => {
  const answered = question === 'connect' || connection === undefined ? connect() : answer(connection, question);
  void answered.then(settle);
});
port.once('close', () => void connection?.close());
