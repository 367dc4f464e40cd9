/** Bodies that two parsers could read differently, and bodies where none is expected. */
import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { type Attack, type Use, chat, describeAttacks } from '../support/gate/attacks.ts';
import { gateOfSuite } from '../support/gate/gate.ts';
import { rawRequest, requestText } from '../support/gate/raw-connection.ts';

const utf16 = (text: string, mark = false) => Buffer.from(`${mark ? '\ufeff' : ''}${text}`, 'utf16le');
const bigEndian = (little: Buffer) => Buffer.from(little).swap16();
const utf32 = (text: string) => Buffer.from([...Buffer.from(text)].flatMap((byte) => [byte, 0, 0, 0]));
const F = '{"model":"F","messages":[]}';

const SPELLINGS: readonly (readonly [name: string, body: Buffer | string])[] = [
  ['UTF-16', utf16(F)],
  ['UTF-16 with a mark', utf16(F, true)],
  ['UTF-16, big endian', bigEndian(utf16(F))],
  ['UTF-16, big endian, with a mark', bigEndian(utf16(F, true))],
  ['UTF-32', utf32(F)],
  ['UTF-8 with a mark', `\ufeff${F}`],
  ['a repeated key', '{"model":"A","messages":[],"model":"F"}'],
  ['a key repeated by an escape', '{"model":"A","\\u006dodel":"F"}'],
  ['NaN', '{"model":"F","x":NaN}'],
  ['Infinity', '{"model":"F","x":-Infinity}'],
  ['bytes that are no UTF-8', Buffer.from('{"model":"F","x":"\xff"}', 'latin1')],
  ['an overlong spelling', Buffer.from('{"model":"\xc1\x86"}', 'latin1')],
  ['gzip', gzipSync(F)],
  ['an empty body', ''],
  ['white space', ' \n'],
  ['a list', `[${F}]`],
  ['a string', JSON.stringify(F)],
  ['two values', `{"model":"A"}${F}`],
  ['deep nesting', `{"model":"A","x":${'['.repeat(5000)}${']'.repeat(5000)}}`],
  ['a control character in a string', '{"model":"A","x":"\n"}'],
  ['a form', 'model=F&messages=x'],
  ['a comment', '{"model":"A"/*,"model":"F"*/}'],
];

const TYPES: readonly (string | undefined)[] = [
  'application/json',
  undefined,
  '',
  'text/plain',
  'application/x+json',
  'APPLICATION/JSON ; charset=utf-16',
  'multipart/form-data; boundary=x',
  'application/x-www-form-urlencoded',
];

const post = (body: string | Buffer, type?: string, more: Record<string, string> = {}): RequestInit => ({
  method: 'POST',
  // a Blob has no type of its own
  body: new Blob([typeof body === 'string' ? body : new Uint8Array(body)]),
  headers: { ...(type === undefined ? {} : { 'content-type': type }), ...more },
});

const spelled: readonly Attack[] = ['/api/chat/completions', '/openai/chat/completions', '/ollama/api/chat'].flatMap(
  (target) =>
    SPELLINGS.map(([name, body]): Attack => {
      const dialect = target.startsWith('/openai') ? 'openai' : target.startsWith('/ollama') ? 'ollama' : 'open-webui';
      return { name: `${name} at ${target}`, target, dialect, status: 400, init: post(body, 'application/json') };
    }),
);

const typed: readonly Attack[] = TYPES.map((type) => ({
  name: `the content type ${JSON.stringify(type)}`,
  target: '/api/chat/completions',
  init: post(F, type),
}));

const coded: readonly Attack[] = ['gzip', 'br', 'deflate', 'identity'].map((coding) => ({
  name: `the coding ${coding}`,
  target: '/api/chat/completions',
  status: coding === 'identity' ? 403 : 400,
  init: post(coding === 'identity' ? F : gzipSync(F), 'application/json', { 'content-encoding': coding }),
}));

const uses: readonly Use[] = [
  ...TYPES.map((type) => ({
    name: `the content type ${JSON.stringify(type)}`,
    target: '/api/chat/completions',
    init: post(JSON.stringify(chat('A')), type),
    runs: ['A'],
  })),
  {
    name: 'an emoji, a cut emoji and escapes',
    target: '/api/chat/completions',
    init: post('{"model":"\\u0041","messages":[{"role":"user","content":"\ud83d\ude00 \\ud83d \\"model\\":\\"F\\""}]}'),
    runs: ['A'],
  },
];

describeAttacks('in another spelling of the body', { attacks: [...spelled, ...typed, ...coded], uses });

