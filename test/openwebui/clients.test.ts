import { Ollama } from 'ollama';
import OpenAI from 'openai';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { startProvider } from '../support/upstream/providers.ts';
import { until } from '../support/process/with-timeout.ts';
import { call, createApiKey, send, signUp, through } from './backend-client.ts';
import { startOpenWebui } from './backend.ts';
import { startRealGate } from './gate.ts';
import { RELEASES } from './release.ts';
import { chatByEvents, connectSocket } from './socket-chat.ts';
import { type Tenants, startTenants } from './tenants.ts';

const ACME = ['alpha', 'alpha-2', 'vendor/one', 'vendor/two'];
const REFUSED = 'The model "beta" does not exist or your organization does not have access to it.';
const messages = [{ role: 'user' as const, content: 'Who are you?' }];

describe.each(RELEASES)('real clients through the gate in front of Open WebUI %s', (version) => {
  let tenants: Tenants;

  beforeAll(async () => {
    tenants = await startTenants({ version, ollama: true });
  });

  afterAll(() => tenants.close());

  beforeEach(() => tenants.forget());

  const asked = () => [...tenants.provider.asked(), ...(tenants.ollama?.asked() ?? [])];

  /** 0.6.18 has no routes of OpenAI's names under `/api/v1`. */
  const bases = version === '0.6.18' ? ['/api', '/openai'] : ['/api', '/api/v1', '/openai'];

  describe.each(bases)('the openai client at %s', (base) => {
    const client = (apiKey = tenants.ann.token) =>
      new OpenAI({ baseURL: `${tenants.gate.url}${base}`, apiKey, maxRetries: 0, timeout: 20_000 });
    const refusal = async (request: Promise<unknown>) => {
      const error: unknown = await request.then(
        () => undefined,
        (reason: unknown) => reason,
      );
      expect(error).toBeInstanceOf(OpenAI.APIError);
      return error as InstanceType<typeof OpenAI.APIError>;
    };

    it('lists the models of the organization', async () => {
      const ids: string[] = [];
      for await (const { id } of client().models.list()) ids.push(id);
      expect(ids).toEqual(base === '/openai' ? ACME : [...ACME, 'llama3:latest']);
    });

    it('chats, whole and word by word', async () => {
      const whole = await client().chat.completions.create({ model: 'alpha', messages });
      expect(whole.choices[0]?.message.content).toBe('I am alpha and this is my answer.');
      const words: string[] = [];
      for await (const { choices } of await client().chat.completions.create({
        model: 'vendor/one',
        messages,
        stream: true,
      })) {
        words.push(choices[0]?.delta.content ?? '');
      }
      expect(words.join('')).toBe('I am vendor/one and this is my answer.');
      expect(words.length).toBeGreaterThan(5);
      expect(asked()).toEqual(['alpha', 'vendor/one']);
    });

    it('works with an API key as it does with a session', async () => {
      const answer = await client(await createApiKey(tenants.ann)).chat.completions.create({
        model: 'alpha',
        messages,
      });
      expect(answer.choices[0]?.message.content).toContain('I am alpha');
    });

    it.each([false, true])('throws PermissionDeniedError with a readable reason, stream: %s', async (stream) => {
      const error = await refusal(client().chat.completions.create({ model: 'beta', messages, stream }));
      expect(error).toBeInstanceOf(OpenAI.PermissionDeniedError);
      expect(error.status).toBe(403);
      expect(error.message.replaceAll('\\', '')).toContain(REFUSED);
      expect(error.requestID).toBeTruthy();
      if (base !== '/api') expect(error).toMatchObject({ code: 'model_not_permitted', param: 'model' });
      expect(asked()).toEqual([]);
    });

    it('says the same of a model that does not exist', async () => {
      const error = await refusal(client().chat.completions.create({ model: 'no-such-model', messages }));
      expect(error).toBeInstanceOf(OpenAI.PermissionDeniedError);
      expect(error.message).toContain('does not exist or your organization does not have access to it');
    });

    it('throws AuthenticationError for a wrong key', async () => {
      const error = await refusal(client('sk-unknown').chat.completions.create({ model: 'alpha', messages }));
      expect(error).toBeInstanceOf(OpenAI.AuthenticationError);
    });

    it('serves the next request after the reader of a stream has left in the middle', async () => {
      const stream = await client().chat.completions.create({ model: 'alpha', messages, stream: true });
      // which ends the request
      for await (const { choices } of stream) if (choices.length > 0) break;
      expect(stream.controller.signal.aborted).toBe(true);
      const next = await client().chat.completions.create({ model: 'alpha-2', messages });
      expect(next.choices[0]?.message.content).toContain('I am alpha-2');
    });

    // `/openai/embeddings` is one of the backend's catch-alls, which the gate keeps for admins
    if (base !== '/openai')
      it('embeds with a permitted model and with no other', async () => {
        const { data } = await client().embeddings.create({ model: 'alpha', input: 'x', encoding_format: 'float' });
        expect(data[0]?.embedding.length).toBe(8);
        const error = await refusal(
          client().embeddings.create({ model: 'beta', input: 'x', encoding_format: 'float' }),
        );
        expect(error).toBeInstanceOf(OpenAI.PermissionDeniedError);
        expect(asked()).toEqual(['alpha']);
      });
  });

  describe('the ollama client', () => {
    const client = () =>
      new Ollama({
        host: `${tenants.gate.url}/ollama`,
        headers: { authorization: `Bearer ${tenants.ann.token}` },
      });

    it('lists the models of the organization', async () => {
      const { models } = await client().list();
      expect(models.map(({ name }) => name)).toEqual(['llama3:latest']);
    });

    it('chats and generates, whole and word by word', async () => {
      const model = 'llama3:latest';
      const answer = 'I am llama3:latest and this is my answer.';
      expect((await client().chat({ model, messages })).message.content).toBe(answer);
      expect((await client().generate({ model, prompt: 'Who?' })).response).toBe(answer);
      const chatted: string[] = [];
      for await (const part of await client().chat({ model, messages, stream: true }))
        chatted.push(part.message.content);
      const generated: string[] = [];
      for await (const part of await client().generate({ model, prompt: 'Who?', stream: true })) {
        generated.push(part.response ?? '');
      }
      expect([chatted.join(''), generated.join('')]).toEqual([answer, answer]);
      expect(Math.min(chatted.length, generated.length)).toBeGreaterThan(5);
      expect(asked()).toEqual([model]);
    });

    it.each([
      ['chat', () => client().chat({ model: 'mistral:latest', messages })],
      ['streamed chat', () => client().chat({ model: 'mistral:latest', messages, stream: true })],
      ['generate', () => client().generate({ model: 'mistral:latest', prompt: 'Who?' })],
      ['show', () => client().show({ model: 'mistral:latest' })],
    ])('throws the refusal in words it can read: %s', async (_what, request) => {
      await expect(request()).rejects.toMatchObject({
        name: 'ResponseError',
        status_code: 403,
        error: expect.stringContaining('The model "mistral:latest" does not exist or your organization') as unknown,
      });
      expect(asked()).toEqual([]);
    });
  });

  describe('Socket.IO by websocket, as the page uses it', () => {
    it('brings the events of a completion that runs in the background', async () => {
      const socket = await connectSocket(tenants.ann, 'websocket');
      try {
        const texts = await chatByEvents(tenants.ann, socket, 'alpha');
        expect(texts.at(-1)).toBe('I am alpha and this is my answer.');
        expect(new Set(texts).size).toBeGreaterThan(5);
        expect(socket.io.engine.transport.name).toBe('websocket');
        expect(asked()).toEqual(['alpha']);
      } finally {
        socket.close();
      }
    });

    it('runs nothing for a model of another organization', async () => {
      const socket = await connectSocket(tenants.ann, 'websocket');
      try {
        await expect(chatByEvents(tenants.ann, socket, 'beta')).rejects.toMatchObject({ status: 403 });
        await tenants.quiet();
        expect(asked()).toEqual([]);
      } finally {
        socket.close();
      }
    });

    it('leaves no socket at the backend when the client is gone', async () => {
      const socket = await connectSocket(tenants.ann, 'websocket');
      socket.close();
      const metrics = async () => (await fetch(`${tenants.gate.adminUrl}/metrics`)).text();
      await until(
        async () => /^\w*sockets?\w* 0$/m.test(await metrics()),
        10_000,
        'the gate counts no open socket any more',
      );
    });
  });

  // 0.6.18 has no such route
  if (version !== '0.6.18')
    it('answers Anthropic messages, and refuses them in their own shape', async () => {
      const ask = (model: string, stream: boolean) =>
        send(tenants.ann, 'POST', '/api/v1/messages', { model, stream, max_tokens: 50, messages });
      const whole = (await (await ask('alpha', false)).json()) as { content: { text: string }[] };
      expect(whole.content[0]?.text).toBe('I am alpha and this is my answer.');
      const streamed = await (await ask('alpha', true)).text();
      expect(streamed).toMatch(/^event: message_start$/m);
      expect(streamed).toMatch(/^event: message_stop$/m);
      tenants.forget();
      for (const stream of [false, true]) {
        const refused = await ask('beta', stream);
        expect(refused.status).toBe(403);
        expect(await refused.json()).toEqual({
          type: 'error',
          error: { type: 'permission_error', message: expect.stringContaining(REFUSED) as unknown },
        });
      }
      expect(asked()).toEqual([]);
    });
});

