/** The gate judges the user whom the backend sees, or treats the request as anonymous. */
import { describe, expect, test } from 'vitest';
import { chat } from '../support/gate/attacks.ts';
import { gateOfSuite } from '../support/gate/gate.ts';
import { rawRequest, requestText } from '../support/gate/raw-connection.ts';
import { mintSession } from '../support/gate/session.ts';

/** By placeholder: tokens are minted once, so that one text stands for one user. */
const tokens: Record<string, string> = {};
const gate = gateOfSuite({}, async ({ token }) => {
  for (const user of ['ann', 'bob', 'dan', 'pen', 'adm']) tokens[user] = await token(user);
  tokens['forged'] = await mintSession('bob', { secretKey: 'another-secret' });
  tokens['expired'] = await mintSession('bob', { expiresIn: -60 });
  tokens['gone'] = await mintSession('deleted-user');
  tokens['unsigned'] = `${btoa('{"alg":"none"}')}.${btoa('{"id":"bob"}')}.`.replaceAll('=', '');
});

/** `lines` with `{user}` for the user's session token. */
async function ask(model: string, lines: readonly string[]) {
  gate.ran();
  const body = JSON.stringify(chat(model));
  const filled = lines.map((line) => line.replace(/\{(\w+)\}/g, (_all, user: string) => tokens[user] ?? ''));
  const headers = [...filled, `Content-Length: ${body.length}`];
  const answer = await rawRequest(gate.port, requestText('POST /api/chat/completions', headers, body));
  return { status: answer.status, ran: gate.ran() };
}

/** Every way in that some release reads, for a user of acme. */
const WAYS: readonly (readonly [name: string, lines: readonly string[]])[] = [
  ['a bearer token', ['Authorization: Bearer {ann}']],
  ['a bearer token in lower case with two spaces', ['authorization: bearer  {ann} ']],
  ['the cookie', ['Cookie: a=b; token={ann}; c=d']],
  ['the cookie in quotes', ['Cookie: token="{ann}"']],
  ['the cookie with spaces', ['Cookie: token = {ann} ']],
  ['the cookie in a second line', ['Cookie: a=b', 'Cookie: token={ann}']],
  ['another scheme', ['Authorization: Token {ann}']],
  ['the key header', ['x-api-key: sk-ann']],
  ['a session in the key header', ['X-API-Key: {ann}']],
  ['a key as bearer', ['Authorization: Bearer sk-ann']],
  ['a key in the cookie', ['Cookie: token=sk-ann']],
  ['a session and a key of one user', ['Authorization: Bearer {ann}', 'x-api-key: sk-ann', 'Cookie: token=sk-ann']],
];

describe.each(WAYS)('with %s', (_name, lines) => {
  test('a model of another organization is refused', async () => {
    expect(await ask('F', lines)).toEqual({ status: 403, ran: [] });
  });
  test('one of their own arrives', async () => {
    expect(await ask('A', lines)).toEqual({ status: 200, ran: ['A'] });
  });
});

describe('credentials of two users are refused, wherever they stand', () => {
  test.each([
    ['Authorization: Bearer {ann}', 'Cookie: token={bob}'],
    ['Cookie: token={ann}; token={bob}'],
    ['Cookie: token={bob}; token={ann}'],
    ['Cookie: token={ann}', 'Cookie: token={bob}'],
    ['Cookie: token={ann}; token="{bob}"'],
    ['Authorization: Bearer {ann}', 'Authorization: Bearer {bob}'],
    ['Authorization: Bearer {ann}', 'x-api-key: sk-bob'],
    ['Authorization: Token {ann}', 'Cookie: token={bob}'],
    ['Cookie: token={ann}', 'x-api-key: {bob}'],
    ['x-api-key: sk-ann', 'x-api-key: sk-bob'],
  ])('%s %s', async (...lines) => {
    const sent = lines.filter((line) => typeof line === 'string');
    expect(await ask('F', sent)).toEqual({ status: 400, ran: [] });
    expect(await ask('A', sent)).toEqual({ status: 400, ran: [] });
  });
});

describe('what proves no user gives no model', () => {
  test.each([
    ['no credential', []],
    ['an empty bearer token', ['Authorization: Bearer ']],
    ['a forged token', ['Authorization: Bearer {forged}']],
    ['an expired token', ['Authorization: Bearer {expired}']],
    ['an unsigned token', ['Authorization: Bearer {unsigned}']],
    ['a token of a user who is gone', ['Authorization: Bearer {gone}']],
    ['an unknown key', ['x-api-key: sk-unknown']],
    ['a tab after Bearer', ['Authorization: Bearer\t{bob}']],
    ['a cookie of another name', ['Cookie: Token={bob}']],
    ['a key header with an underscore', ['x_api_key: sk-bob']],
    ['a bad bearer before a good cookie', ['Authorization: Bearer {forged}', 'Cookie: token={bob}']],
    ['a genuine token with a character more', ['Authorization: Bearer {bob}!']],
  ])('%s', async (_name, lines) => {
    const answer = await ask('F', lines);
    expect(answer.ran).toEqual([]);
    expect(answer.status).toBe(401);
  });
});

describe('roles', () => {
  test.each(['pen', 'dan'])('%s has no model', async (user) => {
    expect(await ask('A', [`Authorization: Bearer {${user}}`])).toEqual({ status: 403, ran: [] });
  });
  test('an administrator has those of their organization', async () => {
    expect(await ask('F', ['Authorization: Bearer {adm}'])).toEqual({ status: 403, ran: [] });
    expect(await ask('A', ['Authorization: Bearer {adm}'])).toEqual({ status: 200, ran: ['A'] });
  });
});

test('headers that claim a user change nothing', async () => {
  const claims = ['X-OpenWebUI-User-Id: bob', 'X-User-Id: bob', 'X-Forwarded-User: bob', 'Remote-User: bob'];
  expect(await ask('F', ['Authorization: Bearer {ann}', ...claims])).toEqual({ status: 403, ran: [] });
});
