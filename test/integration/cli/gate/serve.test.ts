import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  closeSync,
  constants,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { rootCertificates } from 'node:tls';
import { afterAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { type CommandSurroundings, runCommand } from '../../../support/process/command.ts';
import { createDatabase } from '../../../support/database/database.ts';
import { MAIN, runModelgate, serveModelgate, startModelgate } from '../../../support/gate/gate-process.ts';
import { AS_NOBODY } from '../../../support/process/as-nobody.ts';
import { closing } from '../../../support/gate/transport.ts';
import { freePort } from '../../../support/process/ports.ts';
import { listening, startSlowUpstream } from '../../../support/upstream/upstreams.ts';
import { until, withTimeout } from '../../../support/process/with-timeout.ts';

// processes are started, on machines that may be busy
vi.setConfig({ testTimeout: 60_000 });

const KEY = 'a-long-enough-key-for-tests';
const database = createDatabase();
afterAll(() => database.close());

const environment = (more: Record<string, string> = {}): Record<string, string> => ({
  MODELGATE_UPSTREAM_URL: 'http://127.0.0.1:9',
  DATABASE_URL: `sqlite:///${database.path}`,
  WEBUI_SECRET_KEY: KEY,
  ...more,
});

interface ReadyState {
  ready: boolean;
  upstream: { reachable: boolean; problem: string | null };
  database: { readable: boolean; problem: string | null };
  bypass: string | null;
  draining: boolean;
}
async function readyz(adminUrl: string): Promise<{ status: number; state: ReadyState }> {
  const response = await fetch(`${adminUrl}/readyz`);
  return { status: response.status, state: (await response.json()) as ReadyState };
}

/** Where it ends by itself no process is needed to see how. The log itself would go to the output of this one. */
const serve = (more: Record<string, string> = {}, words: readonly string[] = [], how: CommandSurroundings = {}) =>
  runCommand(['serve', ...words], {
    environment: environment({
      MODELGATE_HOST: '127.0.0.1',
      MODELGATE_ADMIN_PORT: '0',
      LOG_LEVEL: 'CRITICAL',
      ...more,
    }),
    directory: database.directory,
    ...how,
  });

/** A gate in front of a backend that answers with the path, both until the test ends. */
async function gateWithBackend(more: Record<string, string> = {}) {
  const backend = closing(await startSlowUpstream());
  const gate = await serveModelgate(environment({ MODELGATE_UPSTREAM_URL: backend.origin, ...more }));
  onTestFinished(() => gate[Symbol.asyncDispose]());
  /** A request that has begun to be answered. */
  const begun = async () => {
    const held = backend.held();
    const answer = await fetch(`${gate.url}/slow`);
    return { answer, upstreamAnswer: await held };
  };
  return { backend, gate, begun };
}

const STACK_TRACE = /^\s+at .+:\d+:\d+\)?$/m;

