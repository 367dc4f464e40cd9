import { describe, expect, test } from 'vitest';
import { createJudge } from '../../../src/enforcement/judge.ts';
import { judgeForPayer } from '../../../src/provider-door/wire-model.ts';
import { type World, modelOf, userOf, viewOf } from '../../support/database/policy-world.ts';

const world: World = {
  grants: {
    acme: ['A', 'o.priced', 'assistant', 'family-*', 'llama3:latest', 'o.family/*'],
    globex: ['F', 'forbidden-preset'],
    empty: [],
  },
  members: { ann: ['acme'], dan: [], eve: ['empty'] },
  presets: {
    assistant: { base: 'B' },
    'family-preset': { base: 'C' },
    'over-a': { base: 'D' },
    'forbidden-preset': { base: 'F' },
    // its id is granted, and its base is called like another preset's
    A: {},
  },
};
const view = viewOf(world);
const options = { adminAccess: 'organization', directConnections: 'refuse', mediaModels: 'any' } as const;

type WireRequest = Parameters<typeof judgeForPayer>[3];
const chat = { kind: 'runs', dialect: 'openai' } as const;
const ollama = { kind: 'runs', dialect: 'ollama' } as const;

function judge(model: string | string[], request: Partial<WireRequest> = {}, user = userOf('ann')) {
  return judgeForPayer(createJudge(options), view, user, {
    endpoint: chat,
    prefixes: [''],
    models: [model].flat().map(modelOf),
    asked: undefined,
    isServiceModel: () => false,
    ...request,
  }).decision;
}

describe('the model on the wire', () => {
  test('is permitted by its own grant', () => {
    expect(judge('A')).toMatchObject({ effect: 'permit', reason: 'grant', model: 'A' });
  });

  test('is denied without one', () => expect(judge('F')).toMatchObject({ effect: 'deny', reason: 'not_granted' }));

  test('is named with the prefix of its connection', () => {
    expect(judge('priced').effect).toBe('deny');
    expect(judge('priced', { prefixes: ['o.'] })).toMatchObject({ effect: 'permit', model: 'o.priced' });
    expect(judge('priced', { prefixes: ['', 'o.'] }).effect).toBe('permit');
    expect(judge('A', { prefixes: ['o.'] }).effect).toBe('deny');
    expect(judge('family/x', { prefixes: ['o.'] })).toMatchObject({ reason: 'prefix_grant' });
  });

  test('may be the base of a preset that is granted by its own id', () => {
    expect(judge('B')).toMatchObject({ effect: 'permit', reason: 'preset_base_on_wire', chain: ['assistant', 'B'] });
    expect(judge('C')).toMatchObject({ effect: 'permit', reason: 'preset_base_on_wire' });
  });

  test('is not permitted by a preset without a grant of its own', () => {
    expect(judge('D').effect).toBe('deny');
    expect(judge('F').effect).toBe('deny');
  });

  test('must be the base of the very preset that the backend says', () => {
    expect(judge('B', { asked: modelOf('assistant') }).effect).toBe('permit');
    expect(judge('B', { asked: modelOf('family-preset') }).effect).toBe('deny');
    expect(judge('F', { asked: modelOf('assistant') }).effect).toBe('deny');
    expect(judge('A', { asked: modelOf('assistant') }).effect).toBe('permit');
  });

  test('of Ollama has a tag', () => {
    expect(judge('llama3', { endpoint: ollama })).toMatchObject({ effect: 'permit', model: 'llama3:latest' });
    expect(judge('llama3:latest', { endpoint: ollama }).effect).toBe('permit');
    expect(judge('llama3:70b', { endpoint: ollama }).effect).toBe('deny');
    expect(judge('llama3').effect).toBe('deny');
  });

  test('is not a preset that is called like it', () => expect(judge('assistant').effect).toBe('deny'));

  test('each of several must be permitted', () => {
    expect(judge(['A', 'B']).effect).toBe('permit');
    expect(judge(['A', 'F'])).toMatchObject({ effect: 'deny', model: 'F' });
    expect(judge([])).toMatchObject({ effect: 'deny', reason: 'model_missing' });
  });
});

describe('what the backend runs for itself', () => {
  const isServiceModel = (model: string) => model === 'task';
  test('is for every user with an organization', () => {
    expect(judge('task', { isServiceModel })).toMatchObject({ effect: 'permit', reason: 'service_model' });
    expect(judge('F', { isServiceModel }).effect).toBe('deny');
  });
  test.each([
    [userOf('dan'), 'no_organization'],
    [userOf('ann', 'pending'), 'role_not_permitted'],
    [userOf('ann', 'banned'), 'role_not_permitted'],
  ])('is not for %j', (user, reason) => {
    expect(judge('task', { isServiceModel }, user)).toMatchObject({ effect: 'deny', reason });
  });
});

test('images and speech are a name space of their own', () => {
  expect(judge('dall-e-3', { endpoint: { kind: 'media', dialect: 'openai' } })).toMatchObject({
    reason: 'media_model',
  });
});
