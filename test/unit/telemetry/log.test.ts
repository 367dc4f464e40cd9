import { describe, expect, test } from 'vitest';
import { type Log, createLog } from '../../../src/telemetry/log.ts';

const SECRET = 'k3y-of-the-backend';

function collect(options: Partial<Parameters<typeof createLog>[0]> = {}): {
  log: Log;
  lines: string[];
  last: () => Record<string, unknown>;
} {
  const lines: string[] = [];
  const log = createLog({ level: 'info', secrets: [SECRET], write: (line) => lines.push(line), ...options });
  return { log, lines, last: () => JSON.parse(lines.at(-1) ?? '{}') as Record<string, unknown> };
}

describe('a log line', () => {
  test('is one line of JSON with the level as a word, the time in ISO 8601 and the message', () => {
    const { log, lines, last } = collect();
    log.info({ model: 'gpt' }, 'hello');
    expect(lines[0]).toMatch(/^\{"time":"[^"]+","level":"info","msg":"hello",.*\}\n$/);
    expect(last()).toEqual({
      level: 'info',
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]{12}Z$/) as string,
      model: 'gpt',
      msg: 'hello',
    });
  });

  test('begins alike from every writer: time, level, message', () => {
    const { log, lines } = collect({ level: 'debug' });
    for (const word of ['info', 'warn', 'error', 'fatal'] as const) log[word]({ a: 1 }, 'm');
    log.error({ err: new Error('inner') }, 'm');
    log.record('info', { a: 1 }, 'm');
    log.explain?.({ a: 1 }, 'm');
    expect(lines).toHaveLength(7);
    for (const line of lines) {
      const parsed = JSON.parse(line) as Record<string, unknown>;
      expect(Object.keys(parsed).slice(0, 3)).toEqual(['time', 'level', 'msg']);
      expect(parsed['msg']).toBe('m');
      expect(line.match(/"(?:time|level|msg)":/g)).toHaveLength(3);
    }
  });

  test('is handed over in another form where there is one', () => {
    const { log, lines } = collect({ format: (line) => (JSON.parse(line) as { msg: string }).msg });
    log.info({ a: SECRET }, `about ${SECRET}`);
    log.record('info', {}, 'request');
    expect(lines).toEqual(['about [redacted]', 'request']);
  });

  test('is the same whether it was recorded or logged', () => {
    const { log, last } = collect();
    log.warn({ a: 1, b: 'x', c: true }, 'said');
    const { time: _, ...logged } = last();
    log.record('warn', { a: 1, b: 'x', c: true, d: undefined }, 'said');
    const { time, ...recorded } = last();
    expect(recorded).toEqual(logged);
    expect(Math.abs(Date.parse(String(time)) - Date.now())).toBeLessThan(5_000);
  });

  test('below the level is not written', () => {
    const { log, lines } = collect({ level: 'warn' });
    log.info({}, 'no');
    log.record('info', {}, 'no');
    log.record('warn', {}, 'yes');
    log.error({}, 'yes');
    expect(lines).toHaveLength(2);
  });

  test('that explains a decision is written only where models are debugged, whatever the level of the rest', () => {
    const quiet = collect({ level: 'warn', modelLevel: 'debug' });
    quiet.log.explain?.({ model: 'gpt' }, 'access');
    quiet.log.info({}, 'no');
    expect(quiet.lines).toHaveLength(1);
    expect(quiet.last()).toMatchObject({ level: 'debug', model: 'gpt', msg: 'access' });
    expect(collect({ level: 'debug' }).log.explain).toBeDefined();
    expect(collect({ level: 'debug', modelLevel: 'info' }).log.explain).toBeUndefined();
    expect(collect({ level: 'info' }).log.explain).toBeUndefined();
  });

  test('stays one line whatever a client puts into it', () => {
    const { log, lines } = collect();
    log.record('info', { path: '/a\n{"level":"fatal"}\u2028\u0000', model: '\ud800"' }, 'request');
    expect(lines).toHaveLength(1);
    expect(lines[0]?.trimEnd()).not.toContain('\n');
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({ level: 'info' });
  });

  test('shows an error with its stack and its cause', () => {
    const { log, last } = collect();
    log.error({ err: new Error('outer', { cause: new Error('inner') }) }, 'failed');
    expect(last()['err']).toMatchObject({
      message: 'outer: inner',
      stack: expect.stringContaining('log.test.ts') as string,
    });
  });
});

describe('nothing secret is logged', () => {
  const jwt = 'eyJhbGciOiJIUzI1NiJ9.eyJpZCI6IngifQ.c2lnbmF0dXJl';
  const apiKey = 'sk-0123456789abcdef0123456789abcdef';

  test.each([
    ['the key, in a field', { note: `it is ${SECRET}.` }, SECRET],
    ['the key, deep in an object', { a: { b: [{ c: SECRET }] } }, SECRET],
    ['the key, in an error', { err: new Error(`cannot use ${SECRET}`) }, SECRET],
    ['a session token', { path: `/x/${jwt}` }, jwt],
    ['an API key', { model: apiKey }, apiKey],
    ['an Authorization header', { headers: { Authorization: 'Basic dXNlcjpwYXNz' } }, 'dXNlcjpwYXNz'],
    ['a cookie with quotes in it', { headers: { cookie: 'a="q\\"uoted"; token=abc' } }, 'token=abc'],
    ['a list of cookies', { 'set-cookie': ['token=abc', 'b=2'] }, 'token=abc'],
    ['a header of our own', { request: { 'X-Own-Key': 'plain' } }, 'plain'],
  ])('%s', (_name, fields, needle) => {
    const { log, lines } = collect({ secretHeaders: ['x-own-key'] });
    log.error(fields, 'careful');
    expect(lines[0]).not.toContain(needle);
    expect(lines[0]).toContain('[redacted]');
    expect(() => JSON.parse(lines[0] ?? '') as unknown).not.toThrow();
  });

  test.each([
    ['the key', { model: SECRET }, SECRET],
    ['a session token', { path: `/x/${jwt}` }, jwt],
    ['an API key', { path: `/${apiKey}/x` }, apiKey],
  ])('nor recorded or explained: %s', (_name, fields, needle) => {
    const { log, lines } = collect({ modelLevel: 'debug' });
    log.record('info', fields, 'request');
    log.explain?.(fields, 'access');
    expect(lines).toHaveLength(2);
    expect(lines.join('')).not.toContain(needle);
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({ msg: 'request' });
  });

  test('a key with its newline and quotes is found in its escaped form', () => {
    const { log, lines } = collect({ secrets: ['pa"ss\n', 'pa"ss'] });
    log.info({ a: 'is pa"ss\n.', b: 'pa"ss' }, 'x');
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({ a: 'is [redacted].', b: '[redacted]' });
  });

  test('ordinary words stay as they are', () => {
    const { log, last } = collect();
    log.info({ model: 'mistral/risk-assessment-model-large', path: '/api/keys' }, 'token and cookie are words');
    expect(last()).toMatchObject({ model: 'mistral/risk-assessment-model-large', msg: 'token and cookie are words' });
  });
});
