/** Ways around a limit, and ways to spend the allowance of another user. */
import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { chat } from '../support/gate/attacks.ts';
import { manualClock } from '../support/process/clock.ts';
import { type TestGate, gateOfTest } from '../support/gate/gate.ts';
import { openConnection, rawRequest, requestText, type RawAnswer } from '../support/gate/raw-connection.ts';
import { mintSession } from '../support/gate/session.ts';
import { AT_THE_EDGE } from '../support/gate/through-nginx.ts';
import { withTimeout, inTurn } from '../support/process/with-timeout.ts';

const THREE = { MODELGATE_LIMIT_ADDRESS: '3/1h', MODELGATE_LIMIT_USER: '3/1h' };

interface Attacked {
  readonly gate: TestGate;
  readonly clock: ReturnType<typeof manualClock>;
  raw(line: string, headers?: readonly string[], body?: string): Promise<RawAnswer>;
  /** Statuses of so many anonymous requests, each with the headers that `of` gives it. */
  flood(times: number, of: (index: number) => readonly string[], line?: string): Promise<number[]>;
  as(user: string): Promise<string>;
}

async function attack(settings: Record<string, string> = THREE): Promise<Attacked> {
  const clock = manualClock();
  const gate = await gateOfTest(settings, '0.12.4', clock);
  const raw: Attacked['raw'] = (line, headers = [], body = '') => {
    const lines = body === '' ? headers : [...headers, `Content-Length: ${body.length}`];
    return rawRequest(gate.port, requestText(line, lines, body));
  };
  return {
    gate,
    clock,
    raw,
    flood: (times, of, line = 'GET /api/models') =>
      inTurn(Array(times).keys(), async (index) => (await raw(line, of(index))).status),
    as: (user) => gate.authorization(user),
  };
}

const refused = (statuses: readonly number[]): number => statuses.filter((status) => status === 429).length;

describe('an address cannot be invented', () => {
  test('by X-Forwarded-For and its kin, where no proxy is trusted', async () => {
    const { flood } = await attack();
    const statuses = await flood(6, (index) => [
      `X-Forwarded-For: 203.0.113.${index}`,
      `X-Real-IP: 203.0.113.${index}`,
      `Forwarded: for=203.0.113.${index}`,
      `X-Client-IP: 203.0.113.${index}`,
      `True-Client-IP: 203.0.113.${index}`,
    ]);
    expect(refused(statuses)).toBe(3);
  });

  const TRUSTING = { ...THREE, MODELGATE_TRUSTED_PROXIES: '127.0.0.1/32,10.0.0.0/8' };

  test.each([
    ['addresses that the client itself put in front', (index: number) => `203.0.113.${index}, 198.51.100.7`],
    ['and proxies of ours behind it', (index: number) => `203.0.113.${index}, 198.51.100.7, 10.0.0.${index}`],
    ['addresses of ours in front', (index: number) => `10.0.0.${index}, 198.51.100.7`],
    ['spellings', (index: number) => ['198.51.100.7', '::ffff:198.51.100.7', '::FFFF:c633:6407'][index % 3] ?? ''],
    ['another letter case and port-like rubbish in front', (index: number) => `a:${index}, 198.51.100.7`],
  ])('by %s, behind a trusted proxy', async (_way, chain) => {
    const { flood } = await attack(TRUSTING);
    expect(refused(await flood(6, (index) => [`x-FORWARDED-for: ${chain(index)}`]))).toBe(3);
  });

  test('and clients behind a trusted proxy are counted apart', async () => {
    const { flood } = await attack(TRUSTING);
    expect(refused(await flood(6, (index) => [`X-Forwarded-For: 198.51.100.${index}`]))).toBe(
      AT_THE_EDGE.addressesToldApart ? 0 : 3,
    );
  });

  test('by moving inside of an IPv6 /64', async () => {
    const { flood } = await attack(TRUSTING);
    const spelled = ['2001:db8:1:2::1', '2001:DB8:1:2:ffff::', '2001:0db8:0001:0002:1:2:3:4', '2001:db8:1:2::5:6%0'];
    expect(refused(await flood(8, (index) => [`X-Forwarded-For: ${spelled[index % 4] ?? ''}`]))).toBe(5);
    const elsewhere = await flood(1, () => ['X-Forwarded-For: 2001:db8:1:3::1']);
    expect(refused(elsewhere)).toBe(AT_THE_EDGE.addressesToldApart ? 0 : 1);
  });
});

