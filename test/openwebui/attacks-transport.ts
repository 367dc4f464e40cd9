/** The same body in other bytes, at other spellings of the same path, and with credentials in other places. */
import { gzipSync } from 'node:zlib';
import { openConnection, rawRequest } from '../support/gate/raw-connection.ts';
import { type Attack, type Attempt, BOTH, FORBIDDEN, NEW, OLD } from './attack.ts';
import { createApiKey } from './backend-client.ts';
import type { Release } from './release.ts';
import { question } from './tenants.ts';

const CHAT = '/api/chat/completions';
const ASKED = JSON.stringify(question(FORBIDDEN));
const ANSWER_MS = 15_000;

interface Raw {
  readonly line?: string;
  readonly headers?: (attempt: Attempt) => readonly string[] | Promise<readonly string[]>;
  readonly credential?: boolean;
  readonly body?: string | Buffer;
}

/** Sends bytes that no HTTP library would send. */
async function sendRaw(
  attempt: Attempt,
  { line = `POST ${CHAT} HTTP/1.1`, headers, credential = true, body = ASKED }: Raw,
) {
  const more = (await headers?.(attempt)) ?? ['Content-Type: application/json'];
  const head = [
    line,
    'Host: gate.test',
    'Connection: close',
    `Content-Length: ${Buffer.byteLength(body)}`,
    ...(credential ? [`Authorization: Bearer ${attempt.attacker.token}`] : []),
    ...more,
  ];
  const bytes = Buffer.concat([Buffer.from(`${head.join('\r\n')}\r\n\r\n`, 'latin1'), Buffer.from(body)]);
  await rawRequest(attempt.port, bytes, ANSWER_MS).catch(() => undefined);
}

const raw = (name: string, worksWithout: readonly Release[], how: Raw): Attack => ({
  name,
  worksWithout,
  run: (attempt) => sendRaw(attempt, how),
});

const utf16 = Buffer.from(`\ufeff${ASKED}`, 'utf16le');
const withBom = Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), Buffer.from(ASKED)]);
const type = (value: string) => () => [`Content-Type: ${value}`];

const BODIES: readonly Attack[] = [
  raw('a body in UTF-16', BOTH, { body: utf16 }),
  raw('a body in UTF-16 without a mark', BOTH, { body: utf16.subarray(2) }),
  raw('a body with a byte order mark', BOTH, { body: withBom }),
  raw('a body without a type', OLD, { headers: () => [] }),
  raw('a body of a type that ends in json', BOTH, { headers: type('application/x+json') }),
  raw('a body that says it is text', [], { headers: type('text/plain') }),
  raw('a body that says it is a form', [], { headers: type('multipart/form-data; boundary=x') }),
  raw('the model twice, the permitted one first', BOTH, { body: ASKED.replace('{', '{"model":"alpha",') }),
  raw('the model twice, once with an escape', BOTH, { body: ASKED.replace('{', '{"m\\u006fdel":"alpha",') }),
  raw('a nested key twice', OLD, { body: '{"model":"alpha","messages":[],"params":{},"params":{"model":"beta"}}' }),
  raw('a number that no JSON has', NEW, { body: ASKED.replace('{', '{"temperature":NaN,') }),
  raw('a compressed body', [], {
    headers: () => ['Content-Type: application/json', 'Content-Encoding: gzip'],
    body: gzipSync(ASKED),
  }),
];

const at = (target: string, worksWithout: readonly Release[] = []): Attack =>
  raw(`the target ${JSON.stringify(target)}`, worksWithout, { line: `POST ${target} HTTP/1.1` });

const PATHS: readonly Attack[] = [
  at(`${CHAT}/`),
  at(`/${CHAT}`),
  at('/api//chat/completions'),
  at('/api/./chat/completions'),
  at('/api/x/../chat/completions'),
  at('/api/config/..%2fchat/completions'),
  at('/api%2Fchat%2Fcompletions', BOTH),
  at('/%61pi/chat/completions', BOTH),
  at('/api/chat/completion%73', BOTH),
  at(`${CHAT}%0a`, BOTH),
  at(`${CHAT}%00`),
  at(`${CHAT}#`, BOTH),
  at(`${CHAT};x=1`),
  at(`${CHAT}?model=alpha`, BOTH),
  at('/api/config?/../chat/completions'),
  at(`http://gate.test${CHAT}`),
  at('/openai/audio/../chat/completions'),
  at('/openai/%63hat/completions', BOTH),
  at('/API/chat/completions'),
  at('\\api\\chat\\completions'),
];

