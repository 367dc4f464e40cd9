/** "Did you mean …": the existing name that a mistyped one was most likely meant to be. Pure. */
import { distance } from 'fastest-levenshtein';

const LONGEST = 120;

/** @returns the closest name, letter case aside, or undefined where none is close enough */
export function nearest(typed: string, known: Iterable<string>): string | undefined {
  if (typed.length > LONGEST) return undefined;
  const wanted = typed.trim().toLowerCase();
  const most = Math.min(3, Math.ceil(wanted.length / 2.5));
  let best: string | undefined;
  let least = most + 1;
  for (const name of known) {
    if (Math.abs(name.length - wanted.length) > most) continue;
    const edits = distance(wanted, name.toLowerCase());
    if (edits < least) [best, least] = [name, edits];
  }
  return best;
}
