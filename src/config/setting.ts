/** What one setting is, and the kinds that occur several times. The list of them stands in `settings.ts`. */
import type { z } from 'zod';
import * as value from './value.ts';

export interface Setting<T> {
  readonly schema: z.ZodType<T, string>;
  /** Ends the sentence "expected …". */
  readonly expected: string;
  /** As an operator types it; absent where no value stands for "not set". */
  readonly fallback?: string;
  readonly example: string;
  /** One line for `config/README.md`. */
  readonly meaning: string;
  /** Never shown, never taken from the YAML file. */
  readonly secret?: true;
}

/** As it is written: this only checks that value, fallback and schema fit together. */
export const setting = <T>(definition: Setting<T>): Setting<T> => definition;

/** Milliseconds, as the two below. */
const SECOND = 1_000;
export const HOUR = 3_600_000;
export const DAY = 24 * HOUR;

/** A span of time, in milliseconds. */
export const time = (fallback: string, lowestMs: number, highestMs: number, meaning: string): Setting<number> => ({
  schema: value.duration(lowestMs, highestMs),
  expected: `a duration from ${shortest(lowestMs)} to ${highestMs / HOUR}h: a whole number with ms, s, m, h or d`,
  fallback,
  example: fallback,
  meaning,
});
const shortest = (ms: number): string => (ms < SECOND ? `${ms}ms` : `${ms / SECOND}s`);

/** On or off. */
export const flag = (fallback: string, meaning: string): Setting<boolean> => ({
  schema: value.boolean,
  expected: '`true` or `false`',
  fallback,
  example: fallback,
  meaning,
});

/** One of two words, of which the first is the default. */
export const choice = <const W extends string>(words: readonly [W, W], meaning: string): Setting<W> => ({
  schema: value.word(...words),
  expected: `\`${words[0]}\` or \`${words[1]}\``,
  fallback: words[0],
  example: words[0],
  meaning,
});

/** Where a listener binds. */
export const host = (fallback: string, meaning: string): Setting<string> => ({
  schema: value.host,
  expected: 'an IP address or a host name',
  fallback,
  example: fallback,
  meaning,
});

/** Of a listener. */
export const port = (fallback: string, meaning: string): Setting<number> => ({
  schema: value.port,
  expected: 'a port number from 0 to 65535, where 0 lets the system choose',
  fallback,
  example: fallback,
  meaning,
});

/** One line of text, in characters; not set where it is not given. */
export const text = (longest: number, expected: string, example: string, meaning: string): Setting<string> => ({
  schema: value.text(longest),
  expected,
  example,
  meaning,
});

/** A key, never shown; not set where it is not given. */
export const secretKey = (expected: string, meaning: string): Setting<string> => ({
  schema: value.secret,
  expected,
  example: '<the value that the backend has>',
  meaning,
  secret: true,
});