describe('no user can spend the allowance of another', () => {
  test('with tokens that name a user and are signed with another key', async () => {
    const { gate, flood } = await attack();
    const forged = await mintSession('ann', { secretKey: 'another-secret-that-is-long-enough' });
    expect(await flood(5, () => [`Authorization: Bearer ${forged}`])).toEqual([401, 401, 401, 429, 429]);
    expect((await gate.ask('ann', '/api/models')).headers.get('ratelimit')).toMatch(/^"user";r=2;/);
  });

  test('with a different invalid token or key each time, wherever it is put', async () => {
    const { flood } = await attack();
    const places = [
      (index: number) => `Authorization: Bearer unknown-${index}`,
      (index: number) => `authorization: bearer sk-unknown-${index}`,
      (index: number) => `Cookie: token=unknown-${index}`,
      (index: number) => `X-Api-Key: sk-unknown-${index}`,
    ];
    const statuses = await flood(8, (index) => [places[index % 4]?.(index) ?? '']);
    expect(refused(statuses)).toBe(5);
  });

  test('with a second credential beside one’s own', async () => {
    const { gate, flood, as } = await attack();
    const both = [await as('bob'), `Cookie: token=${await gate.token('ann')}`];
    expect(await flood(5, () => both)).toEqual([400, 400, 400, 400, 400]);
    for (const user of ['ann', 'bob']) {
      expect((await gate.ask(user, '/api/models')).headers.get('ratelimit')).toMatch(/^"user";r=2;/);
    }
  });

  test('by asking for models that were not granted, or by being limited', async () => {
    const { gate } = await attack({ MODELGATE_LIMIT_ORGANIZATION: '2/1h', MODELGATE_LIMIT_CHAT: '1/1h' });
    for (let request = 0; request < 5; request += 1) {
      expect((await gate.ask('bob', '/api/chat/completions', chat('A'))).status).toBe(403);
      expect((await gate.ask('dan', '/api/chat/completions', chat('A'))).status).toBe(403);
      expect((await fetch(`${gate.url}/api/chat/completions`, { method: 'POST' })).status).toBe(401);
      await gate.ask('cyd', '/api/chat/completions', chat('A'));
    }
    expect((await gate.ask('ann', '/api/chat/completions', chat('A'))).status).toBe(200);
  });

  test('by leaving before the answer: the user who asked pays it', async () => {
    const { gate, raw, as } = await attack();
    const authorization = await as('ann');
    for (let request = 0; request < 3; request += 1) {
      const connection = await openConnection(
        gate.port,
        requestText('POST /api/chat/completions', [authorization, 'Content-Length: 500'], '{"model":'),
      );
      await expect.poll(() => gate.figures()).toContain('modelgate_requests_in_flight 1');
      connection.close();
      await expect.poll(() => gate.lines.filter((line) => line['status'] === 499)).toHaveLength(request + 1);
    }
    expect((await raw('GET /api/models', [authorization])).status).toBe(429);
    expect((await raw('GET /api/models', [await as('bob')])).status).toBe(200);
  });
});

