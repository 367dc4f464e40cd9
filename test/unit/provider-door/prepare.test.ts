import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { describe, expect, test } from 'vitest';
import { toOrganizationId, toUserId } from '../../../src/policy/principal.ts';
import { createUsageAsking, prepare } from '../../../src/provider-door/prepare.ts';
import { type Provider, type ProviderScope, createProviderScope } from '../../../src/provider-door/scope.ts';
import { FORM_CALL, readCallFacts } from '../../../src/references/call.ts';

const USER = toUserId('7f3a');
/** As mAI writes it: `hashlib.sha256(b'7f3a').hexdigest()[:8]`. */
const USER_DIGEST = 'e691d007';

interface Asked {
  readonly userField?: 'off' | 'organization' | 'user';
  readonly refusing?: readonly string[];
  readonly changes?: Partial<ProviderScope>;
}

async function prepared(endpointName: string, call: string, { userField = 'off', refusing = [], changes }: Asked = {}) {
  const provider = { url: new URL('https://provider.test/v1') } as Provider;
  const incoming = new IncomingMessage(new Socket());
  const scope = createProviderScope(incoming, new ServerResponse(incoming), provider);
  const body = Buffer.from(call);
  Object.assign(scope, {
    endpointName,
    body,
    payer: toOrganizationId('acme'),
    principal: { kind: 'user', id: USER, role: 'user' },
    call: readCallFacts(body, JSON.parse(call), endpointName),
    ...changes,
  });
  const usageAsking = createUsageAsking({ refusing: new Set(refusing), warn: () => undefined });
  let went = 0;
  await prepare({ usageAsking, userField })({ get: () => scope }, () => Promise.resolve(void went++));
  expect(went).toBe(1);
  const sent = (parts: readonly Buffer[] | undefined) => parts && String(Buffer.concat(parts));
  return { body: sent(scope.bodyParts), unasked: sent(scope.unasked), hidesUsage: scope.hidesUsage };
}

const UNCHANGED = { body: undefined, unasked: undefined, hidesUsage: false };

describe('usage', () => {
  test.each(['chat/completions', 'completions'])('of a stream is asked for: %s', async (endpoint) => {
    expect(await prepared(endpoint, '{"model":"A", "stream":true}')).toEqual({
      body: '{"stream_options":{"include_usage":true},"model":"A", "stream":true}',
      unasked: '{"model":"A", "stream":true}',
      hidesUsage: true,
    });
  });

  test('is asked for beside what stands in `stream_options`', async () => {
    const asked = await prepared(
      'chat/completions',
      '{"stream":true,"stream_options":{ "include_obfuscation":false }}',
    );
    expect(asked.body).toBe('{"stream":true,"stream_options":{"include_usage":true, "include_obfuscation":false }}');
  });

  test.each(['null', '{}', '{"include_usage":false}', '{"include_usage": null}', '{"include\\u005fusage":false}'])(
    'is asked for where it was not: %s',
    async (options) => {
      const { body } = await prepared('completions', `{"stream":true,"str\\u0065am_options":${options}}`);
      expect(JSON.parse(body ?? '')).toEqual({ stream: true, stream_options: { include_usage: true } });
    },
  );

  test.each([
    ['asked for already', 'chat/completions', '{"stream":true,"stream_options":{"include_usage":true}}'],
    ['of no stream', 'chat/completions', '{"stream":false}'],
    ['part of every stream', 'responses', '{"stream":true}'],
    ['part of every stream', 'messages', '{"stream":true}'],
    ['part of every stream', 'api/chat', '{"stream":true}'],
  ])('%s is not asked for: %s %s', async (_why, endpoint, call) => {
    expect(await prepared(endpoint, call)).toEqual(UNCHANGED);
  });

  test.each(['{"stream":true,"stream_options":{"include_usage":0}}', '{"stream":1,"stream_options":"none"}'])(
    'that is told in an odd form is asked for, and not taken out: %s',
    async (call) => {
      const { body, hidesUsage } = await prepared('chat/completions', call);
      expect(JSON.parse(body ?? '')).toMatchObject({ stream_options: { include_usage: true } });
      expect(hidesUsage).toBe(false);
    },
  );

  test('is not asked of a provider that refuses it', async () => {
    const asked = { refusing: ['provider.test'] };
    expect(await prepared('chat/completions', '{"stream":true}', asked)).toEqual(UNCHANGED);
  });
});

describe('the user', () => {
  const WITH_USER = ['chat/completions', 'completions', 'responses', 'embeddings', 'images/generations'];

  test.each(WITH_USER)('is the organization, or its user without a name: %s', async (endpoint) => {
    const call = '{"model":"A","user":"ann@example.org"}';
    const sent = async (userField: 'organization' | 'user') => (await prepared(endpoint, call, { userField })).body;
    expect(await sent('organization')).toBe('{"model":"A","user":"acme"}');
    expect(await sent('user')).toBe(`{"model":"A","user":"acme_user_${USER_DIGEST}"}`);
    expect(await prepared(endpoint, call)).toEqual(UNCHANGED);
  });

  test('is the organization where no person asks', async () => {
    const changes = { principal: { kind: 'anonymous', because: 'no_credential' } } as const;
    const { body } = await prepared('embeddings', '{"input":"x"}', { userField: 'user', changes });
    expect(body).toBe('{"user":"acme","input":"x"}');
  });

  test('stays where it is not known who pays', async () => {
    const changes = { payer: undefined };
    expect(await prepared('embeddings', '{"user":"x"}', { userField: 'user', changes })).toEqual(UNCHANGED);
  });

  test.each([
    ['{"model":"A"}', '{"metadata":{"user_id":"acme"},"model":"A"}'],
    ['{"metadata":{"user_id":"x","a":1}}', '{"metadata":{"user_id":"acme","a":1}}'],
    ['{"metadata":{}}', '{"metadata":{"user_id":"acme"}}'],
    ['{"metadata":"x"}', undefined],
  ])('stands in the metadata of Anthropic: %s', async (call, expected) => {
    expect((await prepared('messages', call, { userField: 'organization' })).body).toBe(expected);
  });

  test.each(['rerank', 'audio/speech', 'messages/count_tokens', 'api/chat', 'api/embed'])(
    'is not put where there is no such field: %s',
    async (endpoint) => {
      expect(await prepared(endpoint, '{"model":"A"}', { userField: 'user' })).toEqual(UNCHANGED);
    },
  );

  test('stays in what is sent where the question for usage is refused', async () => {
    const { body, unasked } = await prepared('completions', '{"stream":true}', { userField: 'organization' });
    expect(JSON.parse(body ?? '')).toEqual({ user: 'acme', stream: true, stream_options: { include_usage: true } });
    expect(unasked).toBe('{"user":"acme","stream":true}');
  });
});

test.each([
  ['a form', { call: FORM_CALL }],
  ['what was not judged', { call: undefined }],
])('%s stays as it is', async (_what, changes) => {
  expect(await prepared('images/edits', '{"user":"x"}', { userField: 'user', changes })).toEqual(UNCHANGED);
});
