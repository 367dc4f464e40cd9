/** The thread in which `pg` runs for a command that waits; see `blocking.ts`. */
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import type { PostgresAddress } from '../../config/postgres-url.ts';
import { failureCode } from '../database.ts';
import type { BlockingAnswer, BlockingQuestion } from './blocking.ts';
import { type PostgresConnection, connectPostgres } from './connect.ts';

const { address, port, bell } = workerData as { address: PostgresAddress; port: MessagePort; bell: Int32Array };

/** Commands have work of minutes; what they wait for is bounded by `lock_timeout`. */
const LONGEST_MS = 3_600_000;
const CONNECT_MS = 5_000;
/** After so long a statement that has no answer yet may be one that waits for a lock. */
const ASK_WHO_AFTER_MS = 300;
const BLOCKED = '55P03';

const connect = (queryTimeoutMs: number): Promise<PostgresConnection> =>
  connectPostgres(address, { connectTimeoutMs: CONNECT_MS, queryTimeoutMs, applicationName: 'modelgate command' });

const refusal = (error: unknown) => ({
  code: failureCode(error),
  message: error instanceof Error ? error.message : 'no further words',
});

/** As SQLite has them. */
const asNumber = (value: unknown): unknown => (typeof value === 'boolean' ? Number(value) : value);

/** Behind a pooler it is another one in each transaction. */
let pid: unknown;

async function answer(connection: PostgresConnection, { text, values }: BlockingQuestion): Promise<BlockingAnswer> {
  let holders: Promise<string> | undefined;
  const timer = setTimeout(() => {
    holders = nameHolders();
  }, ASK_WHO_AFTER_MS);
  try {
    // without values several statements may stand in one text
    const { columns, rows, count } = await connection.table(text, values.length === 0 ? undefined : values);
    if (text.startsWith('BEGIN')) pid = (await connection.table('SELECT pg_backend_pid()')).rows[0]?.[0];
    return { columns, count, rows: rows.map((row) => row.map(asNumber)) };
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
    const other = await connect(CONNECT_MS);
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

try {
  const connection = await connect(LONGEST_MS);
  const settle = (found: BlockingAnswer): void => {
    port.postMessage(found);
    Atomics.store(bell, 0, 1);
    Atomics.notify(bell, 0);
  };
  port.on('message', (question: BlockingQuestion) => void answer(connection, question).then(settle));
  port.once('close', () => void connection.close());
  parentPort?.postMessage(undefined);
} catch (error) {
  port.close();
  parentPort?.postMessage(refusal(error));
}
