import { describe, expect, test } from 'vitest';
import { MODEL_BEARING_ROUTES, NEUTRAL_ROUTES } from '../../../src/openwebui/surfaces.ts';
import { surfaceOf } from '../../support/gate/sample-scope.ts';

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
    const found = surfaceOf(method, path);
    expect(found.surface).toMatchObject(surface);
    expect({ ...found.pathIds }).toEqual(ids);
  });

  test('a page is not searched, an unlisted path is', () => {
    expect(surfaceOf('GET', '/static/x').surface).toEqual({ kind: 'neutral' });
    expect(surfaceOf('POST', '/api/v1/chats/7/archive').surface).toEqual({ kind: 'neutral' });
  });
});

/** Whether an entry is for such a request, its path compared segment by segment. */
function fits([of, entry]: (typeof ENTRIES)[number], method: string, path: string): boolean {
  const [wanted, found] = [entry.split('/'), path.split('/')];
  const isRest = wanted.at(-1) === '**';
  return (
    (of === '*' || of === method) &&
    (isRest ? wanted.length <= found.length : wanted.length === found.length) &&
    wanted.every((one, at) => one === found[at] || one === '**' || (one.startsWith(':') && found[at] !== ''))
  );
}

const ENTRIES = [...MODEL_BEARING_ROUTES, ...NEUTRAL_ROUTES];
test.each(ENTRIES)('of several entries for the path of %s %s the first counts, by the letter', (of, entry) => {
  const [method, path] = [of === '*' ? 'PUT' : of, entry.replace('**', 'x/yz').replaceAll(/:\w+/g, '77')];
  for (const asked of [path, path.replace(/\w$/, '.'), path.replace(/\/?$/, '/'), path.replace(/[.+-]/, 'x')]) {
    const first = ENTRIES.find((one) => fits(one, method, asked))?.[2];
    const unlisted = asked.startsWith('/api/') ? { kind: 'neutral', unlisted: true } : { kind: 'neutral' };
    expect(surfaceOf(method, asked).surface, asked).toEqual(first ?? unlisted);
  }
});
