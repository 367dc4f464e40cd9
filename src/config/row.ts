/** What the list of settings says of one: how its text is read, and what it looks like. */
import type { z } from 'zod';

/** A setting without a default. @param secret never shown, never taken from the YAML file */
export const setting = <T>(kind: z.ZodType<T, string>, example: string, secret = false) => {
  const { description: expected = '' } = kind;
  return { schema: kind.optional(), expected, example, fallback: undefined, secret };
};

/** A setting that always has a value; its default is its example too, unless another is given. */
export const settingWithDefault = <T>(kind: z.ZodType<T, string>, fallback: string, example = fallback) => {
  const { description: expected = '' } = kind;
  return { schema: kind.prefault(fallback), expected, example, fallback, secret: false };
};