describe('a body that no client library sends', () => {
  let authorization: string;
  const gate = gateOfSuite({}, async (started) => (authorization = await started.authorization('ann')));

  const send = async (method: string, path: string, body: string, chunked = false) => {
    gate.ran();
    const framing = chunked ? 'Transfer-Encoding: chunked' : `Content-Length: ${body.length}`;
    const bytes = chunked ? body.replace(/./gs, '1\r\n$&\r\n') + '0\r\n\r\n' : body;
    const answer = await rawRequest(gate.port, requestText(`${method} ${path}`, [authorization, framing], bytes));
    return [answer.status, gate.ran()];
  };

  test.each([
    ['GET', '/openai/chat/completions'],
    ['DELETE', '/openai/chat/completions'],
    ['GET', '/openai/embeddings'],
    ['GET', '/api/v2/run'],
    ['DELETE', '/api/v2/run'],
  ])('with %s %s is judged', async (method, path) => {
    expect(await send(method, path, F)).toEqual([403, []]);
    expect(await send(method, path, F, true)).toEqual([403, []]);
  });

  test('cannot be made to read an escaped key as another one by a body before it', async () => {
    // nodejs/node#63785: once a key `\\u006` was seen there, V8 takes "\\u006dodel" for it
    for (const body of ['{"model":"A","\\\\u006":1}', '{"model":"A","messages":[],"\\\\u006":1}']) {
      await send('POST', '/api/chat/completions', body);
    }
    expect(await send('POST', '/api/chat/completions', '{"model":"A","\\u006dodel":"F"}')).toEqual([400, []]);
    expect(await send('POST', '/api/chat/completions', '{"model":"A","messages":[],"\\u006dodel":"F"}')).toEqual([
      400,
      [],
    ]);
  });

  test('in chunks of one byte is judged as a whole', async () => {
    expect(await send('POST', '/api/chat/completions', F, true)).toEqual([403, []]);
    expect(await send('POST', '/api/chat/completions', JSON.stringify(chat('A')), true)).toEqual([200, ['A']]);
  });

  test('with GET on a list changes nothing', async () => {
    expect(await send('GET', '/api/models', F)).toEqual([200, []]);
  });

  test('behind another request on the same connection is judged by itself', async () => {
    gate.ran();
    const one = (body: string, close = false) =>
      `POST /api/chat/completions HTTP/1.1\r\nHost: gate.test\r\n${authorization}\r\nContent-Length: ${body.length}\r\n` +
      `${close ? 'Connection: close\r\n' : ''}\r\n${body}`;
    const answer = await rawRequest(gate.port, one(JSON.stringify(chat('A'))) + one(F, true));
    expect(answer.body).toContain('HTTP/1.1 403');
    expect(gate.ran()).toEqual(['A']);
  });

  test('longer than its length does not become a request of its own', async () => {
    gate.ran();
    const inner = `POST /api/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: ${F.length}\r\n\r\n${F}`;
    const body = JSON.stringify(chat('A'));
    const bytes = requestText('POST /api/chat/completions', [authorization, `Content-Length: ${body.length}`], body);
    const answer = await rawRequest(
      gate.port,
      bytes.replace('Connection: close\r\n', '') + inner.replace('Host: x', 'Host: x\r\nConnection: close'),
    );
    // it is one, of no user
    expect(answer.body).toContain('HTTP/1.1 401');
    expect(gate.ran()).toEqual(['A']);
  });
});

describe('of no user, which the gate would have to hold', () => {
  const gate = gateOfSuite();

  const LONG = JSON.stringify({ chat: { title: 'x'.repeat(256 * 1024) } });
  /** Without a session a chat is not saved at all, and its page signs the user in again. */
  const SAVED = ['/api/v1/chats/new', '/api/v1/chats/c', '/api/v1/chats/c/messages/m'];
  const statusOf = async (target: string, headers: Record<string, string>, body: string = LONG): Promise<number> => {
    const answer = await fetch(`${gate.url}${target}`, { method: 'POST', body, headers }).catch(() => undefined);
    await answer?.text();
    return answer?.status ?? 0;
  };

  test.each([...SAVED.map((target) => [target, 401] as const), ['/api/something/new', 413] as const])(
    'a long one is refused before it is there: %s',
    async (target, status) => {
      const anonymous: Record<string, string>[] = [
        {},
        { authorization: 'Bearer sk-unknown' },
        { cookie: 'token=unknown' },
      ];
      for (const headers of anonymous) expect(await statusOf(target, headers)).toBe(status);
      const declared = requestText(`POST ${target}`, ['Content-Length: 90000000'], '{"chat":');
      expect((await rawRequest(gate.port, declared)).status).toBe(status);
      expect(await statusOf(target, { authorization: `Bearer ${await gate.token('ann')}` })).not.toBe(413);
      expect(await statusOf(target, {}, '{}')).not.toBe(413);
    },
  );
});
