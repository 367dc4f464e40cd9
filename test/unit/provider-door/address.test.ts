import { describe, expect, test } from 'vitest';
import { createAddresses } from '../../../src/provider-door/address.ts';

const providers = [
  'https://openrouter.ai/api/v1',
  'http://ollama:11434',
  'https://api.openai.com/v1/',
  'https://gateway.example/team',
  'https://gateway.example/team/blue/v1',
].map((url) => ({ url: new URL(url) }));
const readAddress = createAddresses(providers);

const codeOf = (target: string): unknown => {
  try {
    return readAddress(target);
  } catch (error) {
    return error instanceof Error && 'code' in error ? error.code : error;
  }
};

describe('the address of a provider behind the door', () => {
  test.each([
    ['/openrouter.ai/api/v1/chat/completions', 'https://openrouter.ai/api/v1', '/chat/completions'],
    ['/OpenRouter.AI/api/v1/models', 'https://openrouter.ai/api/v1', '/models'],
    ['/ollama:11434/api/chat', 'http://ollama:11434/', '/api/chat'],
    ['/api.openai.com/v1/embeddings', 'https://api.openai.com/v1/', '/embeddings'],
    ['/gateway.example/team/blue/v1/models', 'https://gateway.example/team/blue/v1', '/models'],
    ['/gateway.example/team/models', 'https://gateway.example/team', '/models'],
  ])('%s leads to %s', (target, url, path) => {
    const found = readAddress(target);
    expect([found.provider.url.href, found.path]).toEqual([url, path]);
  });

  test('is sent on as it came, with its query', () => {
    const { target, query } = readAddress('/openrouter.ai/api/v1/models?a=1&b=%2F?');
    expect(target).toBe('/api/v1/models?a=1&b=%2F?');
    expect(query).toBe('a=1&b=%2F?');
  });

  test.each([
    '/example.com/v1/models',
    '/openrouter.ai/api/v2/models',
    '/openrouter.ai/api/v1x/models',
    '/ollama/api/chat',
  ])('%s is no provider here', (target) => expect(codeOf(target)).toBe('provider_unknown'));

  test.each([
    '/openrouter.ai//api/v1/models',
    '/openrouter.ai/api/v1/../v1/models',
    '/openrouter.ai/api/v1/./models',
    '/openrouter.ai/api/v1/models/..',
    '/openrouter.ai/api/v1/chat%2Fcompletions',
    '/openrouter.ai/api/v1/%63hat/completions',
    '/openrouter.ai/api/v1\\models',
    '/openrouter.ai/api/v1/models#x',
    '/openrouter.ai/api/v1/mo dels',
    '//openrouter.ai/api/v1/models',
    'http://openrouter.ai/api/v1/models',
  ])('%s is spelled in a way that a provider may read otherwise', (target) =>
    expect(codeOf(target)).toBe('path_ambiguous'),
  );

  test('an address that is none says what it should be', () => {
    expect(() => readAddress('/example.com/v1/models')).toThrow(
      /"example\.com" is none.*http:\/\/modelgate:PORT\/.*openrouter\.ai\/api\/v1/,
    );
  });
});
