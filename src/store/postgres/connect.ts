/**
 * One connection to the backend's PostgreSQL. It leads to a primary that writes, never to a standby: what a standby says is
 * old. A statement that gets no answer in time costs the connection, because the answer may still come.
 */
import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { ConnectionOptions } from 'node:tls';
import pg from 'pg';
import type { PostgresAddress, PostgresHost, PostgresTls } from '../../config/postgres-url.ts';
import { type Place, PostgresFailure, failureOf, isOfTls, shownHost } from './failure.ts';
import { type Lane, type PostgresTable, createLane } from './lane.ts';

interface PostgresOptions {
  /** For each host. */
  readonly connectTimeoutMs: number;
  /** For each statement. */
  readonly queryTimeoutMs: number;
  /** As `pg_stat_activity` shows it. */
  readonly applicationName: string;
  /** Statements are sent without waiting for the answers of those before. Default: no. */
  readonly pipeline?: boolean;
}

/** `int8` comes as a number, `json` and `jsonb` as their text, all else as `pg` has it. */
export interface PostgresConnection {
  /**
   * Statements run one after the other, in the order in which they were asked for.
   * @param text with `$1` places; several statements where there are no values
   * @param name keeps the plan on the server, where no pooler is in between
   * @throws PostgresFailure
   */
  query<R extends object>(text: string, values?: readonly unknown[], name?: string): Promise<R[]>;
  /** As `query`. */
  table(text: string, values?: readonly unknown[], name?: string): Promise<PostgresTable>;
  /** A pooler is in between: the session is not one's own. No `SET`, no `LISTEN`, no advisory lock outlives its transaction. */
  readonly isPooled: boolean;
  /** Such as 150018. */
  readonly serverVersion: number;
  /** Such as `db:5432`. */
  readonly host: string;
  /** Calls once, when either side has ended the connection; at once where it has ended already. */
  onEnd(listener: () => void): void;
  close(): Promise<void>;
}

const OLDEST_VERSION = 13;
const CLOSE_PATIENCE_MS = 1_000;

/** @returns a connection to the first host that is no standby @throws PostgresFailure that says of each host why not */
export async function connectPostgres(address: PostgresAddress, options: PostgresOptions): Promise<PostgresConnection> {
  const refusals: PostgresFailure[] = [];
  for (const host of address.hosts) {
    const place = { host, address };
    try {
      return await connectTo(place, options);
    } catch (error) {
      refusals.push(failureOf(error, place));
    }
  }
  const [first] = refusals;
  const sentence = refusals.map(({ message }) => message).join(' ');
  throw new PostgresFailure(sentence, (refusals.find(({ code }) => code !== 'STANDBY') ?? first)?.code ?? 'unknown');
}

/** `prefer` goes on without TLS where the server has none, or admits no role with it. */
async function connectTo(place: Place, options: PostgresOptions): Promise<PostgresConnection> {
  const { mode } = place.address.tls;
  const tls = await tlsOptions(place.address.tls, place.host);
  try {
    return await open(place, options, tls);
  } catch (error) {
    const failure = failureOf(error, place);
    if (mode !== 'prefer' || tls === false || !(isOfTls(failure.code) || failure.code === '28000')) throw failure;
    return open(place, options, false);
  }
}

const { INT8, JSON: json, JSONB } = pg.types.builtins;
const types: pg.CustomTypesConfig = {
  getTypeParser(type, format) {
    if (type === INT8) return Number;
    return type === json || type === JSONB ? String : (pg.types.getTypeParser(type, format) as unknown);
  },
};

async function open(place: Place, options: PostgresOptions, ssl: TlsOptions): Promise<PostgresConnection> {
  const { address, host } = place;
  const client = new pg.Client({
    ...{ host: host.host, port: host.port, user: address.user, database: address.database, ssl, types },
    // a function, so that neither the environment nor a file is asked where there is none
    password: () => address.password ?? '',
    application_name: options.applicationName,
    connectionTimeoutMillis: options.connectTimeoutMs,
    ...{ keepAlive: true, keepAliveInitialDelayMillis: 10_000 },
    pipeline: options.pipeline ?? false,
  });
  const lane = createLane(client, place, options);
  try {
    await client.connect();
    const found = await identify(lane);
    if (found.standby) throw new PostgresFailure(`PostgreSQL at ${shownHost(host)} is a standby.`, 'STANDBY');
    if (found.version < OLDEST_VERSION * 10_000) throw tooOld(host, found.version);
    return createConnection(client, lane, place, {
      version: found.version,
      isPooled: found.pid !== lane.announcedPid(),
    });
  } catch (error) {
    lane.destroy();
    throw failureOf(error, place);
  }
}