describe('a configuration that is wrong', () => {
  test('ends serve with code 2 and every mistake on standard error, without a stack', async () => {
    const { code, stdout, stderr } = await runModelgate(['serve'], {
      MODELGATE_PORT: 'x',
      MODELGATE_MODUS: 'report',
      WEBUI_SECRET_KEY: KEY,
    });
    expect(code).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toContain('There are 4 mistakes in the configuration');
    for (const setting of ['MODELGATE_PORT', 'MODELGATE_MODUS', 'MODELGATE_UPSTREAM_URL', 'DATABASE_URL']) {
      expect(stderr).toContain(setting);
    }
    expect(stderr).not.toMatch(STACK_TRACE);
    expect(stderr).not.toContain(KEY);
  });

  test('is all that --check-config looks for', async () => {
    const valid = { code: 0, stdout: 'The configuration is valid.\n', stderr: '' };
    expect(await serve({}, ['--check-config'])).toEqual(valid);
    const wrong = await serve({ MODELGATE_MODE: 'off' }, ['--check-config']);
    expect(wrong).toMatchObject({ code: 2, stdout: '' });
    expect(wrong.stderr).toContain('MODELGATE_MODE');
  });

  test('of the ledger names what this user may not write, and --check-config makes nothing', async () => {
    const state = join(database.directory, 'state');
    mkdirSync(state);
    writeFileSync(join(state, 'usage.db'), '');
    for (const folder of [database.directory, state]) chmodSync(folder, 0o755);
    const door = environment({
      MODELGATE_PROVIDER_PORT: '0',
      MODELGATE_PROVIDER_ACCESS_KEY: 'an-access-key-of-some-more-than-32-letters',
      MODELGATE_PROVIDERS: 'http://ollama:11434',
    });
    const check = (file: string, user = AS_NOBODY) =>
      startModelgate(['serve', '--check-config'], { ...door, MODELGATE_USAGE_DATABASE: file }, '/', user).ended();
    const found = async (file: string) => (await check(file)).stderr.match(/MODELGATE_USAGE_DATABASE: found (.*)/)?.[1];
    expect(await found(`${database.directory}/new/usage.db`)).toBe(
      `"${database.directory}/new", where this user may not write a new folder`,
    );
    expect(await found(`${state}/other.db`)).toBe(`"${state}", where this user may not write`);
    chmodSync(state, 0o777);
    expect(await found(`${state}/usage.db`)).toBe(`"${state}/usage.db", which this user may not write`);
    expect(await check(`${database.directory}/new/usage.db`, {})).toMatchObject({ code: 0 });
    expect(readdirSync(database.directory)).not.toContain('new');
  });

  test.each([
    ['no database', (path: string): void => writeFileSync(path, 'no database'), 'is no SQLite database'],
    ['a folder', (path: string): void => mkdirSync(path), 'is a directory'],
  ])('of the ledger names a file that is %s, before the gate starts', async (is, make, found) => {
    const path = join(database.directory, `${is}.db`);
    make(path);
    const door = {
      MODELGATE_PROVIDER_PORT: '0',
      MODELGATE_PROVIDER_ACCESS_KEY: 'an-access-key-of-some-more-than-32-letters',
      MODELGATE_PROVIDERS: 'http://ollama:11434',
      MODELGATE_USAGE_DATABASE: path,
    };
    for (const words of [['--check-config'], []]) {
      const { code, stdout, stderr } = await serve(door, words);
      expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
      expect(stderr).toContain(`MODELGATE_USAGE_DATABASE: found "${path}", which ${found}\n  expected `);
    }
    rmSync(path, { recursive: true });
    writeFileSync(path, '');
    expect(await serve(door, ['--check-config'])).toMatchObject({ code: 0 });
  });

  test('is printed as JSON on request', async () => {
    const { code, stdout } = await serve({ LOG_LEVEL: 'loud' }, ['--check-config', '--json']);
    expect(code).toBe(2);
    expect(JSON.parse(stdout)).toMatchObject({ valid: false, issues: [{ setting: 'LOG_LEVEL', found: '"loud"' }] });
    const valid = await serve({}, ['--check-config', '--json']);
    expect(valid.code).toBe(0);
    expect(JSON.parse(valid.stdout)).toEqual({ valid: true, issues: [] });
  });

  test('in a file is found by its name', async () => {
    writeFileSync(join(database.directory, 'gate.yaml'), 'MODELGATE_PORT: eighty\n');
    const { code, stderr } = await serve({}, ['--config', 'gate.yaml']);
    expect(code).toBe(2);
    expect(stderr).toContain('MODELGATE_PORT (gate.yaml): found "eighty"');
  });

  test('of the database names the directory that is not there', async () => {
    const { code, stderr } = await serve({ DATABASE_URL: 'sqlite:////no/such/place/webui.db' });
    expect(code).toBe(2);
    expect(stderr).toContain('is the volume mounted?');
  });
});

describe('an address that cannot be listened on', () => {
  test.each([
    ['MODELGATE_PORT', { MODELGATE_ADMIN_PORT: '0' }],
    ['MODELGATE_ADMIN_PORT', { MODELGATE_PORT: '0' }],
  ])('ends serve with code 1 and one sentence: %s in use', async (setting, more) => {
    const holder = createServer();
    const port = await listening(holder);
    const { code, stderr } = await serve({ ...more, [setting]: String(port) });
    holder.close();
    expect(code).toBe(1);
    expect(stderr).toBe(
      `modelgate: Cannot listen on 127.0.0.1 port ${port}: another process uses it. ${setting} chooses another.\n`,
    );
  });

  test('is said to be of another machine', async () => {
    const { code, stderr } = await serve({ MODELGATE_HOST: '192.0.2.1' });
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^modelgate: Cannot listen on 192\.0\.2\.1 port 8080: no interface .*MODELGATE_HOST chooses another\.\n$/,
    );
  });
});

