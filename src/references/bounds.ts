/** How much a body may name: each name is judged, and each id compared, while all others wait. */
import { GatewayError } from '../errors.ts';

/** Names of models. Each may have to be looked up: some 25 ms for all of them. */
const MOST_NAMES = 5_000;
/** Names and ids of messages together, and their characters. They are taken over from a thread. */
const MOST_ENTRIES = 100_000;
const MOST_CHARACTERS = 8_000_000;

/** @throws GatewayError `body_too_complex` */
export function boundNames(names: number): void {
  if (names > MOST_NAMES) throw tooMany(names, 'names of models', MOST_NAMES);
}

/** @throws GatewayError `body_too_complex` */
export function boundEntries(entries: number): void {
  if (entries > MOST_ENTRIES) throw tooMany(entries, 'names of models and ids of messages', MOST_ENTRIES);
}

/** @param record plain values, maps and sets of them @throws GatewayError `body_too_complex` */
export function boundRecord(record: unknown): void {
  const found = { entries: 0, characters: 0 };
  count(record, found);
  boundEntries(found.entries);
  if (found.characters > MOST_CHARACTERS)
    throw tooMany(found.characters, 'characters in names and ids', MOST_CHARACTERS);
}

function count(value: unknown, found: Record<'entries' | 'characters', number>): void {
  if (typeof value === 'string') {
    found.entries++;
    found.characters += value.length;
  } else if (value instanceof Map || value instanceof Set) {
    for (const one of value as Iterable<unknown>) count(one, found);
  } else if (typeof value === 'object' && value !== null) {
    for (const one of Array.isArray(value) ? (value as unknown[]) : Object.values(value)) count(one, found);
  }
}

function tooMany(found: number, what: string, allowed: number): GatewayError {
  const [some, most] = [found, allowed].map((count) => count.toLocaleString('en'));
  return new GatewayError('body_too_complex', {
    detail: `Found ${some} or more ${what}. Allowed are ${most}. Send fewer in one request.`,
  });
}
