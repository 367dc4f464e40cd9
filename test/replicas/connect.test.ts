/** One connection to a real PostgreSQL: straight, through PgBouncer, and in trouble. */
import { once } from 'node:events';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type PostgresConnection, connectPostgres } from '../../src/store/postgres/connect.ts';
import { PostgresFailure } from '../../src/store/postgres/failure.ts';
import { type PgBouncer, startPgBouncer } from '../support/pgbouncer.ts';
import { freePort } from '../support/process/ports.ts';
import { addressOf } from '../support/postgres-address.ts';
import { PASSWORD, type PostgresDatabase, type PostgresServer, startPostgres } from '../support/postgres.ts';
import { until, withTimeout } from '../support/process/with-timeout.ts';
import { FOLLOWED } from '../support/synchronous-standby.ts';

type PostgresOptions = Parameters<typeof connectPostgres>[1];

/** A busy machine may stand still for a moment: who waits for an answer waits long, and who waits for none does not. */
const OPTIONS: PostgresOptions = {
  connectTimeoutMs: 10_000,
  queryTimeoutMs: 10_000,
  applicationName: 'gate under test',
};
const QUERY_MS = 1_000;
const IMPATIENT = { queryTimeoutMs: QUERY_MS };

let server: PostgresServer;
let pooler: PgBouncer;
let database: PostgresDatabase;
beforeAll(async () => {
  server = await startPostgres();
  [pooler, database] = await Promise.all([startPgBouncer(server), server.createDatabase()]);
});
afterAll(async () => {
  await database[Symbol.asyncDispose]();
  await pooler[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

const connect = (url: string, options?: Partial<PostgresOptions>): Promise<PostgresConnection> =>
  connectPostgres(addressOf(url), { ...OPTIONS, ...options });

/** Closes what `use` was given, however that ended. */
async function connected<T>(url: string, use: (connection: PostgresConnection) => Promise<T>): Promise<T> {
  const connection = await connect(url);
  try {
    return await use(connection);
  } finally {
    await connection.close();
  }
}

/** @returns the failure @throws Error where there is none, or it is of another kind */
async function failureOf(work: Promise<unknown>): Promise<PostgresFailure> {
  const error = await work.then(
    () => new Error('it did not fail'),
    (reason: unknown) => reason,
  );
  if (!(error instanceof PostgresFailure)) throw error;
  return error;
}

/** How many of the gate's own statements the server is still working on. */
async function atWork(): Promise<number> {
  const { rows } = await database.sql.query<{ n: number }>(
    `SELECT count(*)::int AS n FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%at_work%' AND pid <> pg_backend_pid()`,
  );
  return rows[0]?.n ?? -1;
}

describe('a statement', () => {
  test('gives numbers, JSON as its text, and rows as objects or as a table', () =>
    connected(database.url, async (connection) => {
      const text = `SELECT $1::int8 AS big, '{"a":"\\u0022"}'::json AS document, true AS flag, NULL AS nothing`;
      const row = { big: 7_000_000_000, document: '{"a":"\\u0022"}', flag: true, nothing: null };
      expect(await connection.query(text, [7_000_000_000])).toEqual([row]);
      const table = await connection.table(text, [7_000_000_000]);
      expect(table).toEqual({ columns: Object.keys(row), rows: [Object.values(row)], count: 1 });
    }));

  test('says how many rows it has changed', () =>
    connected(database.url, async (connection) => {
      await connection.query('CREATE TEMP TABLE counted (n int)');
      expect((await connection.table('INSERT INTO counted VALUES (1), (2)')).count).toBe(2);
    }));

  test('may be several, of which the last one answers', () =>
    connected(database.url, async (connection) => {
      expect(await connection.query('SELECT 1 AS n; SELECT 2 AS n')).toEqual([{ n: 2 }]);
    }));

  test('waits for those before it, and one that fails lets the next begin', () =>
    connected(database.url, async (connection) => {
      const all = ['SELECT 1 AS n', 'SELECT 1/0 AS n', 'SELECT 2 AS n', 'SELECT 3 AS n'];
      const settled = await Promise.allSettled(all.map((text) => connection.query<{ n: number }>(text)));
      expect(settled.map((one) => (one.status === 'fulfilled' ? one.value[0]?.n : 'failed'))).toEqual([
        1,
        'failed',
        2,
        3,
      ]);
    }));

  test('whose plan a migration has spoiled is planned again', () =>
    connected(database.url, async (connection) => {
      await database.sql.query('CREATE TABLE planned (n int4); INSERT INTO planned VALUES (1)');
      const ask = () => connection.query('SELECT * FROM planned WHERE n = $1', [1], 'planned');
      expect(await ask()).toEqual([{ n: 1 }]);
      await database.sql.query('ALTER TABLE planned ALTER n TYPE int8');
      expect(await ask()).toEqual([{ n: 1 }]);
      expect(await ask()).toEqual([{ n: 1 }]);
      const { rows } = await connection.table(`SELECT name FROM pg_prepared_statements ORDER BY 1`);
      expect(rows.flat()).toEqual(['planned_0', 'planned_1']);
    }));
});

describe('a connection', () => {
  test('that is straight keeps plans; one through PgBouncer is recognized, and keeps none', async () => {
    const found = [];
    for (const url of [database.url, pooler.url(database.name)]) {
      found.push(
        await connected(url, async ({ isPooled, serverVersion, query }) => {
          expect(serverVersion).toBeGreaterThanOrEqual(130_000);
          await query('SELECT 1', [], 'kept');
          const plans = await query(`SELECT name FROM pg_prepared_statements WHERE name LIKE 'kept%'`);
          return { isPooled, plans: plans.length };
        }),
      );
    }
    expect(found).toEqual([
      { isPooled: false, plans: 1 },
      { isPooled: true, plans: 0 },
    ]);
  });

  test('through PgBouncer is one of many on few sessions: no named statement meets another', async () => {
    const connections = await Promise.all(Array.from({ length: 12 }, () => connect(pooler.url(database.name))));
    const ask = async (connection: PostgresConnection, index: number): Promise<unknown[]> => {
      const answers = [];
      for (let turn = 0; turn < 50; turn++) {
        const [row] = await connection.query<{ n: number }>('SELECT $1::int AS n', [index * 100 + turn], 'shared');
        answers.push(row?.n === index * 100 + turn);
      }
      return answers;
    };
    try {
      const answers = (await Promise.all(connections.map(ask))).flat();
      expect(answers).toHaveLength(600);
      expect(new Set(answers)).toEqual(new Set([true]));
    } finally {
      await Promise.all(connections.map((connection) => connection.close()));
    }
  });

  test('shows in the server as what it is', () =>
    connected(database.url, async (connection) => {
      const rows = await connection.query(
        `SELECT application_name AS name FROM pg_stat_activity WHERE pid = pg_backend_pid()`,
      );
      expect(rows).toEqual([{ name: 'gate under test' }]);
    }));

  test('leads to the first host that is no standby', async () => {
    await using standby = await startPostgres({ standbyOf: server });
    const { host, port, name } = { ...server, name: database.name };
    const url = (ports: readonly number[]): string =>
      `postgresql://openwebui:${encodeURIComponent(PASSWORD)}@${ports.map((one) => `${host}:${one}`).join(',')}/${name}`;
    const nothing = await freePort();
    expect(await connected(url([nothing, standby.port, port]), (one) => Promise.resolve(one.host))).toBe(
      `${host}:${port}`,
    );
    const failure = await failureOf(connect(url([standby.port])));
    expect(failure).toMatchObject({ code: 'STANDBY', message: `PostgreSQL at ${host}:${standby.port} is a standby.` });
    const both = await failureOf(connect(url([standby.port, nothing])));
    expect(both.code).toBe('ECONNREFUSED');
    expect(both.message).toContain(
      `${host}:${standby.port} is a standby. PostgreSQL at ${host}:${nothing} cannot be reached`,
    );
  });
});

describe('what fails is said in a sentence without a secret', () => {
  const failures: readonly (readonly [string, (port: number) => string, string, RegExp])[] = [
    [
      'a wrong password',
      () => server.url(database.name, 'openwebui', 'wrong-secret'),
      '28P01',
      /refuses the role "openwebui"/,
    ],
    ['no password', () => `postgresql://openwebui@127.0.0.1:${server.port}/x`, '28P01', /refuses the role/],
    ['no such role', () => server.url(database.name, 'stranger'), '28P01', /refuses the role "stranger"/],
    ['no such database', () => server.url('absent'), '3D000', /has no database "absent"/],
    [
      'a wrong password at the pooler',
      () => pooler.url(database.name, 'openwebui', 'wrong-secret'),
      '28P01',
      /refuses/,
    ],
    [
      'a port without a server',
      (port) => `postgresql://u:wrong-secret@127.0.0.1:${port}/x`,
      'ECONNREFUSED',
      /nothing listens/,
    ],
    [
      'an unknown name',
      () => 'postgresql://u:wrong-secret@no-such-host.invalid/x',
      'ENOTFOUND',
      /its name is not known/,
    ],
  ];

  test.each(failures)('%s', async (_what, url, code, sentence) => {
    const failure = await failureOf(connect(url(await freePort())));
    // some machines look names up elsewhere first
    expect(failure.code.replace('EAI_AGAIN', 'ENOTFOUND')).toBe(code);
    if (failure.code !== 'EAI_AGAIN') expect(failure.message).toMatch(sentence);
    const shown = JSON.stringify([failure.message, failure.stack, failure.cause, Object.values(failure)]);
    for (const secret of ['wrong-secret', PASSWORD, encodeURIComponent(PASSWORD)]) expect(shown).not.toContain(secret);
  });

  test('a table that the role may not read: the lines that let it', async () => {
    await database.sql.query('CREATE TABLE private (n int)');
    const admin = server.url(database.name, 'postgres');
    await connected(admin, ({ query }) => query(`CREATE ROLE reader LOGIN PASSWORD '${PASSWORD}'`));
    const url = server.url(database.name, 'reader');
    const ask = (connection: PostgresConnection) => connection.query('SELECT * FROM public.private');
    const failure = await failureOf(connected(url, ask));
    expect(failure.code).toBe('42501');
    const [, lines = ''] = failure.message.split('run: ');
    expect(lines).toContain('GRANT SELECT ON ALL TABLES IN SCHEMA "public" TO "reader";');
    await database.sql.query(lines);
    expect(await connected(url, ask)).toEqual([]);
  });

  test('a schema that is not of Open WebUI', async () => {
    const failure = await failureOf(connected(database.url, ({ query }) => query('SELECT * FROM absent.model')));
    expect(failure).toMatchObject({ code: '42P01' });
    expect(failure.message).toContain(
      `The schema "public" of the database "${database.name}" is not that of Open WebUI`,
    );
  });

  test('a value that is none: without the value', async () => {
    const ask = connected(database.url, ({ query }) => query('SELECT $1::int', ['sk-private']));
    const failure = await failureOf(ask);
    expect(failure.code).toBe('22P02');
    expect(failure.message).not.toContain('sk-private');
  });
});

describe('a server in trouble', () => {
  test('that is frozen costs a statement its time and the connection; no late answer is taken for another', async () => {
    const connection = await connect(database.url, IMPATIENT);
    const ended = new Promise<void>((resolve) => connection.onEnd(resolve));
    server.signal('SIGSTOP');
    try {
      const asked = performance.now();
      const first = connection.query(`SELECT 'first' AS answer`);
      const second = connection.query(`SELECT 'second' AS answer`);
      expect(await failureOf(first)).toMatchObject({ code: 'ETIMEDOUT' });
      expect(performance.now() - asked).toBeGreaterThanOrEqual(QUERY_MS - 5);
      await withTimeout(ended, 10_000, 'the connection ends while the server is frozen');
      server.signal('SIGCONT');
      expect((await failureOf(second)).code).toBe('ECONNRESET');
      expect((await failureOf(connection.query('SELECT 3'))).code).toBe('ECONNRESET');
    } finally {
      server.signal('SIGCONT');
    }
    expect(await connected(database.url, ({ query }) => query(`SELECT 'third' AS answer`))).toEqual([
      { answer: 'third' },
    ]);
  });

  test('that is frozen takes no connection, and the attempt ends in its time', async () => {
    server.signal('SIGSTOP');
    try {
      const attempt = failureOf(connect(database.url, { connectTimeoutMs: 300 }));
      const failure = await withTimeout(attempt, 10_000, 'the attempt ends');
      expect(failure).toMatchObject({ code: 'ETIMEDOUT' });
      expect(failure.message).toMatch(/cannot be reached: it does not answer in time/);
    } finally {
      server.signal('SIGCONT');
    }
  });

  test('that is frozen does not keep a connection from being closed', async () => {
    const connection = await connect(database.url);
    server.signal('SIGSTOP');
    try {
      await withTimeout(connection.close(), 10_000, 'the connection is closed');
    } finally {
      server.signal('SIGCONT');
    }
  });

  test('that accepts and says nothing is given up in time', async () => {
    const mute = createServer().listen(0, '127.0.0.1');
    await once(mute, 'listening');
    const { port } = mute.address() as { port: number };
    const sockets: { destroy(): void }[] = [];
    mute.on('connection', (socket) => sockets.push(socket.on('error', () => undefined)));
    try {
      const failure = await failureOf(connect(`postgresql://u:p@127.0.0.1:${port}/x`, { connectTimeoutMs: 300 }));
      expect(failure.code).toBe('ETIMEDOUT');
    } finally {
      for (const socket of sockets) socket.destroy();
      mute.close();
    }
  });

  test.each(['straight', 'through PgBouncer'])('with a lock: what waits is given up on both sides, %s', async (way) => {
    const url = way === 'straight' ? database.url : pooler.url(database.name);
    const holder = await connect(database.url);
    await holder.query('BEGIN; LOCK TABLE "user" IN ACCESS EXCLUSIVE MODE');
    try {
      // long enough to be seen at work
      const connection = await connect(url, { queryTimeoutMs: 3_000 });
      const failure = failureOf(connection.query('SELECT count(*) AS at_work FROM public."user"'));
      await until(async () => (await atWork()) === 1, 3_000, 'the statement waits');
      expect((await failure).code).toBe('ETIMEDOUT');
      await until(async () => (await atWork()) === 0, 10_000, 'nothing waits in the server');
    } finally {
      await holder.close();
    }
  });

  test.each(['fast', 'immediate'] as const)(
    'that restarts (%s) ends the connection and not the process',
    async (how) => {
      await using own = await startPostgres();
      await using other = await own.createDatabase();
      const connection = await connect(other.url);
      let calls = 0;
      const ended = new Promise<void>((resolve) => connection.onEnd(() => resolve(void (calls += 1))));
      await own.restart(how);
      await withTimeout(ended, 5_000, 'the connection ends');
      expect((await failureOf(connection.query('SELECT 1'))).code).toBe('ECONNRESET');
      let late = 0;
      connection.onEnd(() => (late += 1));
      expect([calls, late]).toEqual([1, 1]);
      expect(await connected(other.url, ({ query }) => query('SELECT 1 AS n'))).toEqual([{ n: 1 }]);
    },
  );

  test('that commits nothing without its standby: a COMMIT that is given up is not done on it alone', async () => {
    await using alone = await startPostgres({ settings: FOLLOWED });
    await using own = await alone.createDatabase();
    await own.sql.query('CREATE TABLE public.written (word text)');
    const connection = await connect(own.url, IMPATIENT);
    await connection.query("SET synchronous_commit = on; BEGIN; INSERT INTO public.written VALUES ('a word')");
    expect(await failureOf(connection.query('COMMIT'))).toMatchObject({ code: 'ETIMEDOUT' });
    await connection.close();
    // what would be cancelled has been by now
    await sleep(500);
    expect((await own.sql.query('SELECT 1 FROM public.written')).rows).toEqual([]);
  });

  test('whose administrator ends the session says so', async () => {
    const connection = await connect(database.url);
    const [row] = await connection.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
    const asked = failureOf(connection.query('SELECT pg_sleep(5)'));
    await connected(server.url(database.name, 'postgres'), ({ query }) =>
      query('SELECT pg_terminate_backend($1)', [row?.pid]),
    );
    expect((await asked).code).toBe('57P01');
  });
});
