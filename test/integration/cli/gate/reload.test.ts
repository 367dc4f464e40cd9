/** SIGHUP, as systemd's `ExecReload` and log rotation send it: the gate reads its configuration again and goes on. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createDatabase } from '../../../support/database/database.ts';
import { type ServingProcess, serveModelgate } from '../../../support/gate/gate-process.ts';
import { type SlowUpstream, startSlowUpstream } from '../../../support/upstream/upstreams.ts';
import { until } from '../../../support/process/with-timeout.ts';

const database = createDatabase();
const file = join(database.directory, 'gate.yaml');
afterAll(() => database.close());

const write = (settings: Record<string, string>): void =>
  writeFileSync(
    file,
    Object.entries(settings)
      .map(([name, value]) => `${name}: '${value}'\n`)
      .join(''),
  );

const environment = (upstream = 'http://127.0.0.1:9'): Record<string, string> => ({
  MODELGATE_UPSTREAM_URL: upstream,
  DATABASE_URL: `sqlite:///${database.path}`,
  WEBUI_SECRET_KEY: 'a-long-enough-key-for-tests',
  MODELGATE_CONFIG: file,
});

const SAME = 'the configuration was read again and is the same';
const CHANGED = 'these settings have changed and are in force';
const WAITING = 'these settings have changed and need a restart';

/** Writes the file, sends the signal and waits for the line that answers it. @returns that line */
async function reload(gate: ServingProcess, settings: Record<string, string>, answer: string | RegExp) {
  const found = () =>
    gate.lines().filter(({ msg }) => (typeof answer === 'string' ? msg === answer : answer.test(String(msg))));
  const before = found().length;
  write(settings);
  gate.kill('SIGHUP');
  await until(() => found().length > before, 10_000, `the line ${String(answer)}`);
  return found().at(-1) ?? {};
}

const status = async (gate: ServingProcess, path: string) => (await fetch(`${gate.url}${path}`)).status;

/** For all tests that leave it running, in their order; each begins with settings of its own. */
let gate: ServingProcess;
let backend: SlowUpstream;
const START = { MODELGATE_MODE: 'report', MODELGATE_HEADERS_FRAME_OPTIONS: 'DENY' };
beforeAll(async () => {
  write(START);
  backend = await startSlowUpstream();
  gate = await serveModelgate(environment(backend.origin));
});
afterAll(async () => {
  await gate[Symbol.asyncDispose]();
  await backend.close();
});

test('a gate whose configuration is the same says so, as often as it is asked, and goes on', async () => {
  for (let time = 0; time < 3; time += 1) expect(await reload(gate, START, SAME)).toMatchObject({ level: 'info' });
  expect(await status(gate, '/api/version')).toBe(200);
});

test('what has changed is in force with the next request, and what runs goes on as it was', async () => {
  expect(await status(gate, '/api/models')).toBe(200);
  const held = backend.held();
  const running = await fetch(`${gate.url}/slow`);
  const upstreamAnswer = await held;
  expect(running.headers.get('x-frame-options')).toBe('DENY');

  const line = await reload(gate, { MODELGATE_MODE: 'enforce', MODELGATE_DENIAL: 'hide' }, CHANGED);
  expect(line['settings']).toBe('MODELGATE_MODE, MODELGATE_DENIAL, MODELGATE_HEADERS_FRAME_OPTIONS');
  const answer = await fetch(`${gate.url}/api/models`);
  expect([answer.status, answer.headers.get('x-frame-options')]).toEqual([401, 'SAMEORIGIN']);
  expect(await (await fetch(`${gate.adminUrl}/readyz`)).json()).toMatchObject({ mode: 'enforce' });
  const metrics = await (await fetch(`${gate.adminUrl}/metrics`)).text();
  expect(metrics).toContain('modelgate_report_mode 0');
  expect(metrics).toContain('modelgate_denials_total{reason="not_authenticated",enforced="true"} 1');

  upstreamAnswer.end(' and ended');
  expect(await running.text()).toBe('begun and ended');

  await reload(gate, { MODELGATE_MODE: 'report' }, CHANGED);
  expect(await gate.line(/^MODELGATE_MODE=report: nothing is filtered/)).toMatchObject({ level: 'warn' });
  expect(await status(gate, '/api/models')).toBe(200);
});

