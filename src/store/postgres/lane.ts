/** Statements on one connection, in their order, each with its time. One that is late is the last. */
import { connect as connectSocket } from 'node:net';
import type pg from 'pg';
import type { PostgresHost } from '../../config/postgres-url.ts';
import { type Place, PostgresFailure, failureOf, shownHost } from './failure.ts';

export interface PostgresTable {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly unknown[])[];
  /** How many rows a statement has returned or changed. */
  readonly count: number;
}

interface Statement {
  readonly text: string;
  readonly values?: unknown[];
  readonly name?: string;
}

export interface Lane {
  /** @throws PostgresFailure */
  send(statement: Statement): Promise<PostgresTable>;
  /** The process of the session that the server named at its begin. */
  announcedPid(): number | undefined;
  onEnd(listener: () => void): void;
  destroy(): void;
}

/** What the server has told at the begin of the session, and wants to hear with the wish to cancel its statement. */
interface Session {
  readonly processID: number;
  readonly secretKey: number;
}

interface LaneOptions {
  readonly queryTimeoutMs: number;
  /** Of the client: no statement waits for the one before. */
  readonly pipeline?: boolean;
}

/** @param client that is not connected yet */
export function createLane(
  client: pg.Client,
  place: Place,
  { queryTimeoutMs: timeoutMs, pipeline }: LaneOptions,
): Lane {
  const end = createEnd();
  let session: Session | undefined;
  let last: Promise<unknown> = Promise.resolve();
  const destroy = (): void => {
    end.come();
    client.connection.stream.destroy();
  };
  // without a listener, a server that restarts ends the process
  client.on('error', destroy).once('end', end.come);
  client.connection.once('backendKeyData', (key: Session) => (session = key));
  const abandon = (text: string): void => {
    // of those that were sent together the first cancels
    if (end.hasCome()) return;
    end.come();
    // one that waits for its standby, and is cancelled, is done on this server alone: a failover would lose it
    if (text === 'COMMIT') return destroy();
    cancel(place.host, session).then(destroy, destroy);
  };
  const run = async (statement: Statement): Promise<PostgresTable> => {
    if (end.hasCome()) throw failureOf(new Error('Connection terminated'), place);
    const clock = createDeadline(timeoutMs, () => {
      abandon(statement.text);
      const sentence = `PostgreSQL at ${shownHost(place.host)} did not answer a statement within ${timeoutMs} ms.`;
      return new PostgresFailure(sentence, 'ETIMEDOUT');
    });
    try {
      const result = await Promise.race([client.query({ ...statement, rowMode: 'array' }), clock.late]);
      // several statements at once have as many results
      return toTable(Array.isArray(result) ? (result as pg.QueryArrayResult[]).at(-1) : result);
    } catch (error) {
      throw failureOf(error, place);
    } finally {
      clock.stop();
    }
  };
  const inTurn = (statement: Statement): Promise<PostgresTable> => {
    const turn = last.then(() => run(statement));
    last = turn.catch(() => undefined);
    return turn;
  };
  return { send: pipeline === true ? run : inTurn, announcedPid: () => session?.processID, onEnd: end.listen, destroy };
}

/** Comes once, and calls each listener once. */
function createEnd() {
  const listeners: (() => void)[] = [];
  let hasCome = false;
  return {
    hasCome: () => hasCome,
    come(): void {
      hasCome = true;
      for (const listener of listeners.splice(0)) listener();
    },
    listen: (listener: () => void): void => void (hasCome ? listener() : listeners.push(listener)),
  };
}

function createDeadline(ms: number, failure: () => Error) {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(failure()), ms);
  });
  return { late, stop: () => clearTimeout(timer) };
}

const toTable = (result: pg.QueryArrayResult | undefined): PostgresTable => ({
  columns: result?.fields.map(({ name }) => name) ?? [],
  rows: result?.rows ?? [],
  count: result?.rowCount ?? 0,
});

const CANCEL_REQUEST = 80_877_102;
const CANCEL_PATIENCE_MS = 1_000;

/**
 * Otherwise what waits for a lock goes on waiting in the server, and holds one of its connections. A pooler passes the wish on
 * only while the connection is there: the end of this one says that it has.
 */
async function cancel({ host, port }: PostgresHost, session: Session | undefined): Promise<void> {
  if (session === undefined) return;
  const packet = Buffer.alloc(16);
  const words = [packet.length, CANCEL_REQUEST, session.processID, session.secretKey];
  for (const [index, word] of words.entries()) packet.writeInt32BE(word, index * 4);
  const socket = host.startsWith('/') ? connectSocket(`${host}/.s.PGSQL.${port}`) : connectSocket(port, host);
  await new Promise<void>((resolve) => {
    socket.once('close', () => resolve()).on('error', () => undefined);
    socket.setTimeout(CANCEL_PATIENCE_MS, () => socket.destroy());
    // not ended here: PgBouncer forgets the wish of one that is gone
    socket.resume().write(packet);
  });
}
