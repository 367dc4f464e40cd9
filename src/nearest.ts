/** "Did you mean …": the existing name that a mistyped one was most likely meant to be. Pure. */
import { distance } from 'fastest-levenshtein';

/** Longer names are not typed by hand. */
const LONGEST = 120;
const MOST_EDITS = 3;

/** @returns the closest name, letter case aside, or undefined where none is close enough */
export function nearest(typed: string, known: Iterable<string>): string | undefined {
  if (typed.length > LONGEST) return undefined;
  const wanted = typed.trim().toLowerCase();
  const most = editsWorth(wanted.length);
  let best: { readonly name: string; readonly edits: number } | undefined;
  for (const name of known) {
    if (Math.abs(name.length - wanted.length) > most) continue;
    const edits = distance(wanted, name.toLowerCase());
    if (edits <= most && (best === undefined || edits < best.edits)) best = { name, edits };
  }
  return best?.name;
}

/** @returns how many edits of a name of this length can still be a mistake */
const editsWorth = (length: number): number => Math.min(MOST_EDITS, Math.ceil(length / 2.5));
