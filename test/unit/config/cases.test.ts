import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parseConfig } from '../../../src/config/parse.ts';
import { toRawConfig, type ConfigCase } from '../../support/gate/config-cases.ts';

const directory = new URL('../../config/', import.meta.url);
const names = readdirSync(directory).filter((name) => name.endsWith('.case.json'));

/** As JSON writes it, sets as lists. */
function toPlain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value, (_key, part: unknown) => (part instanceof Set ? [...part] : part)));
}

describe('parseConfig, by golden files', () => {
  test('there are golden files', () => expect(names.length).toBeGreaterThan(20));

  for (const name of names) {
    const golden = JSON.parse(readFileSync(new URL(name, directory), 'utf8')) as ConfigCase;
    test(`${name}: ${golden.title}`, () => {
      const parsed = parseConfig(toRawConfig(golden));
      if (parsed.issues !== undefined) {
        expect(parsed.issues).toEqual(golden.issues);
      } else {
        expect(golden.issues, 'issues were expected').toBeUndefined();
        expect(toPlain(parsed.config)).toMatchObject(golden.config ?? {});
      }
    });
  }
});
