import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { SecurityHeader } from '../../src/config/schema.ts';
import { secureAnswer } from '../../src/transport/security-headers.ts';

const FIELDS: readonly SecurityHeader[] = [
  'x-frame-options',
  'x-content-type-options',
  'x-xss-protection',
  'referrer-policy',
  'strict-transport-security',
  'permissions-policy',
  'cross-origin-resource-policy',
  'cross-origin-opener-policy',
  'cross-origin-embedder-policy',
  'content-security-policy',
  'content-security-policy-report-only',
];
const TAKEN = ['server', 'via', 'x-powered-by', 'x-process-time', 'ratelimit'];
const OTHERS = ['content-type', 'etag', 'set-cookie', 'x-frame-option', '__proto__', 'constructor', 'x-request-id'];

const line = fc.tuple(
  fc.constantFrom(...FIELDS, ...FIELDS, ...TAKEN, ...OTHERS),
  fc.oneof(
    fc.constantFrom('', ' ', 'DENY', 'deny', 'A', 'B', 'token=a; Path=/', 'x=1; Secure'),
    fc.string({ maxLength: 6 }),
  ),
);
const answers = fc.array(line, { maxLength: 16 });
const settings: fc.Arbitrary<Parameters<typeof secureAnswer>[0]> = fc.record({
  fields: fc
    .array(fc.constantFrom('off', 'backend', 'OURS'), { minLength: FIELDS.length, maxLength: FIELDS.length })
    .map((values) => Object.fromEntries(FIELDS.map((name, index) => [name, values[index]])) as never),
  backendFields: fc.constantFrom('wins', 'replaced'),
  stated: fc.constant(['ratelimit']),
  cookieRules: fc.constant((name: string) =>
    name === 'token' ? ({ secure: true, sameSite: undefined } as const) : undefined,
  ),
});

const pairsOf = (lines: readonly string[]) =>
  lines.flatMap((name, index) => (index % 2 === 0 ? [[name, lines[index + 1] ?? ''] as const] : []));
const isOurs = (name: string) => (FIELDS as readonly string[]).includes(name.toLowerCase());

test('each security field stands once at most, and everything else stands as it did', () => {
  fc.assert(
    fc.property(answers, settings, fc.constantFrom(101, 200, 204, 304, 502), (sent, options, status) => {
      const lines = sent.flat();
      secureAnswer(options)(lines, status);
      const after = pairsOf(lines);
      for (const name of FIELDS) {
        const ours = options.fields[name];
        const theirs = sent.filter(([written, value]) => written.toLowerCase() === name && value.trim() !== '');
        const left = after.filter(([written]) => written.toLowerCase() === name).map(([, value]) => value);
        expect(left.length).toBeLessThanOrEqual(1);
        if (ours === 'off') expect(left).toEqual([]);
        else if (ours === 'backend') expect(left.length).toBe(theirs.length === 0 ? 0 : 1);
        else if (status !== 101) expect(left.length).toBe(1);
        if (ours === 'OURS' && options.backendFields === 'replaced' && status !== 101) expect(left).toEqual(['OURS']);
        if (theirs.length === 1 && ours !== 'off' && options.backendFields === 'wins')
          expect(left).toEqual([theirs[0]?.[1]]);
      }
      const untouched = (pairs: readonly (readonly [string, string])[]) =>
        pairs
          .filter(([name]) => !isOurs(name) && !TAKEN.includes(name.toLowerCase()))
          .map(([name, value]) => `${name}: ${value.replace(/; Secure$/, '')}`);
      expect(untouched(after)).toEqual(untouched(sent));
    }),
    { numRuns: 1_000 },
  );
});

test('doing it twice is doing it once', () => {
  fc.assert(
    fc.property(answers, settings, (sent, options) => {
      const edit = secureAnswer(options);
      const once = sent.flat();
      edit(once, 200);
      const twice = [...once];
      edit(twice, 200);
      const sorted = (lines: readonly string[]) =>
        pairsOf(lines)
          .map((pair) => pair.join(': '))
          .sort();
      expect(sorted(twice)).toEqual(sorted(once));
    }),
    { numRuns: 500 },
  );
});
