/** What answers say about limits, on real sockets, with a clock that only the test moves. */
import OpenAI, { RateLimitError } from 'openai';
import type { RequestListener } from 'node:http';
import { describe, expect, test } from 'vitest';
import { chat } from '../../support/gate/attacks.ts';
import { manualClock } from '../../support/process/clock.ts';
import { gateOfTest } from '../../support/gate/gate.ts';
import { openConnection, parseAnswer, requestText } from '../../support/gate/raw-connection.ts';
import { closing } from '../../support/gate/transport.ts';
import { startUpstream } from '../../support/upstream/upstreams.ts';

const ROOMY = {
  MODELGATE_LIMIT_USER: '100/1m',
  MODELGATE_LIMIT_CHAT: '50/1m:9',
  MODELGATE_LIMIT_ADDRESS: '60/1m',
  MODELGATE_LIMIT_ORGANIZATION: '200/1m',
};

async function gateWith(settings: Record<string, string>, backend?: RequestListener) {
  const clock = manualClock();
  const upstream = backend === undefined ? undefined : closing(await startUpstream(backend));
  const target = upstream === undefined ? {} : { MODELGATE_UPSTREAM_URL: upstream.origin };
  const gate = await gateOfTest({ ...ROOMY, ...target, ...settings }, '0.12.4', clock);
  return { gate, clock };
}

const limitsOf = (answer: Response): Record<string, string> =>
  Object.fromEntries([...answer.headers].filter(([name]) => /ratelimit|retry-after/.test(name)));

const told = (name: string, policy: string, [limit, remaining, reset]: [number, number, string], t = 1) => ({
  ratelimit: `"${name}";r=${remaining};t=${t}`,
  'ratelimit-policy': `"${name}";${policy}`,
  'x-ratelimit-limit-requests': String(limit),
  'x-ratelimit-remaining-requests': String(remaining),
  'x-ratelimit-reset-requests': reset,
});

describe('an answer tells what is left', () => {
  test('of the requests of its user', async () => {
    const { gate, clock } = await gateWith({});
    expect(limitsOf(await gate.ask('ann', '/api/v1/chats/'))).toEqual(told('user', 'q=100;w=60', [100, 99, '600ms']));
    expect(limitsOf(await gate.ask('ann', '/api/models'))).toEqual(told('user', 'q=100;w=60', [100, 98, '1.2s']));
    clock.advance(1_000);
    expect(limitsOf(await gate.ask('ann', '/api/v1/nothing'))).toEqual(told('user', 'q=100;w=60', [100, 98, '800ms']));
    expect(limitsOf(await gate.ask('bob', '/api/v1/chats/'))).toEqual(told('user', 'q=100;w=60', [100, 99, '600ms']));
  });

  test('of the address where no user is proved', async () => {
    const { gate } = await gateWith({});
    expect(limitsOf(await fetch(`${gate.url}/api/config`))).toEqual(told('address', 'q=60;w=60', [60, 59, '1s']));
    const forged = await fetch(`${gate.url}/api/models`, { headers: { authorization: 'Bearer forged' } });
    expect([forged.status, limitsOf(forged)]).toEqual([401, told('address', 'q=60;w=60', [60, 58, '2s'], 1)]);
  });

  test('of chats, also on a stream and on an answer that is no success', async () => {
    const { gate } = await gateWith({});
    const streamed = await gate.ask('ann', '/api/chat/completions', { ...chat('A'), stream: true });
    expect(limitsOf(streamed)).toEqual(told('chat', 'q=50;w=60;modelgate-burst=9', [10, 9, '1.2s'], 2));
    expect(await streamed.text()).toContain('data:');
    const whole = await gate.ask('ann', '/api/v1/chat/completions', chat('A'));
    expect(limitsOf(whole)).toEqual(told('chat', 'q=50;w=60;modelgate-burst=9', [10, 8, '2.4s'], 2));
    expect(limitsOf(await gate.ask('ann', '/api/chat/completions', chat('F')))).toMatchObject({
      ratelimit: '"user";r=97;t=1',
    });
  });

  test('on nothing that is not counted: the page, its files, a preflight', async () => {
    const { gate } = await gateWith({});
    for (const target of ['/', '/static/favicon.png', '/_app/version.json', '/health']) {
      expect(limitsOf(await gate.ask('ann', target))).toEqual({});
    }
    const headers = { origin: 'https://chat.example', 'access-control-request-method': 'POST' };
    expect(limitsOf(await fetch(`${gate.url}/api/models`, { method: 'OPTIONS', headers }))).toEqual({});
  });

  test("once: what the backend passes on of its provider's limits is taken out, on 200, 304 and 429", async () => {
    const { gate } = await gateWith({}, (incoming, outgoing) => {
      const status = Number(incoming.headers['x-status']);
      const own = ['X-RateLimit-Limit-Requests', '10000', 'x-ratelimit-remaining-requests', '9999'];
      const more = ['RateLimit', '"p";r=1', 'x-ratelimit-remaining-tokens', '7', 'Retry-After', '20'];
      outgoing.writeHead(status, [...own, ...more]).end();
    });
    for (const status of [200, 304, 429]) {
      const answer = await gate.ask('bob', '/api/v1/chats/', undefined, { headers: { 'x-status': String(status) } });
      expect([answer.status, limitsOf(answer)]).toEqual([
        status,
        {
          ...told('user', 'q=100;w=60', [100, expect.anything() as number, expect.any(String) as string]),
          ratelimit: expect.stringMatching(/^"user";r=9\d;t=1$/) as string,
          'x-ratelimit-remaining-requests': expect.stringMatching(/^9\d$/) as string,
          'retry-after': '20',
        },
      ]);
    }
  });

  test('nowhere where limits are off', async () => {
    const off = Object.fromEntries(Object.keys(ROOMY).map((name) => [name, 'off']));
    const { gate } = await gateWith({ ...off, MODELGATE_LIMIT_CONCURRENT_CHATS: 'off' });
    expect(limitsOf(await gate.ask('ann', '/api/chat/completions', chat('A')))).toEqual({});
  });
});

