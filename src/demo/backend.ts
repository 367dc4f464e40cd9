/** The backend of the demo: answers in Open WebUI's shapes, and no rule about models. */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createAdaptorServer } from '@hono/node-server';
import { type Context, Hono } from 'hono';
import { getCookie, setCookie } from 'hono/cookie';
import { sign, verify } from 'hono/jwt';
import { streamSSE } from 'hono/streaming';
import { type DemoDatabase, type DemoUser, DEMO_PRESET } from './database.ts';

/** Listens on a free port of the loopback interface. @throws the listener's own error */
export async function startDemoBackend(database: Pick<DemoDatabase, 'users' | 'secretKey'>) {
  // without TLS options it makes no other kind of server
  const server = createAdaptorServer({ fetch: createApp(database).fetch, overrideGlobalObjects: false }) as Server;
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  async function close(): Promise<void> {
    const closed = once(server.close(), 'close');
    server.closeAllConnections();
    await closed;
  }
  return { url: `http://127.0.0.1:${port}`, close };
}

type Env = { Variables: { user: DemoUser } };
const VERSION = '0.12.4';
const WRONG_PASSWORD = 'The email or password provided is incorrect. Please check for typos and try logging in again.';

function createApp({ users, secretKey }: Pick<DemoDatabase, 'users' | 'secretKey'>): Hono<Env> {
  const app = new Hono<Env>();
  app.get('/health', (c) => c.json({ status: true }));
  app.get('/api/version', (c) => c.json({ version: VERSION, deployment_id: '' }));
  const features = { auth: true, enable_signup: false, enable_login_form: true };
  app.get('/api/config', (c) =>
    c.json({ status: true, name: 'modelgate demo', version: VERSION, default_locale: '', features }),
  );
  app.post('/api/v1/auths/signin', async (c) => {
    const { email, password } = await readBody(c);
    const user = users.find((one) => one.email === email && one.password === password);
    return user === undefined ? c.json({ detail: WRONG_PASSWORD }, 400) : openSession(c, user, secretKey);
  });
  app.get('/', (c) => c.html(PAGE));

  // everything below is for a user who is known
  for (const prefix of ['/api/*', '/openai/*', '/ollama/*']) {
    app.use(prefix, async (c: Context<Env>, next) => {
      const user = await readUser(c, users, secretKey);
      if (user === undefined) return c.json({ detail: '401 Unauthorized' }, 401);
      c.set('user', user);
      return next();
    });
  }
  app.get('/api/v1/auths/', (c) => openSession(c, c.get('user'), secretKey));
  for (const path of ['/api/models', '/api/v1/models']) app.get(path, (c) => c.json({ data: MODELS }));
  app.get('/openai/models', (c) => c.json({ object: 'list', data: PROVIDED }));
  for (const path of ['/api/chat/completions', '/api/v1/chat/completions', '/openai/chat/completions']) {
    app.post(path, chat);
  }
  for (const path of ['/api/v1/chats/', '/api/v1/chats/list']) app.get(path, (c) => c.json([]));
  app.notFound((c) => c.json({ detail: 'The backend of the demo has no such route.' }, 404));
  return app;
}

/** An API key or a session token, as a bearer or in the cookie `token`. */
async function readUser(c: Context, people: readonly DemoUser[], secretKey: string): Promise<DemoUser | undefined> {
  const [, bearer] = /^bearer (.+)$/i.exec(c.req.header('authorization') ?? '') ?? [];
  const credential = bearer ?? getCookie(c, 'token') ?? '';
  const known = people.find(({ apiKey }) => apiKey === credential);
  if (known !== undefined) return known;
  const claims = await verify(credential, secretKey, 'HS256').catch(() => undefined);
  return people.find(({ id }) => id === claims?.['id']);
}

/** The shape of the backend's own session answer, and its cookie. A session lasts four weeks. */
async function openSession(c: Context, user: DemoUser, secretKey: string): Promise<Response> {
  const { id, email, name, role } = user;
  const token = await sign({ id, jti: randomUUID(), iat: seconds(), exp: seconds() + 4 * 7 * 86_400 }, secretKey);
  setCookie(c, 'token', token, { path: '/', httpOnly: true, sameSite: 'Lax' });
  const profile = { id, email, name, role, profile_image_url: '/user.png', permissions: {} };
  return c.json({ token, token_type: 'Bearer', expires_at: null, ...profile });
}

const toModel = (id: string, name: string) => ({ id, name, object: 'model', created: 0, owned_by: 'openai' });

const PROVIDED = [
  toModel('gpt-4o', 'GPT-4o'),
  toModel('gpt-4o-mini', 'GPT-4o mini'),
  toModel('claude-sonnet-4', 'Claude Sonnet 4'),
  toModel('mistral/mistral-large', 'Mistral Large'),
  toModel('mistral/codestral', 'Codestral'),
  toModel('llama3.2:latest', 'Llama 3.2'),
];
const MODELS = [...PROVIDED, { ...toModel(DEMO_PRESET.id, DEMO_PRESET.name), preset: true, info: DEMO_PRESET }];

/** A chat completion that says which model answered, whole or word by word, in OpenAI's shape. */
async function chat(c: Context<Env>): Promise<Response> {
  const { model, messages, stream } = await readBody(c);
  if (!MODELS.some(({ id }) => id === model)) return c.json({ detail: 'Model not found' }, 400);
  const words = answerTo(String(model), messages);
  const head = { id: `chatcmpl-${randomUUID()}`, created: seconds(), model };
  const answer = (object: string, part: object, finish: string | null) => ({
    ...head,
    object,
    choices: [{ index: 0, ...part, finish_reason: finish }],
  });
  if (stream !== true) {
    const usage = { prompt_tokens: 1, completion_tokens: words.length, total_tokens: words.length + 1 };
    const message = { role: 'assistant', content: words.join('') };
    return c.json({ ...answer('chat.completion', { message }, 'stop'), usage });
  }
  return streamSSE(c, async (events) => {
    const send = (delta: object, finish: string | null = null) =>
      events.writeSSE({ data: JSON.stringify(answer('chat.completion.chunk', { delta }, finish)) });
    for (const content of words) {
      if (events.aborted) return;
      await send({ role: 'assistant', content });
      // about the pace of a real model
      await events.sleep(60);
    }
    await send({}, 'stop');
    await events.writeSSE({ data: '[DONE]' });
  });
}

function answerTo(model: string, messages: unknown): readonly string[] {
  const { content: asked = '' } = toRecord(Array.isArray(messages) ? messages.at(-1) : undefined);
  const question = typeof asked === 'string' ? asked : 'something with parts';
  return `This is the sample model ${model}. You said: ${question}`.split(/(?<= )/);
}

const readBody = async (c: Context) => toRecord(await c.req.json().catch(() => undefined));

const toRecord = (value: unknown): Partial<Record<string, unknown>> => ({ ...(value as object | undefined) });

const seconds = (): number => Math.floor(Date.now() / 1000);

const PAGE = `<!doctype html>
<html lang="en">
  <meta charset="utf-8" />
  <title>modelgate demo</title>
  <h1>modelgate demo</h1>
  <p>This page comes from the demo's backend, which stands in for Open WebUI. The terminal shows what to try.</p>
</html>
`;
