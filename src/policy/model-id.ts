/**
 * The id of a model, exactly as the backend spells it: exact, case-sensitive, never split (ids contain `/` and `:`).
 * Source: `model.id`, TEXT primary key (Open WebUI 0.6.0 to 0.12.4).
 */
declare const brand: unique symbol;
export type ModelId = string & { readonly [brand]: 'ModelId' };

/** Longest id that is looked up; the backend's own column is unbounded, real ids stay below 200 characters. */
export const MAX_MODEL_ID_LENGTH = 1024;

/**
 * @returns the id, or undefined where the value cannot name a model: not a string, empty, too long, or with a
 *   control character or lone surrogate that two parsers could read differently
 */
export function parseModelId(value: unknown): ModelId | undefined {
  if (typeof value !== 'string' || value === '' || value.length > MAX_MODEL_ID_LENGTH) return undefined;
  if (CONTROL.test(value) || !value.isWellFormed()) return undefined;
  return value as ModelId;
}

const CONTROL = /[\u0000-\u001f\u007f]/;