const UPGRADED: readonly Attack[] = [
  raw('an upgrade to something else', BOTH, {
    headers: () => ['Content-Type: application/json', 'Upgrade: x', 'Connection: Upgrade'],
  }),
  raw('an upgrade to a WebSocket', BOTH, {
    headers: () => [
      'Content-Type: application/json',
      'Upgrade: websocket',
      'Connection: Upgrade',
      'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    ],
  }),
  {
    name: 'a second request in the bytes behind a refused upgrade',
    worksWithout: [],
    run: async (attempt) => {
      const connection = await openConnection(attempt.port);
      const { token } = attempt.attacker;
      const head = (line: string, more: string) =>
        `${line} HTTP/1.1\r\nHost: gate.test\r\nAuthorization: Bearer ${token}\r\n${more}\r\n`;
      const hidden = head(
        `POST ${CHAT}`,
        `Content-Type: application/json\r\nConnection: close\r\nContent-Length: ${ASKED.length}\r\n`,
      );
      connection.send(head('GET /api/config', 'Upgrade: x\r\nConnection: Upgrade\r\n') + hidden + ASKED);
      await connection.closes(1_500).catch(() => undefined);
      connection.close();
    },
  },
  raw('HTTP/1.0', BOTH, { line: `POST ${CHAT} HTTP/1.0` }),
  raw('a header that names another path', [], {
    line: 'POST /api/v1/users/user/settings/update HTTP/1.1',
    headers: () => [
      'Content-Type: application/json',
      `X-Original-URL: ${CHAT}`,
      `X-Rewrite-URL: ${CHAT}`,
      `X-Forwarded-Prefix: ${CHAT}`,
    ],
  }),
  raw('a header that names another method', [], {
    line: `GET ${CHAT} HTTP/1.1`,
    headers: () => ['Content-Type: application/json', 'X-HTTP-Method-Override: POST'],
  }),
];

const json = 'Content-Type: application/json';
const credential = (
  name: string,
  worksWithout: readonly Release[],
  lines: (attempt: Attempt) => readonly string[] | Promise<readonly string[]>,
): Attack =>
  raw(`${name} as the credential`, worksWithout, {
    credential: false,
    headers: async (attempt) => [json, ...(await lines(attempt))],
  });

const own = ({ attacker }: Attempt): string => attacker.token;

const CREDENTIALS: readonly Attack[] = [
  credential('a cookie', BOTH, (a) => [`Cookie: token=${own(a)}`]),
  credential('a quoted cookie', BOTH, (a) => [`Cookie: token="${own(a)}"`]),
  credential('a cookie with spaces around', BOTH, (a) => [`Cookie: a=b;  token = ${own(a)} `]),
  credential('a cookie in a second line', NEW, (a) => ['Cookie: a=b', `Cookie: token=${own(a)}`]),
  credential('the last of two cookies', BOTH, (a) => [`Cookie: token=x; token=${own(a)}`]),
  credential('a bearer in another case', BOTH, (a) => [`authorization: bEARER ${own(a)}`]),
  credential('a Token scheme', NEW, (a) => [`Authorization: Token ${own(a)}`]),
  credential('a session in x-api-key', NEW, (a) => [`X-Api-Key: ${own(a)}`]),
  credential('an API key', BOTH, async (a) => [`Authorization: Bearer ${await createApiKey(a.attacker)}`]),
  credential('an API key in a cookie', BOTH, async (a) => [`Cookie: token=${await createApiKey(a.attacker)}`]),
  credential('an API key in x-api-key', NEW, async (a) => [`X-Api-Key: ${await createApiKey(a.attacker)}`]),
  credential('no bearer but a good cookie', BOTH, (a) => ['Authorization: Bearer ', `Cookie: token=${own(a)}`]),
];

export const TRANSPORT_ATTACKS: readonly Attack[] = [...BODIES, ...PATHS, ...UPGRADED, ...CREDENTIALS];
