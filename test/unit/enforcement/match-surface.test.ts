import { describe, expect, test } from 'vitest';
import { createSurfaceMatcher } from '../../../src/openwebui/match.ts';

const match = createSurfaceMatcher();

describe('a path finds its surface', () => {
  test.each([
    ['POST', '/api/chat/completions', { kind: 'invokes', runs: 'messages_of_body' }, {}],
    ['POST', '/api/chat/completions/0', { kind: 'refused', judged: true }, {}],
    ['POST', '/api/chat/completions/', { kind: 'refused', judged: true }, {}],
    ['GET', '/api/chat/completions', { kind: 'refused', judged: true }, {}],
    ['POST', '/api/chat/actions/a.b', { kind: 'invokes' }, { id: 'a.b' }],
    ['POST', '/api/v1/chats/7/compact', { kind: 'invokes', runs: 'chat_of_path' }, { id: '7' }],
    ['POST', '/api/v1/chats/7/messages/8/resolve', { kind: 'invokes' }, { id: '7', message: '8' }],
    ['POST', '/api/v1/chats/new', { kind: 'saves', form: 'chat' }, {}],
    ['POST', '/api/v1/chats/7', { kind: 'saves', form: 'chat' }, { id: '7' }],
    ['GET', '/api/v1/chats/7', { kind: 'neutral' }, {}],
    ['POST', '/api/v1/tasks/title/completions', { kind: 'invokes' }, { task: 'title' }],
    ['POST', '/api/v1/tasks/new', { kind: 'refused' }, {}],
    ['GET', '/api/models', { kind: 'lists' }, {}],
    ['HEAD', '/api/models', { kind: 'lists' }, {}],
    ['GET', '/api/v1/models/', { kind: 'lists' }, {}],
    ['GET', '/api/v1/models', { kind: 'lists' }, {}],
    ['GET', '/api/v1/models/anything/new', { kind: 'refused' }, {}],
    ['GET', '/openai/models', { kind: 'lists' }, {}],
    ['GET', '/openai/models/0', { kind: 'refused' }, {}],
    ['POST', '/openai/', { kind: 'refused', judged: true }, {}],
    ['PATCH', '/openai/chat/completions', { kind: 'refused', judged: true }, {}],
    ['POST', '/ollama/api/chat/0', { kind: 'refused', judged: true }, {}],
    ['GET', '/ollama/api/version/0', { kind: 'neutral' }, { index: '0' }],
    ['GET', '/ollama/', { kind: 'neutral' }, {}],
    ['POST', '/api/v1/users/user/settings/update', { kind: 'neutral' }, {}],
    ['POST', '/api/v9/anything', { kind: 'neutral', unlisted: true }, {}],
    ['POST', '/api/', { kind: 'neutral', unlisted: true }, {}],
    ['GET', '/', { kind: 'neutral' }, {}],
    ['POST', '/static/x', { kind: 'neutral' }, {}],
    ['OPTIONS', '/openai/chat/completions', { kind: 'neutral' }, {}],
  ])('%s %s', (method, path, surface, ids) => {
    const found = match(method, path);
    expect(found.surface).toMatchObject(surface);
    expect({ ...found.ids }).toEqual(ids);
  });

  test('a page is not searched, an unlisted path is', () => {
    expect(match('GET', '/static/x').surface).toEqual({ kind: 'neutral' });
    expect(match('POST', '/api/v1/chats/7/archive').surface).toEqual({ kind: 'neutral' });
  });
});

test('of two entries for one path the first counts, and its characters are meant literally', () => {
  const [first, second] = [{ kind: 'refused' }, { kind: 'neutral' }] as const;
  const own = createSurfaceMatcher([
    ['GET', '/a.b', first],
    ['*', '/a.b', second],
    ['GET', '/x/a+:id', first],
    ['*', '/x/**', second],
  ]);
  expect(own('GET', '/a.b').surface).toBe(first);
  expect(own('POST', '/a.b').surface).toBe(second);
  expect(own('GET', '/axb').surface).toEqual({ kind: 'neutral' });
  expect(own('GET', '/x/a+7')).toMatchObject({ surface: first, ids: { id: '7' } });
  expect(own('GET', '/x/aa7').surface).toBe(second);
  expect(own('GET', '/x/a+7/8').surface).toBe(second);
});