describe('a file of authorities for a backend that speaks TLS', () => {
  test.each([
    ['that is not there', 'nowhere.pem', 'does not exist'],
    ['that is a folder', '.', 'is a folder'],
    ['without a certificate', 'webui.db', 'holds no certificate in PEM'],
  ])('%s is one sentence, and no start', async (_what, name, found) => {
    const file = join(database.directory, name);
    const { code, stdout, stderr } = await serve({ NODE_EXTRA_CA_CERTS: file });
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toContain(`NODE_EXTRA_CA_CERTS=${file} ${found}. Give the file`);
  });

  test('is taken where it holds one, and /readyz says what else is wrong with TLS', async () => {
    const file = join(database.directory, 'authority.pem');
    writeFileSync(file, rootCertificates[0] ?? '');
    await using backend = await startSlowUpstream();
    const tls = { MODELGATE_UPSTREAM_URL: `https://127.0.0.1:${backend.port}`, NODE_EXTRA_CA_CERTS: file };
    await using gate = await serveModelgate(environment(tls));
    const { state } = await readyz(gate.adminUrl);
    expect(state.upstream).toEqual({
      reachable: false,
      problem: expect.stringContaining('http and not https') as unknown,
    });
  });
});

describe('what comes later is no error at start', () => {
  test('the backend: 503 at /readyz and 502 for requests until it is there', async () => {
    const port = await freePort();
    await using gate = await serveModelgate(environment({ MODELGATE_UPSTREAM_URL: `http://127.0.0.1:${port}` }));
    expect(await readyz(gate.adminUrl)).toMatchObject({
      status: 503,
      state: {
        ready: false,
        upstream: { reachable: false, problem: expect.stringMatching(/^it refuses .*port.*ECONNREFUSED/) as unknown },
      },
    });
    expect((await fetch(`${gate.adminUrl}/healthz`)).status).toBe(200);
    const refused = await fetch(`${gate.url}/api/version`);
    expect(refused.status).toBe(502);
    expect(await refused.json()).toHaveProperty('detail');

    await using _backend = await startSlowUpstream(port);
    await until(async () => (await readyz(gate.adminUrl)).status === 200, 10_000, 'ready once the backend is there');
    expect(await (await fetch(`${gate.url}/api/version`)).text()).toBe('backend /api/version');
  });

  test('the database: models are refused with 503, everything else goes on', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'modelgate-'));
    await using backend = await startSlowUpstream();
    await using gate = await serveModelgate(
      environment({ MODELGATE_UPSTREAM_URL: backend.origin, DATABASE_URL: `sqlite:///${directory}/webui.db` }),
    );
    expect(await readyz(gate.adminUrl)).toMatchObject({ status: 503, state: { database: { readable: false } } });
    const list = await fetch(`${gate.url}/api/models`, { headers: { authorization: 'Bearer sk-anything' } });
    expect(list.status).toBe(503);
    expect((await fetch(`${gate.url}/static/logo.png`)).status).toBe(200);

    const late = createDatabase({ directory });
    await until(async () => (await readyz(gate.adminUrl)).status === 200, 10_000, 'ready once the database is there');
    late.close();
    rmSync(directory, { recursive: true });
  });

  test('a file that is no database is named at /readyz', async () => {
    const path = join(database.directory, 'garbage.db');
    writeFileSync(path, 'this is no database, and long enough to be read as one'.repeat(50));
    await using gate = await serveModelgate(environment({ DATABASE_URL: `sqlite:///${path}` }));
    expect((await readyz(gate.adminUrl)).status).toBe(503);
    // a busy machine may not answer the first question in time
    const problem = async () => (await readyz(gate.adminUrl)).state.database.problem;
    await expect.poll(problem, { timeout: 10_000 }).toContain('SQLITE_NOTADB');
  });
});

describe('the admin listener', () => {
  test('has health, readiness and metrics of what has passed, and the public port has none of them', async () => {
    const { gate } = await gateWithBackend();
    await (await fetch(`${gate.url}/static/a.js`)).text();
    await gate.line('request');
    const metrics = await fetch(`${gate.adminUrl}/metrics`);
    expect(metrics.headers.get('content-type')).toMatch(/^text\/plain/);
    const text = await metrics.text();
    expect(text).toContain('modelgate_requests_total{surface="neutral",status="2xx",decision="none"} 1');
    expect(text).toContain('modelgate_requests_in_flight 0');
    expect(text).toContain('modelgate_upstream_first_byte_seconds_count 1');
    // a busy machine may not answer a look at the file in time
    await expect.poll(async () => (await readyz(gate.adminUrl)).status).toBe(200);
    const exposed = async () => (await fetch(`${gate.adminUrl}/metrics`)).text();
    await expect.poll(exposed).toContain('modelgate_database_readable 1');
    expect((await fetch(`${gate.adminUrl}/api/models`)).status).toBe(404);
    for (const path of ['/metrics', '/readyz', '/healthz']) {
      expect(await (await fetch(`${gate.url}${path}`)).text()).toBe(`backend ${path}`);
    }
  });
});