describe('a user has one allowance', () => {
  test('whichever credential, header and letter case is used', async () => {
    const { flood, gate, as } = await attack();
    const token = await gate.token('ann');
    const ways = [await as('ann'), 'AUTHORIZATION: bearer sk-ann', `cookie: token=${token}`, 'x-API-key: sk-ann'];
    expect(refused(await flood(8, (index) => [ways[index % 4] ?? '']))).toBe(5);
  });

  test('whichever method and spelling of the path', async () => {
    const { raw, as } = await attack();
    const authorization = await as('ann');
    const lines = [
      'HEAD /api/models',
      'OPTIONS /api/models',
      'GET /api/%6dodels?x=1',
      'PUT /api/models',
      'GET /api/models',
    ];
    const statuses = await inTurn(lines, async (line) => (await raw(line, [authorization])).status);
    expect(statuses.slice(3)).toEqual([429, 429]);
    expect(refused(statuses)).toBe(2);
  });

  test('whichever address it comes from', async () => {
    const { flood, as } = await attack({ ...THREE, MODELGATE_TRUSTED_PROXIES: '127.0.0.1/32' });
    const authorization = await as('ann');
    expect(refused(await flood(6, (index) => [authorization, `X-Forwarded-For: 198.51.100.${index}`]))).toBe(3);
  });

  test('by both doors: an upgrade counts, and is refused in one’s own words', async () => {
    const { gate, as, raw } = await attack();
    const sockets = new WebSocketServer({ server: gate.backend.server });
    sockets.on('connection', (socket) => socket.close());
    const headers = { authorization: (await as('ann')).slice('Authorization: '.length) };
    for (let connection = 0; connection < 3; connection += 1) {
      const socket = new WebSocket(`${gate.url}/ws/socket.io/?EIO=4&transport=websocket`, { headers });
      const [upgraded] = (await withTimeout(once(socket, 'upgrade'), 15_000, 'the upgrade')) as [
        { headers: Record<string, string> },
      ];
      expect(upgraded.headers['ratelimit']).toBe(`"user";r=${2 - connection};t=1200`);
      await withTimeout(once(socket, 'close'), 15_000, 'the end');
    }
    const upgrade = ['Upgrade: websocket', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='];
    const text = await raw('GET /ws/socket.io/?EIO=4&transport=websocket', [
      await as('ann'),
      'Connection: Upgrade',
      ...upgrade,
    ]);
    expect([text.status, text.field('retry-after'), text.field('ratelimit')]).toEqual([
      429,
      '1200',
      '"user";r=0;t=1200',
    ]);
    expect((await raw('GET /api/models', [await as('ann')])).status).toBe(429);
    expect(gate.lines.filter((line) => line['limit'] === 'user')).toHaveLength(2);
  });

  test('upgrades without a session are paid by their address', async () => {
    const { flood } = await attack();
    const upgrade = ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13'];
    const headers = [...upgrade, 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='];
    expect(refused(await flood(5, () => headers, 'GET /ws/socket.io/?transport=websocket'))).toBe(2);
  });
});

describe('guessing a password', () => {
  const signIn = '{"email":"ann@example.com","password":"guess"}';
  const json = 'Content-Type: application/json';

  test('costs ten, so that an address has sixty tries a minute at the defaults', async () => {
    const { raw, clock } = await attack({});
    const guess = async () => (await raw('POST /api/v1/auths/signin', [json], signIn)).status;
    expect(refused(await inTurn(Array(40), guess))).toBe(10);
    clock.advance(60_000);
    expect(refused(await inTurn(Array(40), guess))).toBe(10);
  });

  test('costs the address with a session too, and whatever the spelling', async () => {
    const { raw, as } = await attack({ MODELGATE_LIMIT_ADDRESS: '30/1h' });
    const authorization = await as('ann');
    const paths = ['/api/v1/auths/signin', '/api/v1/auths/sign%69n', '/api/v1/auths/ldap?x', '/api/v1/auths/signup'];
    const statuses = await inTurn(
      paths,
      async (path) => (await raw(`POST ${path}`, [json, authorization], signIn)).status,
    );
    expect(refused(statuses.slice(0, 3))).toBe(0);
    expect(statuses[3]).toBe(429);
    expect((await raw('GET /api/models', [authorization])).status).toBe(200);
  });
});
