/** TLS with a real PostgreSQL, in libpq's meaning of `sslmode`. */
import { rmSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type PostgresConnection, connectPostgres } from '../../src/store/postgres/connect.ts';
import { PostgresFailure } from '../../src/store/postgres/failure.ts';
import { addressOf } from '../support/postgres-address.ts';
import { type Certificates, makeCertificates } from '../support/postgres-certificates.ts';
import { PASSWORD, type PostgresServer, startPostgres } from '../support/postgres.ts';
import { withTimeout } from '../support/process/with-timeout.ts';

let certificates: Certificates;
let withTls: PostgresServer;
let without: PostgresServer;

/** In the database `certified` a role proves itself by its certificate; `plain` is not admitted with TLS. */
const ADMITS = `
hostssl certified openwebui 127.0.0.1/32 cert
hostssl all openwebui 127.0.0.1/32 scram-sha-256
hostnossl all plain 127.0.0.1/32 scram-sha-256
host all postgres 127.0.0.1/32 scram-sha-256
`;

beforeAll(async () => {
  certificates = makeCertificates();
  const names = ['authority.crt', 'server.crt', 'server.key'];
  const files = Object.fromEntries(names.map((name) => [name, certificates.text(name)]));
  const settings = { ssl: 'on', ssl_cert_file: 'server.crt', ssl_key_file: 'server.key', ssl_ca_file: 'authority.crt' };
  [withTls, without] = await Promise.all([startPostgres({ settings, files, admits: ADMITS }), startPostgres()]);
  const admin = await connect(withTls.url('postgres', 'postgres'));
  await admin.query('CREATE DATABASE certified');
  await admin.query(`CREATE ROLE plain LOGIN PASSWORD '${PASSWORD}'`);
  await admin.close();
});
afterAll(async () => {
  await withTls[Symbol.asyncDispose]();
  await without[Symbol.asyncDispose]();
  certificates[Symbol.dispose]();
});

const connect = (url: string, queryTimeoutMs = 10_000): Promise<PostgresConnection> =>
  connectPostgres(addressOf(url), { connectTimeoutMs: 10_000, queryTimeoutMs, applicationName: 'gate under test' });

/** @returns `tls` or `plain`, or why there is no connection */
async function outcome(url: string): Promise<string> {
  try {
    const connection = await connect(url);
    const [row] = await connection.query<{ ssl: boolean }>('SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()');
    await connection.close();
    return row?.ssl === true ? 'tls' : 'plain';
  } catch (error) {
    if (error instanceof PostgresFailure) return error.message;
    throw error;
  }
}

/** @param parameters where `{name}` stands for the path of a file */
const urlOf = (
  server: PostgresServer,
  host: string,
  parameters: string,
  role?: string,
  database = 'postgres',
): string =>
  `${server.url(database, role).replace('127.0.0.1', host)}?${parameters.replace(/\{(.*?)\}/g, (_all, name: string) => certificates.path(name))}`;

describe('a server with TLS', () => {
  test.each([
    ['localhost', '', 'tls'],
    ['localhost', 'sslmode=prefer', 'tls'],
    ['localhost', 'sslmode=require', 'tls'],
    ['localhost', 'ssl=require', 'tls'],
    ['127.0.0.1', 'sslmode=require&sslrootcert={authority.crt}', 'tls'],
    ['127.0.0.1', 'sslmode=verify-ca&sslrootcert={authority.crt}', 'tls'],
    ['localhost', 'sslmode=verify-full&sslrootcert={authority.crt}', 'tls'],
    ['localhost', 'sslmode=prefer&sslrootcert={stranger.crt}', 'tls'],
  ])('at %s, "%s": %s', async (host, parameters, expected) => {
    expect(await outcome(urlOf(withTls, host, parameters))).toBe(expected);
  });

  test.each([
    ['localhost', 'sslmode=require&sslrootcert={stranger.crt}', /as sslmode=require wants it: .*certificate/],
    ['localhost', 'sslmode=verify-ca&sslrootcert={stranger.crt}', /as sslmode=verify-ca wants it: .*certificate/],
    ['127.0.0.1', 'sslmode=verify-full&sslrootcert={authority.crt}', /as sslmode=verify-full wants it: .*127\.0\.0\.1/],
    ['localhost', 'sslmode=verify-full&sslrootcert=system', /as sslmode=verify-full wants it: .*certificate/],
    [
      'localhost',
      'sslmode=verify-ca&sslrootcert={absent.crt}',
      /file of sslrootcert \(.*absent\.crt\) cannot be read: ENOENT/,
    ],
    ['localhost', 'sslmode=disable', /does not admit the role "openwebui"/],
  ])('at %s, "%s" is refused', async (host, parameters, reason) => {
    expect(await outcome(urlOf(withTls, host, parameters))).toMatch(reason);
  });

  test('admits a role by its certificate, which is read anew for each connection', async () => {
    const url = urlOf(withTls, 'localhost', 'sslcert={role.crt}&sslkey={copy.key}', 'openwebui', 'certified');
    const bare = url.replace(encodeURIComponent(PASSWORD), '');
    expect(await outcome(bare)).toMatch(/file of sslkey \(.*copy\.key\) cannot be read/);
    writeFileSync(certificates.path('copy.key'), certificates.text('role.key'));
    expect(await outcome(bare)).toBe('tls');
    rmSync(certificates.path('copy.key'));
    expect(await outcome(urlOf(withTls, 'localhost', '', 'openwebui', 'certified'))).toMatch(/does not admit the role/);
  });

  test('that admits a role without TLS alone has it with prefer, and not with require', async () => {
    expect(await outcome(urlOf(withTls, 'localhost', 'sslmode=prefer', 'plain'))).toBe('plain');
    expect(await outcome(urlOf(withTls, 'localhost', 'sslmode=require', 'plain'))).toMatch(/does not admit the role/);
  });

  test('that is frozen costs the connection, as without', async () => {
    const connection = await connect(urlOf(withTls, 'localhost', 'sslmode=require'), 1_000);
    const ended = new Promise<void>((resolve) => connection.onEnd(resolve));
    withTls.signal('SIGSTOP');
    try {
      await expect(connection.query('SELECT 1')).rejects.toMatchObject({ code: 'ETIMEDOUT' });
      await withTimeout(ended, 10_000, 'the connection ends while the server is frozen');
    } finally {
      withTls.signal('SIGCONT');
    }
  });
});

describe('a server without TLS', () => {
  test.each([
    ['', 'plain'],
    ['sslmode=prefer', 'plain'],
    ['sslmode=disable', 'plain'],
  ])('"%s": %s', async (parameters, expected) => {
    expect(await outcome(urlOf(without, 'localhost', parameters))).toBe(expected);
  });

  test.each(['require', 'verify-ca', 'verify-full'])('sslmode=%s is refused', async (mode) => {
    const parameters = `sslmode=${mode}&sslrootcert={authority.crt}`;
    expect(await outcome(urlOf(without, 'localhost', parameters))).toMatch(/No TLS .* does not support SSL/);
  });
});