const tooOld = (host: PostgresHost, version: number): PostgresFailure => {
  const found = `PostgreSQL at ${shownHost(host)} is version ${Math.floor(version / 10_000)}`;
  return new PostgresFailure(`${found}; modelgate needs ${OLDEST_VERSION} or later.`, 'VERSION');
};

/** A pooler answers with numbers of its own in `BackendKeyData`. */
async function identify(lane: Lane): Promise<{ standby: boolean; pid: number; version: number }> {
  const { rows } = await lane.send({
    text: `SELECT pg_is_in_recovery(), pg_backend_pid(), current_setting('server_version_num')::int`,
  });
  const [standby, pid, version] = rows[0] ?? [];
  return { standby: standby === true, pid: Number(pid), version: Number(version) };
}

/** What a plan was made for is no more: a migration has changed a type, or the session is another one. */
const STALE_PLANS: readonly string[] = ['0A000', '26000'];

function createConnection(
  client: pg.Client,
  lane: Lane,
  { host }: Place,
  { version, isPooled }: { readonly version: number; readonly isPooled: boolean },
): PostgresConnection {
  let generation = 0;
  const table: PostgresConnection['table'] = async (text, values, name) => {
    const named = isPooled || name === undefined ? undefined : name;
    const statement = { text, ...(values !== undefined && { values: [...values] }) };
    const send = () => lane.send(named === undefined ? statement : { ...statement, name: `${named}_${generation}` });
    try {
      return await send();
    } catch (error) {
      const isStale = error instanceof PostgresFailure && STALE_PLANS.includes(error.code);
      if (!isStale || named === undefined || client.getTransactionStatus() === 'T') throw error;
      generation += 1;
      return send();
    }
  };
  return {
    table,
    async query<R extends object>(text: string, values?: readonly unknown[], name?: string) {
      const { columns, rows } = await table(text, values, name);
      return rows.map((row) => Object.fromEntries(columns.map((column, index) => [column, row[index]])) as R);
    },
    isPooled,
    serverVersion: version,
    host: shownHost(host),
    onEnd: lane.onEnd,
    async close() {
      // a server that is frozen does not end its side
      await Promise.race([client.end(), delay(CLOSE_PATIENCE_MS, undefined, { ref: false })]);
      lane.destroy();
    },
  };
}

type TlsOptions = ConnectionOptions | false;

/**
 * libpq's `sslmode` in Node's words: `pg` has another meaning for `require`, and is about to change it. Files are read anew for
 * each connection, because certificates are renewed while the gate runs.
 * @throws PostgresFailure that names the file
 */
async function tlsOptions(tls: PostgresTls, { host }: PostgresHost): Promise<TlsOptions> {
  const { mode, rootCertificate: root } = tls;
  if (mode === 'disable' || host.startsWith('/')) return false;
  // as libpq: with an authority at hand, `require` proves as much as `verify-ca`
  const proves = mode.startsWith('verify-') || (mode === 'require' && root !== undefined);
  const [ca, cert, key, crl] = await Promise.all([
    root === undefined || root === 'system' || !proves ? undefined : readPem('sslrootcert', root),
    readPem('sslcert', tls.certificate),
    readPem('sslkey', tls.key),
    proves ? readPem('sslcrl', tls.revoked) : undefined,
  ]);
  return {
    rejectUnauthorized: proves,
    ...(ca !== undefined && { ca }),
    ...(cert !== undefined && { cert }),
    ...(key !== undefined && { key }),
    ...(crl !== undefined && { crl }),
    // any name will do
    ...(mode !== 'verify-full' && { checkServerIdentity: () => undefined }),
  };
}

async function readPem(parameter: string, path: string | undefined): Promise<Buffer | undefined> {
  if (path === undefined) return undefined;
  try {
    return await readFile(path);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
    throw new PostgresFailure(`The file of ${parameter} (${path}) cannot be read: ${code}.`, code);
  }
}