/** The backend offers one transport at a time: polling where ENABLE_WEBSOCKET_SUPPORT is false. */
describe.each(RELEASES)(
  'Socket.IO by polling through the gate in front of Open WebUI %s',
  { timeout: 300_000 },
  (version) => {
    it('brings the events of a completion that runs in the background', async () => {
      await using stack = new AsyncDisposableStack();
      const provider = await startProvider({ models: ['alpha'] });
      stack.defer(() => provider.close());
      const env = { ENABLE_WEBSOCKET_SUPPORT: 'false' };
      const backend = await startOpenWebui({ version, providerUrl: provider.url, env });
      stack.defer(() => backend.close());
      // A poll that waits for events would be waited for in turn
      const gate = await startRealGate(backend, { MODELGATE_ADMIN_ACCESS: 'all', MODELGATE_DRAIN_TIMEOUT: '1s' });
      stack.defer(() => gate.close());
      const ada = through(await signUp(backend.url, { name: 'Ada', email: 'ada@example.com' }), gate.url);
      await call(ada, 'GET', '/api/models');
      const socket = await connectSocket(ada, 'polling');
      stack.defer(() => void socket.close());
      expect((await chatByEvents(ada, socket, 'alpha')).at(-1)).toBe('I am alpha and this is my answer.');
      expect(socket.io.engine.transport.name).toBe('polling');
    });
  },
);
