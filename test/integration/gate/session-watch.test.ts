/** Sessions that the backend issues and the gate cannot resolve: reported at once, and never at a client's wish. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { beforeEach, describe, expect, test } from 'vitest';
import { gateOfSuite } from '../../support/gate/gate.ts';
import { TEST_SECRET, mintSession, mintSession06 } from '../../support/gate/session.ts';
import { until } from '../../support/process/with-timeout.ts';

const WRONG_KEY =
  "The backend just issued a session that this gate cannot verify: WEBUI_SECRET_KEY is not the backend's. No user who signs in is known to the gate.";
const OTHER_KEY = 'the key of the backend, which the gate was never given';
const theirs = (user = 'ann') => mintSession(user, { secretKey: OTHER_KEY });

let answer: (request: IncomingMessage, response: ServerResponse) => void;
const gate = gateOfSuite({ MODELGATE_LIMIT_ADDRESS: 'off' }, ({ backend: { server } }) => {
  server.removeAllListeners('request');
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    request.resume();
    answer(request, response);
  });
});
/** All that was issued before is judged then. */
async function issueGood(): Promise<void> {
  const before = await count('none');
  await issue({ cookie: await mintSession('ann') });
  await until(async () => (await count('none')) !== before, 5_000, 'the session to be judged');
  await until(() => gate.gate.identityProblem() === undefined, 5_000, 'no problem');
}
beforeEach(issueGood);

interface Issued {
  readonly cookie?: string | undefined;
  readonly body?: unknown;
  readonly status?: number;
}

/** The backend issues a session in its answer to this request. */
async function issue({ cookie, body = {}, status = 200 }: Issued, target = '/api/v1/auths/signin', method = 'POST') {
  answer = (_request, response) => {
    const fields = { 'content-type': 'application/json', ...(status === 302 ? { location: '/auth' } : {}) };
    const line = cookie === undefined ? {} : { 'set-cookie': ['other=1', `token=${cookie}; HttpOnly; Path=/`] };
    response.writeHead(status, { ...fields, ...line }).end(JSON.stringify(body));
  };
  const told = await fetch(`${gate.url}${target}`, { method, redirect: 'manual' });
  return { status: told.status, cookies: told.headers.getSetCookie(), body: await told.text() };
}

const told = async (problem: string | undefined) => {
  await until(() => gate.gate.identityProblem() === problem, 5_000, `the problem to be ${problem}`);
  expect(await gate.figures()).toContain(`modelgate_identity_problem ${problem === undefined ? 0 : 1}`);
};
const count = async (fault: string) =>
  (await gate.figures()).find((line) => line.startsWith(`modelgate_issued_sessions_total{fault="${fault}"}`));

describe('a session that the backend signs with another key', () => {
  test.each([
    ['sign-in', 'POST', '/api/v1/auths/signin', 200],
    ['sign-up', 'POST', '/api/v1/auths/signup', 200],
    ['LDAP', 'POST', '/api/v1/auths/ldap', 200],
    ['the second factor', 'POST', '/api/v1/auths/mfa/verify', 200],
    ["the page's own look", 'GET', '/api/v1/auths/', 200],
    ['OAuth', 'GET', '/oauth/oidc/login/callback?code=1', 302],
    ['OAuth of earlier releases', 'GET', '/oauth/oidc/callback?code=1', 302],
  ])('is reported as of %s, until one of the right key is issued', async (_from, method, target, status) => {
    const cookie = await theirs();
    const seen = await issue({ cookie, status }, target, method);
    expect(seen.status).toBe(status);
    expect(seen.cookies.join()).toContain(cookie);
    await told(WRONG_KEY);
    await issue({ cookie: await mintSession('ann') });
    await told(undefined);
  });

  test.each(['/api/v1/auths/oauth/google/token/exchange', '/api/v1/auths/add'])(
    'is reported where only the JSON holds it, as of %s',
    async (target) => {
      const body = { token: await theirs(), token_type: 'Bearer' };
      expect(JSON.parse((await issue({ body }, target)).body)).toEqual(body);
      await told(WRONG_KEY);
    },
  );

  test('is one error line a minute, which shows no token', async () => {
    const tokens = [];
    for (let time = 0; time < 5; time += 1) {
      tokens.push(await theirs(`user-${time}`));
      await issue({ cookie: tokens[time] });
    }
    await told(WRONG_KEY);
    const errors = gate.lines.filter(({ level }) => level === 'error');
    expect(errors).toMatchObject([{ msg: WRONG_KEY, fault: 'other_key' }]);
    const written = JSON.stringify(gate.lines);
    for (const token of tokens) for (const part of token.split('.').slice(1)) expect(written).not.toContain(part);
    expect(await count('other_key')).toBeDefined();
  });
});

