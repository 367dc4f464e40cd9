/** An upgrade opens no tunnel around the gate, and the one socket that runs a model is judged. */
import { once } from 'node:events';
import { beforeEach, describe, expect, test } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { chat } from '../support/gate/attacks.ts';
import { gateOfSuite } from '../support/gate/gate.ts';
import { openConnection, rawRequest, requestText } from '../support/gate/raw-connection.ts';
import { withTimeout } from '../support/process/with-timeout.ts';

let authorization: string;
/** Paths that the backend was asked to open as a socket, and what was said there. */
const opened: string[] = [];
const heard: string[] = [];

const gate = gateOfSuite({}, async (gate) => {
  authorization = await gate.authorization('ann');
  const sockets = new WebSocketServer({ server: gate.backend.server, perMessageDeflate: false });
  sockets.on('connection', (socket, incoming) => {
    opened.push(incoming.url ?? '');
    socket.on('message', (text: Buffer) => {
      heard.push(text.toString());
      socket.send('heard');
    });
  });
});
beforeEach(() => {
  gate.ran();
  opened.length = 0;
  heard.length = 0;
});

const body = (model: string) => JSON.stringify(chat(model));
const upgrading = (method: string, path: string, protocol: string, model: string) =>
  [
    `${method} ${path} HTTP/1.1`,
    'Host: gate.test',
    authorization,
    'Connection: Upgrade',
    `Upgrade: ${protocol}`,
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    `Content-Length: ${body(model).length}`,
    '',
    body(model),
  ].join('\r\n');

describe('an upgrade where there is no socket is served as an ordinary request', () => {
  test.each([
    ['POST', '/api/chat/completions', 'x'],
    ['POST', '/api/chat/completions', 'websocket'],
    ['POST', '/api/chat/completions', 'h2c'],
    ['POST', '/openai/chat/completions', 'TLS/1.0'],
  ])('%s %s to %s', async (method, path, protocol) => {
    const refused = await openConnection(gate.port, upgrading(method, path, protocol, 'F'));
    expect(await refused.receives('\r\n\r\n')).toMatch(/^HTTP\/1\.1 403 /);
    refused.close();
    expect([gate.ran(), opened]).toEqual([[], []]);
    const served = await openConnection(gate.port, upgrading(method, path, protocol, 'A'));
    expect(await served.receives('\r\n\r\n')).toMatch(/^HTTP\/1\.1 200 /);
    served.close();
    expect([gate.ran(), opened]).toEqual([['A'], []]);
  });

  test('and what follows on the connection is judged again', async () => {
    const connection = await openConnection(gate.port, upgrading('POST', '/api/chat/completions', 'x', 'A'));
    await connection.receives('\r\n\r\n');
    connection.send(
      requestText('POST /api/chat/completions', [authorization, `Content-Length: ${body('F').length}`], body('F')),
    );
    await connection.closes();
    connection.close();
    expect(gate.ran()).toEqual(['A']);
  });
});

describe('no tunnel is opened', () => {
  test.each([
    ['by a POST', 'POST /ws/socket.io/', 'websocket'],
    ['on a path that only looks like one', 'GET /ws/socket.io/../../api/chat/completions', 'websocket'],
    ['on an encoded path', 'GET /ws%2Fsocket.io/', 'websocket'],
    ['below the path', 'GET /ws/socket.io/x', 'websocket'],
    ['to another protocol', 'GET /ws/socket.io/', 'x'],
    ['on the chat route', 'GET /api/chat/completions', 'websocket'],
    ['on the realtime path with a slash', 'GET /api/v1/audio/realtime/', 'websocket'],
  ])('%s', async (_sentence, line, protocol) => {
    const lines = ['Upgrade: ' + protocol, 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='];
    const text = requestText(line, [authorization, ...lines]).replace(
      'Connection: close',
      'Connection: Upgrade, close',
    );
    const answer = await rawRequest(gate.port, text);
    expect(answer.status).not.toBe(101);
    expect([gate.ran(), opened]).toEqual([[], []]);
  });
});

describe('a voice call', () => {
  async function call(frame: string | Buffer): Promise<'heard' | number> {
    const socket = new WebSocket(`ws://127.0.0.1:${gate.port}/api/v1/audio/realtime`);
    const closed = once(socket, 'close') as Promise<[number]>;
    const answered = once(socket, 'message').then(() => 'heard' as const);
    answered.catch(() => undefined);
    await withTimeout(once(socket, 'open'), 15_000, 'the call to open');
    socket.send(frame);
    const outcome = await withTimeout(Promise.race([answered, closed.then(([code]) => code)]), 15_000, 'an outcome');
    socket.terminate();
    return outcome;
  }
  const frame = async (user: string, more: object) =>
    JSON.stringify({ type: 'auth', token: await gate.token(user), ...more });

  test('to a model of their own is put through, frame and all', async () => {
    const first = await frame('ann', { model_id: 'A' });
    expect(await call(first)).toBe('heard');
    expect(heard).toEqual([first]);
  });

  test.each([
    ['to a forbidden model', 'ann', { model_id: 'F' }],
    ['to no model', 'ann', {}],
    ['to a number', 'ann', { model_id: 5 }],
    ['to the arena', 'ann', { model_id: 'arena-model' }],
    ['of a user without organization', 'dan', { model_id: 'A' }],
    ['of a pending user', 'pen', { model_id: 'A' }],
    ['with an API key', 'ann', { model_id: 'A', token: 'sk-ann' }],
    ['with a token of no user', 'ann', { model_id: 'A', token: 'x.y.z' }],
  ])('%s is cut', async (_sentence, user, more) => {
    expect(await call(await frame(user, more))).toBe(1008);
    expect(heard).toEqual([]);
  });

  test.each([
    ['that names two models', (token: string) => `{"type":"auth","token":"${token}","model_id":"A","model_id":"F"}`],
    ['that names the second in escapes', (token: string) => `{"token":"${token}","model_id":"A","model\\u005fid":"F"}`],
    ['with two tokens', (token: string) => `{"token":"x","token":"${token}","model_id":"F"}`],
    ['with NaN', (token: string) => `{"token":"${token}","model_id":"A","x":NaN}`],
    ['in bytes', (token: string) => Buffer.from(`{"token":"${token}","model_id":"F"}`)],
    ['that is no JSON', () => 'hello'],
  ])('%s is cut', async (_sentence, make) => {
    expect(await call(make(await gate.token('ann')))).toBe(1008);
    expect(heard).toEqual([]);
  });

  test('is judged by the token of its frame, not of its handshake', async () => {
    const socket = new WebSocket(`ws://127.0.0.1:${gate.port}/api/v1/audio/realtime`, {
      headers: { authorization: `Bearer ${await gate.token('bob')}` },
    });
    await withTimeout(once(socket, 'open'), 15_000, 'the call to open');
    const closed = once(socket, 'close') as Promise<[number]>;
    socket.send(await frame('ann', { model_id: 'F' }));
    expect((await withTimeout(closed, 15_000, 'the close'))[0]).toBe(1008);
    expect(heard).toEqual([]);
  });
});
