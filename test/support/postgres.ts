/** A real PostgreSQL server as processes of the test, with databases that have the schema of a real backend. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import type { Era } from './database/database.ts';
import { OWNER, program, run, writePrivately } from './postgres-programs.ts';
import { freePort } from './process/ports.ts';
import { until, withTimeout } from './process/with-timeout.ts';

export interface PostgresOptions {
  /** Lines of `postgresql.conf`. */
  readonly settings?: Readonly<Record<string, string>>;
  /** The lines of `pg_hba.conf`; where they are left out, every role proves itself by a password. */
  readonly admits?: string;
  /** Put into the data folder, readable by the server alone: certificates. */
  readonly files?: Readonly<Record<string, string>>;
  /** Starts as a standby of that server, which streams to it. */
  readonly standbyOf?: PostgresServer;
}

export interface PostgresServer extends AsyncDisposable {
  readonly host: '127.0.0.1';
  readonly port: number;
  readonly directory: string;
  /** A new one, made from a template, with the tables of the real backend; `role` owns it. */
  createDatabase(options?: DatabaseOptions): Promise<PostgresDatabase>;
  /** `postgresql://…` for a role of the server; the superuser is `postgres`. */
  url(database: string, role?: string, password?: string): string;
  /** To each of its processes, as `SIGSTOP` and `SIGCONT`: none of them answers, and no connection is closed. */
  signal(signal: NodeJS.Signals): void;
  /** Ends at once (`immediate`: as in a crash) and starts again on the same port. */
  restart(how?: 'fast' | 'immediate'): Promise<void>;
  stop(how?: 'fast' | 'immediate'): Promise<void>;
}

export interface DatabaseOptions {
  /** `none`: nothing is in it but the schema, as before the first start of a backend. */
  readonly era?: Era | 'none';
  /** As the backend's `DATABASE_SCHEMA`. */
  readonly schema?: string;
}

export interface PostgresDatabase extends AsyncDisposable {
  readonly name: string;
  readonly schema: string;
  /** As the backend has it in `DATABASE_URL`. */
  readonly url: string;
  /** A connection of the backend's role, or an operator's: `search_path` is the schema. */
  readonly sql: pg.Client;
}

/** The backend's role and every other one that the tests make has this password; so has the superuser. */
export const PASSWORD = 'p@ss/word:1';
/** Owns every database that `createDatabase` makes, and is no superuser. */
export const ROLE = 'openwebui';

const PATIENCE_MS = 30_000;
const SCHEMAS = new URL('schemas/', import.meta.url);
const LIFE = { fast: 'SIGINT', immediate: 'SIGQUIT' } as const;

/** A server of its own, on a free port, with nothing in it. The caller disposes of it. */
export async function startPostgres(options: PostgresOptions = {}): Promise<PostgresServer> {
  const directory = mkdtempSync(join(tmpdir(), 'modelgate-postgres-'));
  if (OWNER.uid !== undefined) chownSync(directory, OWNER.uid, OWNER.gid);
  const data = join(directory, 'data');
  const port = await freePort();
  makeData(data, directory, options.standbyOf);
  configure(data, directory, port, options);
  const server = createServerOf(directory, data, port);
  try {
    await server.start();
    if (options.standbyOf === undefined) await makeRole(server);
  } catch (error) {
    await server[Symbol.asyncDispose]();
    throw error;
  }
  return server;
}

function makeData(data: string, directory: string, primary: PostgresServer | undefined): void {
  if (primary !== undefined) {
    const from = ['-h', primary.host, '-p', String(primary.port), '-U', 'postgres'];
    run('pg_basebackup', [...from, '-D', data, '-R', '-X', 'stream', '-c', 'fast', '--no-sync'], {
      PGPASSWORD: PASSWORD,
    });
    return;
  }
  const passwordFile = join(directory, 'password');
  writePrivately(passwordFile, PASSWORD);
  const words = ['--no-sync', '-E', 'UTF8', '--locale=C', '-U', 'postgres', '-A', 'scram-sha-256'];
  run('initdb', ['-D', data, ...words, `--pwfile=${passwordFile}`]);
}

function configure(data: string, directory: string, port: number, options: PostgresOptions): void {
  const settings = {
    ...{ listen_addresses: '127.0.0.1', port: String(port), unix_socket_directories: directory },
    // nothing here outlives its machine
    ...{ fsync: 'off', full_page_writes: 'off', shared_buffers: '16MB', max_connections: '60' },
    ...options.settings,
  };
  const lines = Object.entries(settings).map(([name, value]) => `${name} = '${value}'`);
  writeFileSync(join(data, 'postgresql.conf'), `${lines.join('\n')}\n`);
  const replication = 'host replication postgres 127.0.0.1/32 scram-sha-256';
  writeFileSync(
    join(data, 'pg_hba.conf'),
    `${options.admits ?? 'host all all 127.0.0.1/32 scram-sha-256'}\n${replication}\n`,
  );
  for (const [name, text] of Object.entries(options.files ?? {})) {
    writePrivately(join(data, name), text);
  }
}