describe('is no proof of anything:', () => {
  test('a token that a client forges, in whatever place', async () => {
    const forged = await theirs();
    answer = (_request, response) => void response.writeHead(401).end('{"detail":"401 Unauthorized"}');
    for (const headers of [{ authorization: `Bearer ${forged}` }, { cookie: `token=${forged}` }]) {
      for (const target of ['/api/v1/auths/', '/api/models', '/api/v1/chats/']) {
        await (await fetch(`${gate.url}${target}`, { headers })).arrayBuffer();
      }
    }
    expect(gate.gate.identityProblem()).toBeUndefined();
  });

  test.each([
    ['a cookie of a provider behind the backend', { cookie: 'of a stranger' }, '/openai/files'],
    ['a cookie of a tool server', { cookie: 'of a stranger' }, '/api/v1/terminals/t/proxy'],
    ['a token in the JSON of another route', { body: { token: 'of a stranger' } }, '/api/v1/auths/signout'],
  ])('%s', async (_what, issued: Issued, target) => {
    const stranger = await theirs();
    const before = await count('other_key');
    const body = issued.body === undefined ? {} : { token: stranger };
    await issue(issued.cookie === undefined ? { body } : { cookie: stranger }, target);
    await issue({ cookie: '""; Max-Age=0' }, '/api/v1/auths/signout', 'GET');
    await issueGood();
    expect(await count('other_key')).toBe(before);
  });
});

describe('a session of the right key without a user in this database', () => {
  const FUTURE = Math.floor(Date.now() / 1000) + 600;
  test.each<[string, () => Promise<string>, RegExp]>([
    ['begins later', () => mintSession('ann', { claims: { iat: FUTURE } }), /begins in the future: the clock/],
    ['is over', () => mintSession06('ann', { expiresIn: -600 }), /is over already: the clock/],
    [
      'is of a new type',
      () => mintSession('ann', { claims: { typ: 'v2' } }),
      /in a form that this modelgate does not know/,
    ],
    ['is of a user of another database', () => mintSession('unknown-here'), /DATABASE_URL is not the backend's/],
  ])('%s', async (_what, mint, words) => {
    await issue({ cookie: await mint() });
    await until(() => gate.gate.identityProblem() !== undefined, 5_000, 'the problem');
    expect(gate.gate.identityProblem()).toMatch(words);
  });

  test('but not of a user whose row comes a moment later', async () => {
    const known = await count('none');
    await issue({ cookie: await mintSession('new') });
    gate.database.addUser({ id: 'new' });
    await until(async () => (await count('none')) !== known, 5_000, 'the session to be judged');
    expect(gate.gate.identityProblem()).toBeUndefined();
  });
});

test('the log says on model paths too why a request has no user', async () => {
  answer = (_request, response) => void response.end('{}');
  const headers = [
    {},
    { authorization: `Bearer ${await theirs()}` },
    { authorization: `Bearer ${await mintSession06('ann', { expiresIn: -60 })}` },
    { authorization: `Bearer ${await mintSession('gone', { secretKey: TEST_SECRET })}` },
  ];
  const from = gate.lines.length;
  for (const one of headers) {
    const init = { method: 'POST', headers: one, body: '{"model":"A"}' };
    expect((await fetch(`${gate.url}/api/chat/completions`, init)).status).toBe(401);
  }
  const lines = () => gate.lines.slice(from).filter(({ msg }) => msg === 'request');
  await until(() => lines().length === headers.length, 5_000, 'the access lines');
  expect(lines().map(({ reason }) => reason)).toEqual(headers.map(() => 'not_authenticated'));
  expect(lines().map(({ anonymous }) => anonymous)).toEqual([
    'no_credential',
    'credential_invalid',
    'credential_expired',
    'user_unknown',
  ]);
});
