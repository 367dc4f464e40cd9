import { describe, expect, test } from 'vitest';
import { dialectOfPath, matchEndpoint } from '../../../src/provider-door/endpoints.ts';

describe('endpoints of providers', () => {
  test.each([
    ['GET', '/models', 'models', 'lists'],
    ['GET', '/v1/models', 'models', 'lists'],
    ['GET', '/models/openai/gpt-4o', 'models', 'lists'],
    ['GET', '/api/tags', 'api/tags', 'lists'],
    ['POST', '/chat/completions', 'chat/completions', 'runs'],
    ['POST', '/v1/chat/completions', 'chat/completions', 'runs'],
    ['POST', '/openai/v1/responses', 'responses', 'runs'],
    ['POST', '/messages', 'messages', 'runs'],
    ['POST', '/messages/count_tokens', 'messages/count_tokens', 'runs'],
    ['POST', '/api/chat', 'api/chat', 'runs'],
    ['POST', '/api/show', 'api/show', 'runs'],
    ['POST', '/embeddings', 'embeddings', 'service'],
    ['POST', '/rerank', 'rerank', 'service'],
    ['POST', '/v1/rerank', 'rerank', 'service'],
    ['POST', '/api/embed', 'api/embed', 'service'],
    ['POST', '/audio/transcriptions', 'audio/transcriptions', 'media'],
    ['POST', '/images/generations', 'images/generations', 'media'],
  ])('%s %s is %s, which %s', (method, path, name, kind) => {
    expect(matchEndpoint(method, path).endpoint).toMatchObject({ name, kind });
  });

  test('an address of Azure names the model in its path', () => {
    const found = matchEndpoint('POST', '/openai/deployments/gpt-4o/chat/completions');
    expect(found).toMatchObject({ modelInPath: 'gpt-4o', endpoint: { name: 'chat/completions' } });
  });

  test.each([
    ['GET', '/chat/completions'],
    ['POST', '/models'],
    ['DELETE', '/models/gpt-4o'],
    ['POST', '/files'],
    ['POST', '/batches'],
    ['POST', '/fine_tuning/jobs'],
    ['GET', '/responses/resp_1'],
    ['POST', '/responses/resp_1/cancel'],
    ['POST', '/chat/completions/'],
    ['POST', '/v1/v1/chat/completions'],
    ['POST', '/api/pull'],
    ['POST', '/api/create'],
    ['DELETE', '/api/delete'],
    ['POST', '/openai/deployments/gpt-4o/extensions/chat/completions'],
    ['GET', '/realtime'],
    ['GET', '/'],
  ])('%s %s is not served', (method, path) => expect(matchEndpoint(method, path).endpoint).toBeUndefined());

  test.each([
    ['/api/pull', 'ollama'],
    ['/messages/batches', 'anthropic'],
    ['/files', 'openai'],
    ['/api/v1/files', 'openai'],
  ])('a refusal at %s is in the words of %s', (path, dialect) => expect(dialectOfPath(path)).toBe(dialect));
});
