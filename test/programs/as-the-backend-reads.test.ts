/** Rules 3 and 5: what the gate lets pass, Python reads as the gate did. Python itself is asked. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readTarget } from '../../src/openwebui/endpoints.ts';
import { collectReferences } from '../../src/references/references.ts';
import { parseStrictJson } from '../../src/references/json.ts';
import { MODEL_BEARING_ROUTES, NEUTRAL_ROUTES } from '../../src/openwebui/surfaces.ts';
import { surfaceOf } from '../support/gate/sample-scope.ts';
import { askPython } from './python.ts';

const SEED = 20_260_101;
const sampled = <T>(arbitrary: fc.Arbitrary<T>, count: number) => fc.sample(arbitrary, { numRuns: count, seed: SEED });

/** A key or text with some letters escaped, as JSON allows. */
const spelled = (text: string) =>
  fc.array(fc.integer({ min: 0, max: 5 }), { minLength: text.length, maxLength: text.length }).map((dice) => {
    const letters = Array.from({ length: text.length }, (_none, at) => text.charAt(at)).map((letter, at) =>
      dice[at] === 0 ? `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}` : letter,
    );
    return `"${letters.join('')}"`;
  });
const KEYS = [
  'model',
  'models',
  'fallbacks',
  'params',
  'custom_params',
  'message_ids',
  'model_id',
  'extra_body',
  'id',
  'x',
];
const key = fc.constantFrom(...KEYS).chain(spelled);
const space = fc.constantFrom('', '', '', ' ', '\n', '\t', '\r\n', '\u00a0', '\f', '/**/');
const scalar = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom('A', 'F', 'acme/one', 'é', '😀').chain(spelled) },
  {
    weight: 2,
    arbitrary: fc
      .constantFrom(
        '"F"',
        '["A","F"]',
        '{"model":"F"}',
        '{"model":"A","model":"F"}',
        'NaN',
        ' "F"',
        '\\"F\\"',
        '[F]',
        '"\\u0046"',
      )
      .map((text) => JSON.stringify(text)),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom('NaN', '-Infinity', '1', '-0', '1e5', 'null', 'true', '"\\ud83d"', '"\n"', '01', '""'),
  },
);
const { value } = fc.letrec<{ value: string; object: string; list: string }>((tie) => ({
  value: fc.oneof({ maxDepth: 4 }, scalar, tie('object'), tie('list')),
  object: fc
    .array(fc.tuple(key, space, tie('value')), { maxLength: 5 })
    .map((entries) => `{${entries.map(([name, gap, inner]) => `${gap}${name}${gap}:${inner}`).join(',')}}`),
  list: fc.array(tie('value'), { maxLength: 3 }).map((items) => `[${items.join(',')}]`),
}));
/** Objects whose keys stand there once, with mostly what the backend expects under them. */
const question = fc
  .uniqueArray(fc.constantFrom(...KEYS), { minLength: 1, maxLength: 5 })
  .chain((names) =>
    fc
      .tuple(
        ...names.map((name) =>
          fc
            .tuple(spelled(name), space, name === 'model' ? scalar : value)
            .map(([text, gap, inner]) => `${text}${gap}:${inner}`),
        ),
      )
      .map((entries) => `{${entries.join(',')}}`),
  );
const custom = fc
  .tuple(scalar, scalar)
  .map(([one, other]) => `{"model":"A","params":{"custom_params":{"model":${one},"models":${other}}}}`);
const text = fc.oneof(
  { weight: 3, arbitrary: question },
  { weight: 2, arbitrary: custom },
  { weight: 1, arbitrary: value },
);
/** Clean ones and odd ones: a mark in front, another encoding, a byte changed, something behind. */
const body = fc.tuple(text, fc.integer({ min: 0, max: 19 }), fc.nat(400)).map(([whole, die, at]) => {
  const bytes = Buffer.from(whole);
  if (die === 0) return Buffer.from(`\ufeff${whole}`);
  if (die === 1) return Buffer.from(whole, 'utf16le');
  if (die === 2) return Buffer.from(whole, 'utf16le').swap16();
  if (die === 3) return Buffer.concat([bytes, Buffer.from(['}', ' ', '\u0000', '{}'][at % 4] ?? '')]);
  if (die === 4 && bytes.length > 0) bytes[at % bytes.length] = at % 256;
  return bytes;
});

