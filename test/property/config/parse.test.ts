import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type RawConfig, parseConfig, parseStoreConfig } from '../../../src/config/parse.ts';
import { describeIssues } from '../../../src/config/issue.ts';
import { describeSetting, SETTING_NAMES } from '../../../src/config/settings.ts';

const names = [...SETTING_NAMES, 'MODELGATE_CONFIG', 'MODELGATE_UNKNOWN', 'DATABASE_TYPE', '__proto__', 'constructor'];
const examples = SETTING_NAMES.map((name) => describeSetting(name).example);
const anyText = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.constantFrom(...examples, '', 'true', '0', '1s', '[::]', 'a,b'),
);

const environments = fc.dictionary(fc.oneof(fc.constantFrom(...names), fc.string()), anyText);
const raws: fc.Arbitrary<RawConfig> = fc.record(
  {
    environment: environments,
    file: fc.record({
      name: fc.string(),
      values: fc.oneof(fc.anything(), fc.dictionary(fc.constantFrom(...names), fc.anything())),
    }),
    directory: fc.constant('/srv'),
    readSecret: fc.constantFrom(
      () => 'key\n',
      () => '',
      () => {
        throw new Error('which does not exist');
      },
      () => {
        // eslint-disable-next-line @typescript-eslint/only-throw-error -- whatever is thrown becomes an issue
        throw 'no error at all';
      },
    ),
  },
  { requiredKeys: ['environment', 'directory', 'readSecret'] },
);

describe('parseConfig, for every input', () => {
  test('never throws, and gives either a frozen configuration or at least one issue', () => {
    fc.assert(
      fc.property(raws, (raw) => {
        for (const parsed of [parseConfig(raw), parseStoreConfig(raw)]) {
          if (parsed.issues === undefined)
            expect(Object.isFrozen(parsed.config) && Object.isFrozen(parsed.config.policy)).toBe(true);
          else expect(parsed.issues.length).toBeGreaterThan(0);
        }
      }),
      { numRuns: 500 },
    );
  });

  test('says what was found and what is expected in every issue', () => {
    fc.assert(
      fc.property(raws, (raw) => {
        for (const issue of parseConfig(raw).issues ?? []) {
          expect(issue.found).not.toBe('');
          expect(issue.expected).not.toBe('');
          expect(issue.found).not.toMatch(/Invalid input|unexplained|undefined/);
        }
      }),
      { numRuns: 300 },
    );
  });

  test('never shows the value of a secret or of a variable that it does not know', () => {
    const needle = 'n33dle-that-must-not-be-seen';
    const secrets = SETTING_NAMES.filter((name) => describeSetting(name).secret);
    const hidden = fc.constantFrom(...secrets, 'MODELGATE_TOKEN', 'MODELGATE_API_KEY');
    fc.assert(
      fc.property(raws, hidden, fc.boolean(), (raw, name, isOnDoor) => {
        const door = isOnDoor ? { MODELGATE_PROVIDER_PORT: '8081' } : {};
        const parsed = parseConfig({ ...raw, environment: { ...raw.environment, ...door, [name]: needle } });
        expect(describeIssues(parsed.issues ?? [])).not.toContain(needle);
      }),
      { numRuns: 500 },
    );
  });

  test('never shows what a file of keys holds', () => {
    const needle = 'n33dle-that-must-not-be-seen';
    const around = fc.constantFrom(
      '',
      'ollama:11434: ',
      'other: ',
      '- ',
      '{',
      '"',
      ' \n',
      '\t',
      ': ',
      '&a ',
      '*a',
      '\u0000',
    );
    const named = fc.constantFrom('MODELGATE_PROVIDER_KEYS_FILE', 'MODELGATE_PROVIDER_ACCESS_KEY_FILE');
    fc.assert(
      fc.property(around, around, named, fc.boolean(), (before, after, name, isLong) => {
        const content = `${before}${needle}${isLong ? needle : ''}${after}`;
        const environment = {
          MODELGATE_PROVIDER_PORT: '8081',
          MODELGATE_PROVIDERS: 'http://ollama:11434',
          MODELGATE_PROVIDER_ACCESS_KEY: needle.repeat(2),
          [name]: 'keys',
        };
        const { issues = [] } = parseConfig({ environment, directory: '/srv', readSecret: () => content });
        expect(issues.length).toBeGreaterThan(0);
        expect(describeIssues(issues)).not.toContain(needle);
      }),
    );
  });

  test('never shows the password of a URL', () => {
    const urls = fc.tuple(
      fc.constantFrom('MODELGATE_UPSTREAM_URL', 'DATABASE_URL', 'MODELGATE_PROVIDERS'),
      fc.constantFrom('http', 'postgresql', 'mysql'),
    );
    fc.assert(
      fc.property(urls, fc.stringMatching(/^[a-z0-9:@/?#]{0,6}$/), ([name, scheme], noise) => {
        const environment = { MODELGATE_PROVIDER_PORT: '1', [name]: `${scheme}://user:p4ssw0rd${noise}@host/x` };
        const parsed = parseConfig({ environment, directory: '/srv', readSecret: () => 'key' });
        expect(describeIssues(parsed.issues ?? [])).not.toContain('p4ssw0rd');
      }),
    );
  });
});
