/** Rules 1 and 2: default deny, more grants never take away, and what is listed is exactly what can be used. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type NameSpace, createJudge } from '../../src/enforcement/judge.ts';
import { filterList, indexList } from '../../src/enforcement/list.ts';
import { SHAPES } from '../../src/openwebui/lists.ts';
import { collectReferences } from '../../src/references/references.ts';
import { decide } from '../../src/policy/decide.ts';
import { type World, modelOf, userOf, viewOf } from '../support/database/policy-world.ts';

const ids = fc.constantFrom(
  'A',
  'B',
  'F',
  'open/x',
  'open/y',
  'p',
  'q',
  'r',
  'arena-model',
  'mine:latest',
  'mine',
  '日本 "',
);
const patterns = fc.oneof(
  { weight: 4, arbitrary: ids },
  { weight: 1, arbitrary: fc.constantFrom('open/*', 'o*', '*') },
);
const organizations = fc.constantFrom('acme', 'globex', 'third');
const users = fc.constantFrom('ann', 'bob', 'cyd');

const worlds: fc.Arbitrary<Required<World>> = fc.record({
  grants: fc.dictionary(organizations, fc.uniqueArray(patterns, { maxLength: 3 })),
  members: fc.dictionary(users, fc.uniqueArray(organizations, { maxLength: 2 })),
  presets: fc.dictionary(
    ids,
    fc.record({ base: ids, parameterModels: fc.uniqueArray(ids, { maxLength: 1 }) }, { requiredKeys: [] }),
    { maxKeys: 5 },
  ),
  composites: fc.constant(['arena-model']),
  prefixes: fc.constant([]),
});
const roles = fc.constantFrom('user', 'user', 'admin', 'pending', 'banned');
const modes = fc.record({ adminAccess: fc.constantFrom('organization' as const, 'all' as const) });

const covers = (pattern: string, model: string) =>
  pattern.endsWith('*') ? model.startsWith(pattern.slice(0, -1)) : pattern === model;

test('a permit has a witness: a grant of an own organization covers the model, or the one base that it leads to', () => {
  fc.assert(
    fc.property(worlds, users, roles, ids, modes, (world, user, role, model, options) => {
      const decision = decide(viewOf(world), userOf(user, role), modelOf(model), options);
      const allowed = role !== 'pending' && role !== 'banned';
      const granted = (id: string) =>
        (world.members[user] ?? []).some((name) => (world.grants[name] ?? []).some((pattern) => covers(pattern, id)));
      const { base, parameterModels = [] } = world.presets[model] ?? {};
      const named = (world.members[user] ?? []).some((name) => (world.grants[name] ?? []).includes(model));
      const isPreset = (id: string) => ![undefined, id].includes(world.presets[id]?.base);
      const withParameters = parameterModels.every(granted);
      const throughBase =
        base !== undefined && base !== 'arena-model' && !isPreset(base) && granted(base) && withParameters;
      const byItself = granted(model) && ((named && isPreset(model)) || withParameters);
      const isAll = role === 'admin' && options.adminAccess === 'all';
      expect(decision.effect).toBe(
        allowed && (isAll || byItself || (!granted(model) && throughBase)) ? 'permit' : 'deny',
      );
      if (decision.effect === 'permit' && decision.reason !== 'admin_access') {
        expect(world.members[user]).toContain(decision.grant?.organization);
        expect(covers(decision.grant?.pattern ?? '', decision.chain.at(-1) ?? '')).toBe(true);
      }
    }),
    { numRuns: 2000 },
  );
});

test('another grant or membership never takes a permit away, and a lost one never gives one', () => {
  fc.assert(
    fc.property(worlds, users, ids, organizations, patterns, (world, user, model, organization, pattern) => {
      const effect = (of: World) =>
        decide(viewOf(of), userOf(user), modelOf(model), { adminAccess: 'organization' }).effect;
      const grants = { ...world.grants, [organization]: [...(world.grants[organization] ?? []), pattern] };
      const members = { ...world.members, [user]: [...(world.members[user] ?? []), organization] };
      for (const more of [
        { ...world, grants },
        { ...world, members },
      ]) {
        if (effect(world) === 'permit') expect(effect(more)).toBe('permit');
        if (effect(more) === 'deny') expect(effect(world)).toBe('deny');
      }
    }),
    { numRuns: 2000 },
  );
});

test('no other organization matters', () => {
  fc.assert(
    fc.property(worlds, users, ids, patterns, (world, user, model, pattern) => {
      const effect = (of: World) =>
        decide(viewOf(of), userOf(user), modelOf(model), { adminAccess: 'organization' }).effect;
      expect(effect({ ...world, grants: { ...world.grants, stranger: [pattern] } })).toBe(effect(world));
    }),
  );
});

test('what is listed is exactly what can be used, for every user, model and kind of name', () => {
  const names = fc.constantFrom<NameSpace>('chat', 'provider', 'ollama', 'ollama_raw', 'media');
  const settings = fc.record({
    adminAccess: fc.constantFrom('organization' as const, 'all' as const),
    directConnections: fc.constant('refuse' as const),
    mediaModels: fc.constantFrom('any' as const, new Set(['A', 'F'])),
  });
  fc.assert(
    fc.property(
      worlds,
      users,
      roles,
      fc.array(ids, { maxLength: 8 }),
      names,
      settings,
      (world, id, role, listed, space, options) => {
        const judge = createJudge(options);
        const view = viewOf(world);
        const user = userOf(id, role);
        const answer = Buffer.from(JSON.stringify({ data: listed.map((model, at) => ({ at, id: model })) }));
        const shown = filterList(
          answer,
          indexList(answer, SHAPES.models),
          (model) => judge.one(view, user, model, space).effect === 'permit',
        );
        const { data } = JSON.parse(shown.body.toString()) as { data: { at: number; id: string }[] };
        const usable = listed
          .map((model, at) => ({ at, id: model }))
          .filter(
            (entry) => judge.all(view, user, collectReferences({ model: entry.id }).models, space)?.effect === 'permit',
          );
        expect(data).toEqual(usable);
        expect([shown.kept, shown.removed]).toEqual([usable.length, listed.length - usable.length]);
      },
    ),
    { numRuns: 1000 },
  );
});