test('a configuration with mistakes is refused, and the old one goes on', async () => {
  const old = { MODELGATE_HEADERS_FRAME_OPTIONS: 'DENY' };
  await reload(gate, old, CHANGED);
  const mistakes: readonly (readonly [settings: Record<string, string>, said: RegExp])[] = [
    [{ MODELGATE_MODE: 'off' }, /MODELGATE_MODE \(.*gate\.yaml\): found "off", expected/],
    [{ MODELGATE_MODE: 'off', LOG_LEVEL: 'loud' }, /MODELGATE_MODE .*; LOG_LEVEL /],
    [{ MODELGATE_MODUS: 'report' }, /did you mean MODELGATE_MODE\?/],
  ];
  for (const [settings, said] of mistakes) {
    const answer = /^the configuration has mistakes, the old one goes on: /;
    const line = await reload(gate, { MODELGATE_HEADERS_FRAME_OPTIONS: 'off', ...settings }, answer);
    expect(line).toMatchObject({ level: 'error', msg: expect.stringMatching(said) as unknown });
    expect((await fetch(`${gate.url}/x`)).headers.get('x-frame-options')).toBe('DENY');
  }
  writeFileSync(file, '{');
  gate.kill('SIGHUP');
  await gate.line(/^the configuration has mistakes, the old one goes on: .*gate\.yaml:\d+:\d+: this /);
  await reload(gate, old, SAME);
});

test('what needs a restart is named, until it is as before or the gate is started again', async () => {
  await reload(gate, {}, CHANGED);
  const more = { MODELGATE_DRAIN_TIMEOUT: '4s', MODELGATE_MAX_BODY: '1MB' };
  const changes = () => gate.lines().filter(({ msg }) => msg === CHANGED);
  expect(await reload(gate, { ...more, MODELGATE_DENIAL: 'hide' }, WAITING)).toMatchObject({
    level: 'warn',
    settings: 'MODELGATE_MAX_BODY, MODELGATE_DRAIN_TIMEOUT',
  });
  expect(changes().at(-1)).toMatchObject({ settings: 'MODELGATE_DENIAL' });
  await reload(gate, { ...more, MODELGATE_DENIAL: 'hide' }, WAITING);
  await reload(gate, { MODELGATE_DENIAL: 'hide' }, SAME);
});

test('limits that are the same go on counting, and others begin anew', async () => {
  const limits = { MODELGATE_LIMIT_ADDRESS: '1/1h:1' };
  await reload(gate, limits, CHANGED);
  const ask = () => status(gate, '/api/models');
  await until(async () => (await ask()) === 429, 10_000, 'the limit is reached');
  await reload(gate, { ...limits, MODELGATE_DENIAL: 'hide' }, CHANGED);
  expect(await ask()).toBe(429);
  await reload(gate, { MODELGATE_LIMIT_ADDRESS: '1/1h:9', MODELGATE_DENIAL: 'hide' }, CHANGED);
  expect(await ask()).toBe(401);
});

test('the level of the log changes, and the line about it is written at any level', async () => {
  await reload(gate, { LOG_LEVEL: 'INFO' }, CHANGED);
  const quiet = await reload(gate, { LOG_LEVEL: 'ERROR' }, CHANGED);
  expect(quiet['settings']).toBe('LOG_LEVEL');
  await status(gate, '/unseen');
  await reload(gate, { LOG_LEVEL: 'DEBUG' }, CHANGED);
  await status(gate, '/seen');
  await until(() => gate.stdout().includes('/seen'), 5_000, 'the access line');
  expect(gate.stdout()).not.toContain('/unseen');
});

test('and after all of that it ends as any other', async () => {
  gate.kill('SIGTERM');
  expect(await gate.ended()).toMatchObject({ code: 0, stderr: '' });
});

test('the environment goes on winning over the file', async () => {
  write({});
  await using other = await serveModelgate({ ...environment(), MODELGATE_MODE: 'enforce' });
  await reload(other, { MODELGATE_MODE: 'report' }, SAME);
  expect(await (await fetch(`${other.adminUrl}/readyz`)).json()).toMatchObject({ mode: 'enforce' });
});

test('another key in the same file needs a restart', async () => {
  const keyFile = join(database.directory, 'key');
  writeFileSync(keyFile, 'a-long-enough-key-for-tests');
  write({ WEBUI_SECRET_KEY_FILE: keyFile });
  const { WEBUI_SECRET_KEY: _, ...rest } = environment();
  await using other = await serveModelgate(rest);
  writeFileSync(keyFile, 'another-long-enough-key-for-tests');
  const line = await reload(other, { WEBUI_SECRET_KEY_FILE: keyFile }, WAITING);
  expect(line['settings']).toBe('WEBUI_SECRET_KEY_FILE');
  expect(other.stdout()).not.toContain('long-enough-key');
});

test('a gate that drains is not ended by it either', async () => {
  write({ MODELGATE_DRAIN_TIMEOUT: '1h' });
  await using draining = await serveModelgate(environment(backend.origin));
  const held = backend.held();
  const answer = await fetch(`${draining.url}/slow`);
  const upstreamAnswer = await held;
  draining.kill('SIGTERM');
  await draining.line(/stops accepting/);
  await reload(draining, { MODELGATE_DRAIN_TIMEOUT: '1h' }, SAME);
  upstreamAnswer.end(' and ended');
  expect(await answer.text()).toBe('begun and ended');
  expect((await draining.ended()).code).toBe(0);
});
