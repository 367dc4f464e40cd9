/**
 * What a backend admin under the organization's rule passes to a provider as it is: the model stands in the path, in the
 * query, in a form or in JSON, and must be permitted there as everywhere.
 */
import { describe, expect, test } from 'vitest';
import { gateOfSuite, startTestGate } from '../support/gate/gate.ts';

const formOf = (fields: Record<string, string>): FormData => {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  return form;
};
const json = (body: unknown) => ({ method: 'POST', body: JSON.stringify(body) });

const FORBIDDEN: readonly (readonly [name: string, target: string, init: RequestInit])[] = [
  ['a deployment in the path', '/openai/deployments/F/chat/completions', json({ messages: [] })],
  ['a deployment beside a permitted model', '/openai/deployments/F/chat/completions', json({ model: 'A' })],
  ['a model and its action in the path', '/openai/models/F:generateContent', json({ contents: [] })],
  ['a model in the query', '/openai/anything?model=F', json({ model: 'A' })],
  ['a field of a form', '/openai/images/edits', { method: 'POST', body: formOf({ model: 'F', prompt: 'x' }) }],
  [
    'a field of a form beside another',
    '/openai/images/edits',
    {
      method: 'POST',
      body: (() => {
        const form = formOf({ model: 'A' });
        form.append('model', 'F');
        return form;
      })(),
    },
  ],
  ['a field in another letter case', '/openai/images/edits', { method: 'POST', body: formOf({ Model: 'F' }) }],
  ['a form in a query', '/openai/x', { method: 'POST', body: new URLSearchParams({ model: 'F' }) }],
  ['JSON', '/openai/anything', json({ model: 'F' })],
  ['an index of Ollama', '/ollama/api/chat/0', json({ model: 'F:latest' })],
];
const UNNAMED: readonly (readonly [name: string, target: string, init: RequestInit])[] = [
  ['no model at all', '/openai/batches', json({ input_file_id: 'file-1', endpoint: '/v1/chat/completions' })],
  ['no body', '/openai/assistants/a/run', { method: 'POST' }],
  ['a form without a model', '/openai/files', { method: 'POST', body: formOf({ purpose: 'batch' }) }],
  ['a body that is neither', '/openai/anything', { method: 'POST', body: 'model=F' }],
  [
    'a form that cannot be read',
    '/openai/images/edits',
    { method: 'POST', body: 'x', headers: { 'content-type': 'multipart/form-data; boundary=y' } },
  ],
];
const PERMITTED: readonly (readonly [name: string, target: string, init: RequestInit])[] = [
  ['a deployment', '/openai/deployments/A/chat/completions', json({ messages: [] })],
  ['a form', '/openai/images/edits', { method: 'POST', body: formOf({ model: 'A', prompt: 'F' }) }],
  ['JSON', '/openai/anything', json({ model: 'A' })],
  ['reading', '/openai/files', {}],
  ['deleting', '/openai/files/f', { method: 'DELETE' }],
];

describe('an admin under the rule of the organization', () => {
  const gate = gateOfSuite();
  const send = async (target: string, init: RequestInit) => {
    const headers = new Headers(init.headers);
    headers.set('authorization', `Bearer ${await gate.token('adm')}`);
    return fetch(`${gate.url}${target}`, { ...init, headers });
  };

  test.each(FORBIDDEN)('does not reach a forbidden model by %s', async (_name, target, init) => {
    expect((await send(target, init)).status).toBe(403);
  });
  test.each(UNNAMED)('does not send what names no model: %s', async (_name, target, init) => {
    expect((await send(target, init)).status).toBe(400);
  });
  test.each(PERMITTED)('goes on with %s', async (_name, target, init) => {
    expect((await send(target, init)).status).toBe(200);
  });
});

test('an admin of everything goes on with what names no model', async () => {
  await using gate = await startTestGate({ MODELGATE_ADMIN_ACCESS: 'all' });
  const answer = await gate.ask('adm', '/openai/batches', { input_file_id: 'file-1' });
  expect(answer.status).toBe(200);
});
