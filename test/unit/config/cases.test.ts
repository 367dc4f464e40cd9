import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { type RawConfig, parseConfig } from '../../../src/config/parse.ts';

const directory = new URL('../../config/', import.meta.url);
const names = readdirSync(directory).filter((name) => name.endsWith('.case.json'));

/** One golden file: what an operator has typed, and what must come of it. */
interface ConfigCase {
  readonly title: string;
  readonly environment: Record<string, string>;
  /** The YAML file's text. */
  readonly file?: string;
  /** Other files that exist, by absolute path; relative paths start at `/srv`. */
  readonly files?: Record<string, string>;
  /** The part of the configuration that this case is about… */
  readonly config?: object;
  /** …or all of its mistakes. */
  readonly issues?: readonly object[];
}

function toRawConfig({ environment, file, files = {} }: ConfigCase): RawConfig {
  return {
    environment,
    directory: '/srv',
    readSecret(path) {
      const content = files[path];
      if (content === undefined) throw new Error(`"${path}", which does not exist`);
      return content;
    },
    ...(file === undefined
      ? {}
      : { file: { name: 'modelgate.yaml', values: parse(file, { schema: 'failsafe' }) as unknown } }),
  };
}

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
