import { describe, expect, test } from 'vitest';
import {
  MAX_MODEL_ID_LENGTH,
  compileGrants,
  coveringGrant,
  parseModelId,
  parsePattern,
} from '../../../src/policy/grant.ts';
import { toOrganizationId } from '../../../src/policy/principal.ts';
import { modelOf } from '../../support/database/policy-world.ts';

describe('a model id', () => {
  test.each(['A', 'openai/gpt-4o', 'llama3.2:latest', 'Modèle 日本 😀', ' ', 'a'.repeat(MAX_MODEL_ID_LENGTH)])(
    '%s is taken exactly',
    (text) => expect(parseModelId(text)).toBe(text),
  );
  test.each([
    ['nothing', undefined],
    ['null', null],
    ['a number', 5],
    ['a list', ['A']],
    ['an object', { id: 'A' }],
    ['an empty text', ''],
    ['a text that is too long', 'a'.repeat(MAX_MODEL_ID_LENGTH + 1)],
    ['a line break', 'A\n'],
    ['a NUL', '\u0000A'],
    ['a delete character', 'A\u007f'],
    ['half an emoji', 'A\ud83d'],
  ])('%s is none', (_name, value) => expect(parseModelId(value)).toBeUndefined());
});

describe('the grants of an organization', () => {
  const grants = compileGrants(toOrganizationId('acme'), ['A', 'a*b', 'open/*', '**']);
  test.each([
    ['A', 'A'],
    ['open/x', 'open/*'],
    ['a*b', 'a*b'],
    ['*x', '**'],
    ['axb', undefined],
    ['open', undefined],
    ['OPEN/x', undefined],
  ])('%s is covered by %s', (model, pattern) => expect(coveringGrant(grants, modelOf(model))).toBe(pattern));
});

describe('the pattern of a grant', () => {
  test.each([
    ['gpt-4o', { kind: 'exact', model: 'gpt-4o' }],
    ['a*b', { kind: 'exact', model: 'a*b' }],
    ['openai/*', { kind: 'prefix', prefix: 'openai/' }],
    ['*', { kind: 'prefix', prefix: '' }],
    ['', undefined],
    ['a\nb', undefined],
    ['a\n*', undefined],
    ['x'.repeat(1025), undefined],
    [`${'x'.repeat(1024)}*`, { kind: 'prefix', prefix: 'x'.repeat(1024) }],
    [`${'x'.repeat(1025)}*`, undefined],
  ])('%j is read as %j', (text, pattern) => {
    expect(parsePattern(text)).toEqual(pattern);
  });
});