/** The databases that are templates already, by server; each is made once. */
type Templates = Map<string, Promise<string>>;

function createServerOf(directory: string, data: string, port: number) {
  let postmaster: ChildProcess | undefined;
  let log = '';
  const templates: Templates = new Map();
  const url = (database: string, role = ROLE, password = PASSWORD): string =>
    `postgresql://${role}:${encodeURIComponent(password)}@127.0.0.1:${port}/${database}`;
  const start = async (): Promise<void> => {
    const child = spawn(program('postgres'), ['-D', data], { ...OWNER, cwd: '/', stdio: ['ignore', 'ignore', 'pipe'] });
    postmaster = child;
    child.stderr.setEncoding('utf8').on('data', (text: string) => (log = (log + text).slice(-20_000)));
    const ended = (): boolean => child.exitCode !== null || child.signalCode !== null;
    await until(async () => ended() || (await answers(url('postgres', 'postgres'))), PATIENCE_MS, 'PostgreSQL answers');
    if (ended()) throw new Error(`PostgreSQL ended: ${log}`);
  };
  const signal = (name: NodeJS.Signals): void => {
    const pid = postmaster?.pid;
    if (pid === undefined) return;
    sendSignal(pid, name);
    // once it is stopped, no child comes that is not
    for (const child of childrenOf(pid)) sendSignal(child, name);
  };
  const stop = async (how: keyof typeof LIFE = 'fast'): Promise<void> => {
    const child = postmaster;
    postmaster = undefined;
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill(LIFE[how]);
    await withTimeout(exited, PATIENCE_MS, 'PostgreSQL ends');
  };
  const server: PostgresServer & { start: () => Promise<void> } = {
    ...{ host: '127.0.0.1', port, directory, url, signal, start, stop },
    createDatabase: (options) => createDatabase(server, templates, options),
    restart: async (how) => {
      await stop(how);
      await start();
    },
    [Symbol.asyncDispose]: async () => {
      signal('SIGCONT');
      await stop('immediate');
      rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
    },
  };
  return server;
}

/** Its processes have sessions of their own: no signal reaches them as one group. */
const childrenOf = (pid: number): number[] =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
    .trim()
    .split(' ')
    .filter((word) => word !== '')
    .map(Number);

/** Whether a statement could be sent. */
export async function answers(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 2_000 });
  client.on('error', () => undefined);
  return client.connect().then(
    () => client.end().then(() => true),
    () => false,
  );
}

/** As a caller that goes away again. */
export async function execute(url: string, ...statements: readonly string[]): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    for (const statement of statements) await client.query(statement);
  } finally {
    await client.end();
  }
}

const makeRole = (server: PostgresServer): Promise<void> =>
  execute(server.url('postgres', 'postgres'), `CREATE ROLE ${ROLE} LOGIN PASSWORD '${PASSWORD}'`);

/** A session may have ended by itself in the meantime. */
function sendSignal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}

async function createDatabase(server: PostgresServer, templates: Templates, options: DatabaseOptions = {}) {
  const { era = '0.12.4', schema = 'public' } = options;
  const kind = `${era}/${schema}`;
  const made = templates.get(kind) ?? makeTemplate(server, `template_${templates.size}`, era, schema);
  templates.set(kind, made);
  const template = await made;
  const name = `openwebui_${nextDatabase++}`;
  await execute(server.url('postgres', 'postgres'), `CREATE DATABASE ${name} TEMPLATE ${template} OWNER ${ROLE}`);
  const url = server.url(name);
  const sql = new pg.Client({ connectionString: url, options: `-c search_path=${schema}` });
  // a server that is stopped in the middle of a test tells it here
  sql.on('error', () => undefined);
  await sql.connect();
  return { name, schema, url, sql, [Symbol.asyncDispose]: () => sql.end() };
}

let nextDatabase = 1;

async function makeTemplate(server: PostgresServer, name: string, era: Era | 'none', schema: string): Promise<string> {
  await execute(server.url('postgres', 'postgres'), `CREATE DATABASE ${name} TEMPLATE template0 OWNER ${ROLE}`);
  const tables = era === 'none' ? '' : readFileSync(new URL(`open-webui-${era}.postgresql.sql`, SCHEMAS), 'utf8');
  const place = schema === 'public' ? [] : [`CREATE SCHEMA ${schema}`];
  await execute(server.url(name), ...place, `SET search_path = ${schema}; ${tables}`);
  return name;
}
