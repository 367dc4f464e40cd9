import { describe, expect, test } from 'vitest';
import { type NameSpace, createJudge } from '../../../src/enforcement/judge.ts';
import { modelOf, userOf, viewOf } from '../../support/database/policy-world.ts';

const view = viewOf({
  grants: { acme: ['A', 'plain', 'mine:latest', 'tagged:7b', 'given'], globex: ['F', 'globex/*'], star: ['*'] },
  members: { ann: ['acme'] },
  presets: {
    'over-a': { base: 'A' },
    given: { base: 'F' },
    'over-tagged': { base: 'tagged:7b' },
    'over-mine': { base: 'mine' },
    'over-plain': { base: 'plain' },
    'over-f': { base: 'F' },
    row: {},
  },
});
const options = { adminAccess: 'organization', directConnections: 'refuse', mediaModels: 'any' } as const;
const judge = createJudge(options);
const effect = (model: string, names?: NameSpace) => judge.one(view, userOf('ann'), modelOf(model), names).effect;

describe('a name is judged for what it stands for', () => {
  test.each<[names: NameSpace, permitted: string[], denied: string[]]>([
    ['chat', ['A', 'over-a', 'given', 'plain', 'mine:latest'], ['F', 'over-f', 'mine', 'row', 'over-mine']],
    ['provider', ['A'], ['F', 'given', 'over-a', 'over-f', 'mine']],
    [
      'ollama',
      ['mine', 'mine:latest', 'tagged:7b', 'over-tagged', 'given'],
      ['A', 'plain', 'over-a', 'over-plain', 'over-mine', 'F'],
    ],
    ['ollama_raw', ['mine', 'mine:latest', 'tagged:7b'], ['A', 'plain', 'over-tagged', 'tagged', 'given', 'F']],
    ['media', ['A', 'dall-e-3', 'over-a', 'F', 'globex/x', 'row'], ['a/../F', 'x?y', 'x#y', 'x%2f', 'x\\y']],
  ])('%s', (names, permitted, denied) => {
    const effects = (models: string[]) => models.map((model) => [model, effect(model, names)]);
    expect(effects(permitted)).toEqual(permitted.map((model) => [model, 'permit']));
    expect(effects(denied)).toEqual(denied.map((model) => [model, 'deny']));
  });

  test('a list of media models is closed', () => {
    const listed = createJudge({ ...options, mediaModels: new Set(['tts-1']) });
    const reasons = ['tts-1', 'dall-e-3', 'A', 'F'].map(
      (model) => listed.one(view, userOf('ann'), modelOf(model), 'media').reason,
    );
    expect(reasons).toEqual(['media_model', 'media_model_not_listed', 'grant', 'media_model_not_listed']);
  });

  test('a user who may not sign in has no media model either', () => {
    expect(judge.one(view, userOf('ann', 'pending'), modelOf('tts-1'), 'media').reason).toBe('role_not_permitted');
  });
});

describe('several names', () => {
  const all = (...models: string[]) => judge.all(view, userOf('ann'), models.map(modelOf));
  test('are denied with the first that is', () =>
    expect(all('A', 'F', 'nothing')).toMatchObject({ effect: 'deny', model: 'F' }));
  test('are permitted with the first', () =>
    expect(all('over-a', 'A')).toMatchObject({ effect: 'permit', model: 'over-a' }));
  test('that are none decide nothing', () => expect(all()).toBeUndefined());
});

test.each([{ kind: 'anonymous', because: 'no_credential' } as const, { kind: 'unresolved' } as const])(
  'a request without a user has nothing: %j',
  (principal) => {
    for (const names of ['chat', 'provider', 'ollama', 'ollama_raw', 'media'] as const) {
      expect(judge.one(view, principal, modelOf('A'), names)).toMatchObject({
        effect: 'deny',
        reason: 'not_authenticated',
      });
    }
  },
);