describe('what a person at a terminal sees', () => {
  const started = (output: boolean, more: Record<string, string> = {}) =>
    serve({ MODELGATE_PORT: '0', ...more }, [], { screen: { output }, stop: AbortSignal.abort() });
  const organization = { OPENROUTER_EXTERNAL_USER: 'acme', ORGANIZATION_NAME: 'Acme' };

  test('is where the gate listens and what it does, in a few lines', async () => {
    const { code, stdout } = await started(true, organization);
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /^modelgate \S+ — enforcing\n {2}gate {6}http:\/\/127\.0\.0\.1:\d+ {2}→ {2}http:\/\/127\.0\.0\.1:9\n {2}admin {5}http:\S+ {2}\/healthz \/readyz \/metrics\n {2}database {2}\/\S+\n {2}new users join acme \("Acme"\)\n$/,
    );
  });

  test.each([
    ['report mode', { MODELGATE_MODE: 'report' }, '— only reporting\n'],
    ['a bypass', { ENABLE_MODEL_FILTER: 'false' }, '— SWITCHED OFF by ENABLE_MODEL_FILTER\n'],
  ])('says %s in the first line', async (_name, more, said) => {
    expect((await started(true, more)).stdout).toContain(said);
  });

  test('is seen in a pipe only where LOG_FORMAT asks for it, and never where it says json', async () => {
    expect((await started(false)).stdout).toBe('');
    expect((await started(true, { LOG_FORMAT: 'json' })).stdout).toBe('');
    const { stdout } = await started(false, { LOG_FORMAT: 'text' });
    expect(stdout).toMatch(/^modelgate \S+ — enforcing\n/);
  });

  test('is a line for each request', async () => {
    await using backend = await startSlowUpstream();
    const port = await freePort();
    const gate = startModelgate(
      ['serve'],
      environment({
        MODELGATE_UPSTREAM_URL: backend.origin,
        MODELGATE_HOST: '127.0.0.1',
        MODELGATE_PORT: String(port),
        MODELGATE_ADMIN_PORT: '0',
        LOG_FORMAT: 'text',
      }),
    );
    const ask = () =>
      fetch(`http://127.0.0.1:${port}/api/models`).then(
        (answer) => answer.status,
        () => 0,
      );
    await until(async () => (await ask()) === 401, 10_000, 'the gate answers');
    gate.kill('SIGTERM');
    const { code, stdout } = await gate.ended();
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /^\d\d:\d\d:\d\d DENY {2}anonymous +- +not authenticated +GET {2}\/api\/models 401 {2}\d+ ms {2}d-\w{10}$/m,
    );
    expect(stdout).not.toContain('{"');
  });
});

describe('a gate that is switched off', () => {
  test('says so in the log, at /readyz and as a metric', async () => {
    await using gate = await serveModelgate(environment({ BYPASS_MODEL_ACCESS_CONTROL: 'true' }));
    expect(await gate.line(/MODEL ACCESS CONTROL IS SWITCHED OFF by BYPASS_MODEL_ACCESS_CONTROL/)).toMatchObject({
      level: 'warn',
    });
    expect((await readyz(gate.adminUrl)).state.bypass).toBe('BYPASS_MODEL_ACCESS_CONTROL');
    expect(await (await fetch(`${gate.adminUrl}/metrics`)).text()).toContain('modelgate_bypass 1');
  });
});

