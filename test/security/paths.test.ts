/** Spellings of a path that the backend could route otherwise than the gate reads it. */
import { describe, expect, test } from 'vitest';
import { chat } from '../support/gate/attacks.ts';
import { gateOfSuite } from '../support/gate/gate.ts';
import { rawRequest, requestText } from '../support/gate/raw-connection.ts';
import { AT_THE_EDGE } from '../support/gate/through-nginx.ts';

let authorization: string;
const gate = gateOfSuite({}, async (started) => (authorization = await started.authorization('ann')));

async function post(target: string, model: string) {
  gate.ran();
  const before = gate.backend.received.length;
  const body = JSON.stringify(chat(model));
  const lines = [authorization, `Content-Length: ${Buffer.byteLength(body)}`];
  const { status, body: text } = await rawRequest(gate.port, requestText(`POST ${target}`, lines, body));
  return { status, text, ran: gate.ran(), arrived: gate.backend.received.length - before };
}

const ABSOLUTE = ['http://gate.test/api/chat/completions', 'HTTP://gate.test/api/chat/completions'];
const AMBIGUOUS = [
  '/api%2Fchat%2Fcompletions',
  '/api%2fchat/completions',
  '/api%252Fchat/completions',
  '/api/chat/completions%0a',
  '/api/chat/completions%0A',
  '/api/chat/completions%00',
  '/api/chat/completions%0d',
  '/api/chat/completions#x',
  '/api/chat/completions#?x',
  ...(AT_THE_EDGE.absoluteForm === 'refused' ? ABSOLUTE : []),
  '//api/chat/completions',
  '//gate.test/api/chat/completions',
  '/api//chat/completions',
  '/openai//chat/completions',
  '/./api/chat/completions',
  '/x/../api/chat/completions',
  '/x/%2e%2e/api/chat/completions',
  '/x/.%2E/api/chat/completions',
  '/static/..%2fapi/chat/completions',
  '/openai/../openai/chat/completions',
  '/openai/x/%2e%2e/chat/completions',
  '/api\\chat\\completions',
  '/api%5cchat/completions',
  '/api/chat/%ffcompletions',
  '/api/chat/comple%tions',
  '/api/v1/analytics/models/..%2F..%2F..%2Fchat%2Fcompletions',
  '*',
  'api/chat/completions',
];

describe('an ambiguous path is refused, whatever it asks for, and does not reach the backend', () => {
  test.each(AMBIGUOUS)('%s', async (target) => {
    expect(await post(target, 'F')).toMatchObject({ status: 400, ran: [], arrived: 0 });
    expect(await post(target, 'A')).toMatchObject({ status: 400, ran: [], arrived: 0 });
  });
});

describe('a path is judged as the backend decodes it', () => {
  test.each([
    '/api/%63hat/completions',
    '/%61%70%69/chat/completions',
    '/api/chat/completions?x=%2F..%2F',
    '/api/chat/completions?',
    '/openai/chat/completi%6Fns',
    ...(AT_THE_EDGE.absoluteForm === 'judged' ? ABSOLUTE : []),
  ])('%s', async (target) => {
    expect(await post(target, 'F')).toMatchObject({ status: 403, ran: [], arrived: 0 });
    expect(await post(target, 'A')).toMatchObject({ status: 200, ran: ['A'], arrived: 1 });
  });
});

describe('a path that no route has runs nothing', () => {
  test.each([
    '/API/chat/completions',
    '/api/chat/completions;x',
    '/api;x/chat/completions',
    '/api/chat/completions/',
    '/api/chat/completions%20',
    '/api/chat/completions%3Fx',
    '/openai/chat/completions%3Fx',
    '/openai/chat/completions;x',
    '/openai/%2E/chat/completions',
    '/v1/chat/completions',
    '/OPENAI/chat/completions',
    '/ollama/v1/chat%20/completions',
  ])('%s', async (target) => {
    expect((await post(target, 'F')).ran).toEqual([]);
    expect((await post(target, 'A')).ran).toEqual([]);
  });
});

describe('two spellings of a header', () => {
  test.each([
    ['two lengths', 400, ['Content-Length: 5', 'Content-Length: 27']],
    ['a length and chunks', 400, ['Content-Length: 27', 'Transfer-Encoding: chunked']],
    ['an odd coding', AT_THE_EDGE.unknownCoding, ['Transfer-Encoding: chunked, identity']],
    ['an unknown coding', AT_THE_EDGE.unknownCoding, ['Transfer-Encoding: xchunked']],
  ])('%s: refused', async (_sentence, status, lines) => {
    gate.ran();
    const bytes = requestText('POST /api/chat/completions', [authorization, ...lines], '{"model":"F","messages":[]}');
    const answer = await rawRequest(gate.port, bytes);
    expect([answer.status, gate.ran()]).toEqual([status, []]);
  });

  test('headers that override the method or the path change nothing', async () => {
    gate.ran();
    const lines = [
      authorization,
      'X-HTTP-Method-Override: POST',
      'X-Original-URL: /api/chat/completions',
      'X-Rewrite-URL: /x',
    ];
    const body = JSON.stringify(chat('F'));
    const bytes = requestText('POST /api/chat/completions', [...lines, `Content-Length: ${body.length}`], body);
    expect([(await rawRequest(gate.port, bytes)).status, gate.ran()]).toEqual([403, []]);
  });
});
