/**
 * Models that stored parameters name: a preset's `params` overwrite `model` when the backend runs it (Open WebUI
 * 0.6.x, utils/payload.py), and what it does not know goes on to the provider, whose routing fields name models too.
 */
import { parseExactJson } from '../exact-json.ts';
import type { ModelId } from '../policy/model-id.ts';
import { parseModelId } from '../policy/model-id.ts';
import { namesModels } from '../policy/model-keys.ts';

const MAX_DEPTH = 32;

/** @param stored the column as SQLite gives it: JSON text, NULL, or whatever a hand has put there */
export function modelsInParameters(stored: unknown): readonly ModelId[] {
  if (typeof stored !== 'string' || stored === '' || stored === '{}') return [];
  return namedModels(parseJson(stored) ?? {});
}

/** @returns every model that a key of `parameters`, at any depth, names; what no id can be read from as its own text */
export function namedModels(parameters: unknown): readonly ModelId[] {
  const found = new Set<ModelId>();
  visit(parameters, false, found, 0);
  return [...found];
}

function visit(value: unknown, named: boolean, found: Set<ModelId>, depth: number): void {
  if (depth > MAX_DEPTH) return void found.add(unreadable('nested too deep'));
  if (typeof value === 'string') return visitText(value, named, found, depth);
  if (Array.isArray(value)) {
    for (const item of value) visit(item, named, found, depth + 1);
  } else if (typeof value === 'object' && value !== null) {
    for (const [key, item] of Object.entries(value)) {
      const names = namesModels(key) || key === 'preset' || (named && key === 'id');
      // LiteLLM's fallbacks are keyed by the model that they replace: {"a": ["b"]}
      if (named && !names && Array.isArray(item)) found.add(parseModelId(key) ?? unreadable(key));
      visit(item, names || (named && Array.isArray(item)), found, depth + 1);
    }
  } else if (named && value !== null && value !== undefined) {
    found.add(unreadable(JSON.stringify(value)));
  }
}

/** Values of `custom_params` are JSON inside a string, parsed once more by the backend. */
function visitText(text: string, named: boolean, found: Set<ModelId>, depth: number): void {
  const inner = /^\s*["[{]/.test(text) ? parseJson(text) : undefined;
  if (inner !== undefined && inner !== text) return visit(inner, named, found, depth + 1);
  if (named) found.add(parseModelId(text) ?? unreadable(text));
}

/** A stand-in that no grant covers but `*`: what cannot be read must not pass as "names nothing". */
const unreadable = (text: string): ModelId => `unreadable reference: ${text.slice(0, 80)}` as ModelId;

/**
 * Reads what Python's `json` reads: NaN and the infinities too, as null.
 * @returns the value, or undefined where the text is not JSON for the backend either, which then keeps the string
 */
export function parseJson(text: string): unknown {
  for (const candidate of [() => text, () => text.replaceAll(NOT_FINITE, 'null')]) {
    try {
      return parseExactJson(candidate());
    } catch {
      // the next candidate, or none
    }
  }
  return undefined;
}

/** Within a string too: a name that holds such a word becomes another one, which nobody was granted. */
const NOT_FINITE = /-?\b(?:NaN|Infinity)\b/g;
