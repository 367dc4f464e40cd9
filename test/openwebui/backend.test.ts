import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { startOllama, startProvider, type Provider } from '../support/upstream/providers.ts';
import { addUser, call, createApiKey, listModelIds, openSignUp, send, signUp, type Account } from './backend-client.ts';
import { createAutomation, createChannel, createChat, createPreset, postChannelMessage } from './backend-content.ts';
import { startOpenWebui, type OpenWebui } from './backend.ts';
import { RELEASES } from './release.ts';

const question = (model: string, stream = false): object => ({
  model,
  stream,
  messages: [{ role: 'user', content: 'Who are you?' }],
});

describe.each(RELEASES)('the real Open WebUI %s, without a gate', (version) => {
  let provider: Provider;
  let ollama: Provider;
  let backend: OpenWebui;
  let admin: Account;
  let user: Account;

  beforeAll(async () => {
    provider = await startProvider({ models: ['alpha', 'beta', 'vendor/gamma'] });
    ollama = await startOllama({ models: ['llama3:latest'] });
    backend = await startOpenWebui({ version, providerUrl: provider.url, ollamaUrl: ollama.url });
    console.log(`Open WebUI ${version} was healthy after ${backend.startedAfterMs} ms`);
    admin = await signUp(backend.url, { name: 'Ada', email: 'ada@example.com' });
    await openSignUp(admin);
    user = await signUp(backend.url, { name: 'Bob', email: 'bob@example.com' });
  });

  afterAll(async () => {
    await backend.close();
    await provider.close();
    await ollama.close();
  });

  it('is the release that was asked for', async () => {
    expect(await call(backend, 'GET', '/api/version')).toMatchObject({ version });
  });

  it('makes the first person its admin and the second a user', () => {
    expect([admin.role, user.role]).toEqual(['admin', 'user']);
  });

  it('lists every model of both providers to an ordinary user', async () => {
    expect(await listModelIds(user)).toEqual(
      expect.arrayContaining(['alpha', 'beta', 'vendor/gamma', 'llama3:latest']),
    );
  });

  it('brings a chat completion to the provider, which records the model', async () => {
    provider.reset();
    const answer = await call(user, 'POST', '/api/chat/completions', question('beta'));
    expect(JSON.stringify(answer)).toContain('I am beta and this is my answer.');
    expect(provider.asked()).toEqual(['beta']);
  });

  it('streams an answer word by word', async () => {
    const response = await send(user, 'POST', '/api/chat/completions', question('alpha', true));
    const text = await response.text();
    expect(text.match(/^data: /gm)?.length).toBeGreaterThan(5);
    expect(text).toContain(' alpha');
  });

  it('brings a native Ollama chat to Ollama', async () => {
    ollama.reset();
    const body = { ...question('llama3:latest'), stream: false };
    expect(JSON.stringify(await call(user, 'POST', '/ollama/api/chat', body))).toContain('I am llama3:latest');
    expect(ollama.asked()).toEqual(['llama3:latest']);
  });

  it('takes an API key in place of a session', async () => {
    const key = await createApiKey(user);
    expect(key).toMatch(/^sk-/);
    expect(await listModelIds({ ...user, token: key })).toContain('alpha');
  });

  it('lets an ordinary user make a preset and chat with it', async () => {
    const carol = await addUser(admin, { name: 'Carol', email: 'carol@example.com' });
    await createPreset(carol, { id: 'helper', base_model_id: 'vendor/gamma' });
    provider.reset();
    await call(carol, 'POST', '/api/chat/completions', question('helper'));
    expect(provider.asked()).toEqual(['vendor/gamma']);
  });

  it('stores chats, channels and, where it has them, automations', async () => {
    const { chatId } = await createChat(user, 'alpha');
    expect(await call(user, 'GET', `/api/v1/chats/${chatId}`)).toMatchObject({ id: chatId });
    const channel = await createChannel(admin, 'general');
    expect(await postChannelMessage(user, channel, 'hello')).toBeTruthy();
    if (version === '0.6.18') return;
    const automation = await createAutomation(user, 'alpha');
    provider.reset();
    await call(user, 'POST', `/api/v1/automations/${automation}/run`);
    await provider.arrival((request) => request.models.includes('alpha'), 20_000);
  });
});