function readByGate(bytes: Buffer) {
  try {
    const parsed = parseStrictJson(bytes);
    const { models, unreadable } = collectReferences(parsed);
    return unreadable === undefined ? { parsed, models } : undefined;
  } catch {
    return undefined;
  }
}

describe('what passes is read alike by Python', () => {
  test('bodies: the same value, and no model that the gate did not judge', { timeout: 60_000 }, () => {
    const bodies = sampled(body, 4000);
    const read = askPython<{ error?: string; models: string[]; value: unknown }>(
      'as_the_backend_reads.py',
      bodies.map((bytes) => ({ body: bytes.toString('base64') })),
    );
    let passed = 0;
    let naming = 0;
    bodies.forEach((bytes, at) => {
      const ours = readByGate(bytes);
      if (ours === undefined) return;
      passed++;
      const theirs = read[at];
      const shown = bytes.toString();
      expect(theirs?.error, shown).toBeUndefined();
      // -0 and 0 are one number to the backend
      expect(JSON.stringify(sortedKeys(ours.parsed)), shown).toBe(JSON.stringify(sortedKeys(theirs?.value)));
      if ((theirs?.models.length ?? 0) > 0) naming++;
      expect(
        theirs?.models.filter((model) => !(ours.models as ReadonlySet<string>).has(model)),
        shown,
      ).toEqual([]);
    });
    // otherwise the test would say nothing
    expect(passed).toBeGreaterThan(800);
    expect(naming).toBeGreaterThan(150);
  });

  test('paths: the same path, and the same surface', { timeout: 60_000 }, () => {
    const routes = [...MODEL_BEARING_ROUTES, ...NEUTRAL_ROUTES];
    const segment = fc.oneof(
      { weight: 8, arbitrary: fc.constantFrom(...new Set(routes.flatMap(([, path]) => path.split('/')))) },
      {
        weight: 2,
        arbitrary: fc.constantFrom(
          '0',
          'x',
          '%2e',
          '..',
          '.',
          '%2F',
          '%00',
          '%0a',
          '%25',
          '%41pi',
          'caf%C3%A9',
          '%ff',
          '%',
          'a;b',
          '%3F',
          '**',
          ':id',
        ),
      },
    );
    const known = fc.constantFrom(...routes).map(([, path]) => path.replace('**', 'x/y').replace(/:\w+/g, '7'));
    const encoded = known.chain((path) =>
      fc
        .nat(path.length - 1)
        .map((at) => `${path.slice(0, at)}%${path.charCodeAt(at).toString(16)}${path.slice(at + 1)}`),
    );
    const tail = fc.constantFrom('', '', '', '/', '%0a', '?a=b', '/0', '//', '#x', ';x', '%20');
    const target = fc
      .tuple(
        fc.oneof(
          known,
          encoded,
          fc.array(segment, { maxLength: 6 }).map((all) => `/${all.join('/')}`),
        ),
        tail,
      )
      .map(([path, end]) => path + end);
    const asked = sampled(fc.tuple(target, fc.constantFrom('GET', 'POST', 'DELETE')), 6000);
    const read = askPython<{ path: string; route: number }>('as_the_backend_reads.py', [
      { routes: routes.map(([method, path]) => [method, path]) },
      ...asked.map(([one, method]) => ({ target: one, method })),
    ]);
    let passed = 0;
    asked.forEach(([one, method], at) => {
      const ours = orUndefined(() => readTarget(one));
      if (ours === undefined) return;
      passed++;
      const theirs = read[at];
      expect(ours.path, one).toBe(theirs?.path);
      const { surface } = surfaceOf(method, one);
      const unlisted = ours.path.startsWith('/api/') ? { kind: 'neutral', unlisted: true } : { kind: 'neutral' };
      expect(surface, `${method} ${one}`).toEqual(routes[theirs?.route ?? -1]?.[2] ?? unlisted);
    });
    expect(passed).toBeGreaterThan(1500);
  });
});

function orUndefined<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

function sortedKeys(given: unknown): unknown {
  if (Array.isArray(given)) return given.map(sortedKeys);
  if (typeof given !== 'object' || given === null) return Object.is(given, -0) ? 0 : given;
  return Object.entries(given)
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .map(([name, inner]) => [name, sortedKeys(inner)]);
}