describe('a refusal', () => {
  const TIGHT = { MODELGATE_LIMIT_CHAT: '1/30s' };

  test.each([
    ['/api/chat/completions', { detail: expect.stringContaining('Try again in 30 s.') as string }],
    [
      '/openai/chat/completions',
      {
        error: {
          message: 'Too many requests. You have asked more of models than you may. Try again in 30 s.',
          type: 'rate_limit_error',
          param: null,
          code: 'rate_limit_exceeded',
        },
      },
    ],
    ['/ollama/api/chat', { error: expect.stringContaining('Too many requests.') as string }],
    [
      '/api/v1/messages',
      { type: 'error', error: { type: 'rate_limit_error', message: expect.stringContaining('Too many') as string } },
    ],
  ])('on %s speaks the language of its caller, and nothing runs', async (target, body) => {
    const { gate } = await gateWith(TIGHT);
    const model = target.startsWith('/ollama') ? 'A:latest' : 'A';
    gate.database.grant('acme', 'A:latest');
    await gate.ask('ann', '/api/chat/completions', chat('A'));
    gate.ran();
    const answer = await gate.ask('ann', target, chat(model));
    expect([answer.status, await answer.json(), gate.ran()]).toEqual([429, body, []]);
    expect(limitsOf(answer)).toEqual({ ...told('chat', 'q=1;w=30', [1, 0, '30s'], 30), 'retry-after': '30' });
    expect(answer.headers.get('cache-control')).toBe('no-store');
  });

  test('is counted and logged by the name of its limit, once', async () => {
    const { gate } = await gateWith(TIGHT);
    for (let request = 0; request < 2; request += 1) await gate.ask('ann', '/api/chat/completions', chat('A'));
    await expect.poll(() => gate.lines.filter((line) => line['status'] === 429)).toHaveLength(1);
    expect(gate.lines.find((line) => line['status'] === 429)).toMatchObject({ limit: 'chat', user: 'ann' });
    expect(gate.lines.filter((line) => 'limit' in line)).toHaveLength(1);
    expect(await gate.figures()).toContain('modelgate_limited_requests_total{limit="chat"} 1');
  });

  test('has no body for HEAD, and asks for it to be closed after an upload that is not read', async () => {
    const { gate } = await gateWith({ MODELGATE_LIMIT_USER: '1/1m', MODELGATE_LIMIT_CHAT: 'off' });
    const authorization = await gate.authorization('ann');
    await gate.ask('ann', '/api/models');
    const head = await openConnection(gate.port, requestText('HEAD /api/models', [authorization]));
    const text = await head.closes();
    expect(text).toMatch(/^HTTP\/1\.1 429 /);
    expect(text.slice(text.indexOf('\r\n\r\n') + 4)).toBe('');
    const upload = await openConnection(gate.port);
    const length = `Content-Length: ${50 * 1024 * 1024}`;
    upload.send(requestText('POST /api/v1/files/', [authorization, length]).replace('Connection: close\r\n', ''));
    const answer = parseAnswer(await upload.receives('}'));
    expect([answer.status, answer.field('connection')]).toEqual([429, 'close']);
    upload.close();
  });
});

test('the OpenAI client sees a RateLimitError with its Retry-After, and succeeds by itself when told to try again', async () => {
  const gate = await gateOfTest({ MODELGATE_LIMIT_CHAT: '1/3s' });
  const statuses: number[] = [];
  const watched: typeof fetch = async (input, init) => {
    const answer = await fetch(input, init);
    statuses.push(answer.status);
    return answer;
  };
  const ask = (maxRetries: number) =>
    new OpenAI({ baseURL: `${gate.url}/openai`, apiKey: 'sk-ann', maxRetries, fetch: watched }).chat.completions.create(
      {
        model: 'A',
        messages: [{ role: 'user', content: 'hello' }],
      },
    );
  const { response } = await ask(0).withResponse();
  expect(response.headers.get('x-ratelimit-remaining-requests')).toBe('0');
  const refused: unknown = await ask(0).then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(refused).toBeInstanceOf(RateLimitError);
  expect(refused).toMatchObject({ status: 429, code: 'rate_limit_exceeded', type: 'rate_limit_error' });
  expect((refused as RateLimitError).headers.get('retry-after')).toMatch(/^[123]$/);
  statuses.length = 0;
  const answer = await ask(2);
  expect([answer.choices.length, statuses]).toEqual([1, [429, 200]]);
});
