import { describe, expect, test } from 'vitest';
import { queryValue, readTarget } from '../../../src/openwebui/endpoints.ts';

describe('a target is read as uvicorn reads it', () => {
  test.each([
    ['/', '/', ''],
    ['/api/chat/completions', '/api/chat/completions', ''],
    ['/api/%63hat/completions?a=%2F', '/api/chat/completions', 'a=%2F'],
    ['/api/v1/files/7/content/100%25.pdf', '/api/v1/files/7/content/100%.pdf', ''],
    ['/static/caf%C3%A9.png', '/static/café.png', ''],
    ['/api/v1/evaluations/leaderboard/openai%2Fgpt/history', '/api/v1/evaluations/leaderboard/openai/gpt/history', ''],
  ])('%s', (target, path, query) => {
    expect(readTarget(target)).toEqual({ path, target, query });
  });
});

describe('an ambiguous spelling is refused', () => {
  test.each([
    ['encoded slash', '/api%2Fchat/completions'],
    ['encoded slash in lower case', '/api%2fchat/completions'],
    ['encoded backslash', '/api%5cchat/completions'],
    ['double encoding', '/api%252Fchat/completions'],
    ['triple encoding', '/api%25252Fchat/completions'],
    ['encoded newline at the end', '/api/chat/completions%0a'],
    ['encoded NUL', '/api/chat/completions%00'],
    ['fragment', '/api/chat/completions#x'],
    ['absolute form', 'http://x/api/chat/completions'],
    ['authority form', 'x:80'],
    ['backslash', '/api\\chat/completions'],
    ['double slash', '//api/chat/completions'],
    ['double slash inside', '/openai//chat/completions'],
    ['dot segment', '/x/../api/chat/completions'],
    ['single dot segment', '/api/./chat'],
    ['encoded dot segment', '/x/%2e%2e/api/chat'],
    ['half-encoded dot segment', '/x/.%2e/api/chat'],
    ['dot segment at the end', '/api/..'],
    ['bytes that are no UTF-8', '/api/%ff'],
    ['cut percent sign', '/api/%'],
    ['raw non-ASCII', '/api/é'],
    ['space', '/api/chat completions'],
    ['dot segments behind an encoded model id', '/api/v1/analytics/models/x%2F%2e%2e%2fy/chats'],
    ['dot segments made by an encoded slash', '/api/v1/analytics/models/..%2F..%2Fopenai/chats'],
    ['empty target', ''],
  ])('%s', (_sentence, target) => {
    expect(() => readTarget(target)).toThrow(expect.objectContaining({ code: 'path_ambiguous' }));
  });
});

describe('a query parameter', () => {
  test('is decoded once, plus signs as spaces', () => expect(queryValue('a=1&%69d=x%2Fy+z', 'id')).toBe('x/y z'));
  test('may be absent', () => expect(queryValue('', 'id')).toBeUndefined());
  test('is refused if it stands there twice, in any spelling', () => {
    expect(() => queryValue('id=A&%69d=F', 'id')).toThrow(expect.objectContaining({ code: 'path_ambiguous' }));
  });
});
