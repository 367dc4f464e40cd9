/** What one setting is: the schema that reads its text, and the facts that operators read. `settings.ts` lists them. */
import { z } from 'zod';
import * as value from './value.ts';

export interface SettingFacts {
  /** Ends the sentence "expected …". */
  readonly expected: string;
  readonly example: string;
  /** One line for `config/README.md`. */
  readonly meaning: string;
  /** As an operator types it; absent where the setting may stay unset. */
  readonly fallback?: string;
  /** Never shown, never taken from the YAML file. */
  readonly secret?: true;
}

const FACTS = z.registry<SettingFacts>();

/** @throws TypeError for a schema that `setting` has not made */
export function factsOf(schema: z.ZodType): SettingFacts {
  const facts = FACTS.get(schema);
  if (facts === undefined) throw new TypeError('this schema is no setting');
  return facts;
}

/** A setting that may stay unset. */
export const setting = <T>(schema: z.ZodType<T, string>, facts: SettingFacts) =>
  schema.optional().register(FACTS, facts);

/** A setting that always has a value; its default is its example too, unless another is given. */
export const settingWithDefault = <T>(
  schema: z.ZodType<T, string>,
  fallback: string,
  facts: Omit<SettingFacts, 'fallback' | 'example'> & { readonly example?: string },
) => schema.prefault(fallback).register(FACTS, { example: fallback, ...facts, fallback });

/** Milliseconds, as the two below. */
const SECOND = 1_000;
export const HOUR = 3_600_000;
export const DAY = 24 * HOUR;

/** A span of time, in milliseconds. */
export const time = (fallback: string, lowestMs: number, highestMs: number, meaning: string) =>
  settingWithDefault(value.duration(lowestMs, highestMs), fallback, {
    expected: `a duration from ${shortest(lowestMs)} to ${highestMs / HOUR}h: a whole number with ms, s, m, h or d`,
    meaning,
  });
const shortest = (ms: number): string => (ms < SECOND ? `${ms}ms` : `${ms / SECOND}s`);

/** On or off. */
export const flag = (fallback: string, meaning: string) =>
  settingWithDefault(value.boolean, fallback, { expected: '`true` or `false`', meaning });

/** One of two words, of which the first is the default. */
export const choice = <const W extends string>(words: readonly [W, W], meaning: string) =>
  settingWithDefault(z.enum(words), words[0], { expected: `\`${words[0]}\` or \`${words[1]}\``, meaning });

/** Where a listener binds. */
export const host = (fallback: string, meaning: string) =>
  settingWithDefault(value.host, fallback, { expected: 'an IP address or a host name', meaning });

/** Of a listener. */
export const port = (fallback: string, meaning: string) =>
  settingWithDefault(value.port, fallback, {
    expected: 'a port number from 0 to 65535, where 0 lets the system choose',
    meaning,
  });

/** One line of text, at most `longest` characters; unset where it is not given. */
export const text = (longest: number, expected: string, example: string, meaning: string) =>
  setting(value.text(longest), { expected, example, meaning });

/** A key, never shown; unset where it is not given. */
export const secretKey = (expected: string, meaning: string) =>
  setting(value.secret, { expected, example: '<the value that the backend has>', meaning, secret: true });