describe('stopping', () => {
  test.each(['SIGTERM', 'SIGINT'] as const)('%s ends an idle gate with code 0', async (signal) => {
    const gate = await serveModelgate(environment());
    gate.kill(signal);
    const { code, stderr } = await gate.ended();
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(gate.lines().at(-1)).toMatchObject({ msg: 'modelgate has stopped', requests_cut: 0 });
  });

  test('running requests are finished, new connections are not accepted, and /readyz says so', async () => {
    const { gate, begun } = await gateWithBackend();
    const { answer, upstreamAnswer } = await begun();
    gate.kill('SIGTERM');
    await gate.line(/stops accepting/);
    await until(
      () =>
        fetch(`${gate.url}/api/version`).then(
          () => false,
          () => true,
        ),
      5_000,
      'new connections are refused',
    );
    expect(await readyz(gate.adminUrl)).toMatchObject({ status: 503, state: { draining: true } });
    upstreamAnswer.end(' and ended');
    expect(await answer.text()).toBe('begun and ended');
    expect((await gate.ended()).code).toBe(0);
    expect(await gate.line('request')).toMatchObject({ path: '/slow', status: 200 });
  });

  test('with a delay it goes on accepting and serving first, /readyz says so, and each answer ends its connection', async () => {
    const { gate } = await gateWithBackend({ MODELGATE_DRAIN_DELAY: '4s' });
    gate.kill('SIGTERM');
    const begun = performance.now();
    expect(await gate.line(/modelgate will stop/)).toMatchObject({ delay_ms: 4_000 });
    expect(await readyz(gate.adminUrl)).toMatchObject({ status: 503, state: { ready: false, draining: true } });
    const answer = await fetch(`${gate.url}/api/version`);
    expect([answer.status, answer.headers.get('connection')]).toEqual([200, 'close']);
    expect((await gate.ended()).code).toBe(0);
    expect(performance.now() - begun).toBeGreaterThan(3_900);
  });

  test('a second signal ends it within the delay too', async () => {
    const gate = await serveModelgate(environment({ MODELGATE_DRAIN_DELAY: '10m' }));
    gate.kill('SIGTERM');
    await gate.line(/modelgate will stop/);
    const asking = setInterval(() => gate.kill('SIGTERM'), 100);
    expect((await gate.ended().finally(() => clearInterval(asking))).code).toBe(1);
  });

  test('what outlasts the limit is cut and counted', async () => {
    const { gate, begun } = await gateWithBackend({ MODELGATE_DRAIN_TIMEOUT: '100ms' });
    const { answer } = await begun();
    gate.kill('SIGTERM');
    await expect(answer.text()).rejects.toThrow();
    expect((await gate.ended()).code).toBe(0);
    expect(await gate.line('request')).toMatchObject({ path: '/slow' });
    expect(gate.lines().at(-1)).toMatchObject({ msg: 'modelgate has stopped', requests_cut: 1 });
  });

  test('a second signal, if it is no echo of the first, ends it at once', async () => {
    const { gate, begun } = await gateWithBackend({ MODELGATE_DRAIN_TIMEOUT: '1h' });
    const { answer } = await begun();
    gate.kill('SIGTERM');
    await gate.line(/stops accepting/);
    // npm echoes a signal at once; a person asks again later, and here every 100 ms
    const asking = setInterval(() => gate.kill('SIGTERM'), 100);
    const { code } = await gate.ended().finally(() => clearInterval(asking));
    expect(code).toBe(1);
    await expect(answer.text()).rejects.toThrow();
  });
});

interface LogFile {
  readonly fd: number;
  /** From here on no process reads it. */
  leave(): void;
}

/** A pipe: what Node gives its children is a pair of sockets, which fails in other ways. */
function pipe(): LogFile {
  const directory = mkdtempSync(join(tmpdir(), 'modelgate-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const path = join(directory, 'log');
  execFileSync('mkfifo', [path]);
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  return { fd: openSync(path, 'w'), leave: () => closeSync(reader) };
}
const fullDisk = (): LogFile => ({ fd: openSync('/dev/full', 'w'), leave: () => undefined });

test.each([
  ['no process reads it any more', pipe],
  ['its disk is full', fullDisk],
])('a log goes on losing lines and the gate goes on serving when %s', async (_name, open) => {
  await using backend = await startSlowUpstream();
  const port = await freePort();
  const settings = environment({
    MODELGATE_UPSTREAM_URL: backend.origin,
    MODELGATE_HOST: '127.0.0.1',
    MODELGATE_PORT: String(port),
    MODELGATE_ADMIN_PORT: '0',
  });
  const log = open();
  const gate = spawn(process.execPath, [MAIN, 'serve'], { env: settings, stdio: ['ignore', log.fd, 'ignore'] });
  const ended = once(gate, 'exit') as Promise<[number | null]>;
  closeSync(log.fd);
  const ask = () =>
    fetch(`http://127.0.0.1:${port}/api/version`).then(
      (answer) => answer.text(),
      () => '',
    );
  await until(async () => (await ask()) !== '', 15_000, 'the gate serves');
  log.leave();
  for (let index = 0; index < 200; index += 1) expect(await ask()).toBe('backend /api/version');
  gate.kill('SIGTERM');
  expect((await withTimeout(ended, 10_000, 'the gate ends'))[0]).toBe(0);
});
