import { describe, expect, test } from 'vitest';
import { decide } from '../../../src/policy/decide.ts';
import { modelOf, userOf, viewOf } from '../../support/database/policy-world.ts';

const view = viewOf({
  grants: { acme: ['A', 'acme/*', 'given', 'param'], globex: ['F', 'A'], star: ['*'], empty: [] },
  members: {
    ann: ['acme'],
    bob: ['globex'],
    cyd: ['globex', 'acme'],
    eve: ['empty'],
    sol: ['star'],
    max: ['star', 'acme', 'globex'],
  },
  presets: {
    given: { base: 'F' },
    'over-a': { base: 'A' },
    'over-prefix': { base: 'acme/x' },
    'over-f': { base: 'F' },
    'over-preset': { base: 'over-a' },
    'over-given': { base: 'given' },
    self: { base: 'self' },
    'row-of-provider': {},
    stray: { base: 'A', parameterModels: ['A', 'F'] },
    settled: { base: 'A', parameterModels: ['A', 'acme/y'] },
    arena: { base: 'arena-model' },
    missing: { base: 'gone' },
  },
  composites: ['arena-model'],
});
const options = { adminAccess: 'organization' } as const;
const by = (user: string, model: string, role = 'user') => decide(view, userOf(user, role), modelOf(model), options);

describe('a model is permitted', () => {
  test.each([
    ['by its id', 'ann', 'A', 'grant', ['acme', 'A'], ['A']],
    ['by its prefix', 'ann', 'acme/x', 'prefix_grant', ['acme', 'acme/*'], ['acme/x']],
    ['by the prefix alone', 'ann', 'acme/', 'prefix_grant', ['acme', 'acme/*'], ['acme/']],
    ['by a grant of everything', 'sol', 'anything', 'prefix_grant', ['star', '*'], ['anything']],
    ['by the first of several organizations', 'cyd', 'A', 'grant', ['globex', 'A'], ['A']],
    ['by the one that names it, before an older one that names many', 'max', 'A', 'grant', ['acme', 'A'], ['A']],
    ['by the oldest, where none names it', 'max', 'acme/x', 'prefix_grant', ['star', '*'], ['acme/x']],
    ['by the one that names the base', 'max', 'over-f', 'prefix_grant', ['star', '*'], ['over-f']],
    ['by another of several organizations', 'cyd', 'acme/x', 'prefix_grant', ['acme', 'acme/*'], ['acme/x']],
    ['as a preset that was granted itself', 'ann', 'given', 'grant', ['acme', 'given'], ['given']],
    ['as a preset on a granted model', 'ann', 'over-a', 'preset_base', ['acme', 'A'], ['over-a', 'A']],
    ['as a preset on a prefix', 'ann', 'over-prefix', 'preset_base', ['acme', 'acme/*'], ['over-prefix', 'acme/x']],
    ['as a preset that names granted models', 'ann', 'settled', 'preset_base', ['acme', 'A'], ['settled', 'A']],
    ['as a composite that everything covers', 'sol', 'arena-model', 'prefix_grant', ['star', '*'], ['arena-model']],
  ])('%s', (_sentence, user, model, reason, [organization, pattern], chain) => {
    expect(by(user, model)).toEqual({ effect: 'permit', reason, model, grant: { organization, pattern }, chain });
  });

  test('to an administrator, where the operator says so', () => {
    expect(decide(view, userOf('eve', 'admin'), modelOf('F'), { adminAccess: 'all' })).toEqual({
      effect: 'permit',
      reason: 'admin_access',
      model: 'F',
      chain: ['F'],
    });
  });
});

describe('a model is denied', () => {
  test.each([
    ['that is not granted', 'ann', 'F', 'not_granted', ['F']],
    ['of another letter case', 'ann', 'a', 'not_granted', ['a']],
    ['that only begins like a granted one', 'ann', 'A2', 'not_granted', ['A2']],
    ['to a user without organization', 'dan', 'A', 'no_organization', []],
    ['to a member of an organization without grants', 'eve', 'A', 'no_organization', []],
    ['that is the base of a granted preset', 'ann', 'F', 'not_granted', ['F']],
    [
      'as a preset on a preset, which no provider knows',
      'ann',
      'over-given',
      'preset_base_not_granted',
      ['over-given', 'given'],
    ],
    ['as a preset on another', 'ann', 'over-f', 'preset_base_not_granted', ['over-f', 'F']],
    [
      'as a preset on a preset that is not granted itself',
      'ann',
      'over-preset',
      'preset_base_not_granted',
      ['over-preset', 'over-a'],
    ],
    ['as a preset on itself', 'ann', 'self', 'preset_base_not_granted', ['self', 'self']],
    ['as a preset whose base is gone', 'ann', 'missing', 'preset_base_not_granted', ['missing', 'gone']],
    ['as a preset on a composite', 'sol2', 'arena', 'no_organization', []],
    ['as a row without base', 'ann', 'row-of-provider', 'not_granted', ['row-of-provider']],
    ['as a preset whose parameters name another', 'ann', 'stray', 'preset_parameter_not_granted', ['stray', 'F']],
    ['as a composite', 'ann', 'arena-model', 'not_granted', ['arena-model']],
  ])('%s', (_sentence, user, model, reason, chain) => {
    expect(by(user, model)).toEqual({ effect: 'deny', reason, model, chain });
  });

  test('as a preset on a composite, even where the composite is granted', () => {
    const world = viewOf({
      grants: { acme: ['arena-model'] },
      members: { ann: ['acme'] },
      presets: { arena: { base: 'arena-model' } },
      composites: ['arena-model'],
    });
    expect(decide(world, userOf('ann'), modelOf('arena'), options)).toMatchObject({
      reason: 'preset_base_not_granted',
    });
    expect(decide(world, userOf('ann'), modelOf('arena-model'), options)).toMatchObject({ reason: 'grant' });
  });

  test.each(['pending', 'banned'])('to a user whose role is %s, whatever their organization has', (role) => {
    expect(by('ann', 'A', role)).toEqual({ effect: 'deny', reason: 'role_not_permitted', model: 'A', chain: [] });
  });

  test('to an administrator as to each user, where the operator says nothing', () => {
    expect(by('ann', 'F', 'admin').effect).toBe('deny');
    expect(by('ann', 'A', 'admin').effect).toBe('permit');
  });

  test('to a user where administrators have everything', () => {
    expect(decide(view, userOf('ann'), modelOf('F'), { adminAccess: 'all' }).effect).toBe('deny');
  });
});
