/** A real PgBouncer in front of a PostgreSQL server of the test. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AS_NOBODY } from './process/as-nobody.ts';
import { until, withTimeout } from './process/with-timeout.ts';
import { answers, PASSWORD, type PostgresServer, ROLE } from './postgres.ts';
import { freePort } from './process/ports.ts';

export interface PgBouncerOptions {
  readonly mode?: 'session' | 'transaction' | 'statement';
  /** Connections to the server for each database and role: fewer than clients, so that they meet. */
  readonly poolSize?: number;
}

export interface PgBouncer extends AsyncDisposable {
  readonly port: number;
  /** As that of the server, through the pooler. */
  url(database: string, role?: string, password?: string): string;
}

const PATIENCE_MS = 20_000;

/** Listens once it is there. The caller disposes of it. @throws Error that names the Debian package */
export async function startPgBouncer(server: PostgresServer, options: PgBouncerOptions = {}): Promise<PgBouncer> {
  const { mode = 'transaction', poolSize = 2 } = options;
  const directory = mkdtempSync(join(tmpdir(), 'modelgate-pgbouncer-'));
  const port = await freePort();
  const users = join(directory, 'users.txt');
  writeFileSync(users, [ROLE, 'postgres'].map((role) => `"${role}" "${PASSWORD}"\n`).join(''));
  const file = join(directory, 'pgbouncer.ini');
  writeFileSync(
    file,
    `
[databases]
* = host=${server.host} port=${server.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = ${users}
pool_mode = ${mode}
default_pool_size = ${poolSize}
max_client_conn = 200
server_login_retry = 1
`,
  );
  const { uid, gid } = AS_NOBODY;
  if (uid !== undefined) for (const path of [directory, users, file]) chownSync(path, uid, gid);
  const env = { PATH: `${process.env['PATH'] ?? ''}:/usr/sbin` };
  const child = spawn('pgbouncer', ['-q', file], { ...AS_NOBODY, env, stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  const found = { missing: false };
  child.stderr.setEncoding('utf8').on('data', (text: string) => (log = (log + text).slice(-20_000)));
  child.on('error', () => (found.missing = true));
  const ended = (): boolean => found.missing || child.exitCode !== null || child.signalCode !== null;
  const stop = async (): Promise<void> => {
    if (!ended()) {
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await withTimeout(exited, PATIENCE_MS, 'PgBouncer ends');
    }
    rmSync(directory, { recursive: true, force: true });
  };
  const url = (database: string, role = ROLE, password = PASSWORD): string =>
    `postgresql://${role}:${encodeURIComponent(password)}@127.0.0.1:${port}/${database}`;
  try {
    await until(async () => ended() || (await answers(url('postgres'))), PATIENCE_MS, `PgBouncer answers: ${log}`);
    if (found.missing) throw new Error('PgBouncer is not installed: this test needs the Debian package pgbouncer');
    if (ended()) throw new Error(`PgBouncer ended: ${log}`);
  } catch (error) {
    await stop();
    throw error;
  }
  return { port, url, [Symbol.asyncDispose]: stop };
}
