/** "Did you mean …": of names that there are, the one that a mistyped one was most likely meant to be. Pure. */

/** Nobody has mistyped a longer one by hand. */
const LONGEST = 120;
const MOST_EDITS = 3;

/** @returns the closest name, letter case aside, or undefined where none is close enough to be worth saying */
export function nearest(typed: string, known: Iterable<string>): string | undefined {
  if (typed.length > LONGEST) return undefined;
  const wanted = typed.trim().toLowerCase();
  let best: { readonly name: string; readonly distance: number } | undefined;
  const most = editsWorth(wanted.length);
  for (const name of known) {
    if (Math.abs(name.length - wanted.length) > most) continue;
    const distance = editDistance(wanted, name.toLowerCase());
    if (distance <= most && (best === undefined || distance < best.distance)) best = { name, distance };
  }
  return best?.name;
}

/** How many edits of a name that long can still be a mistake. */
export const editsWorth = (length: number): number => Math.min(MOST_EDITS, Math.ceil(length / 2.5));

/** Levenshtein's distance, one row at a time. */
export function editDistance(left: string, right: string): number {
  const others = Array.from(right);
  let row = Array.from({ length: others.length + 1 }, (_, index) => index);
  for (const [i, letter] of Array.from(left).entries()) {
    const next = [i + 1];
    for (const [j, other] of others.entries()) {
      const replaced = (row[j] ?? 0) + (letter === other ? 0 : 1);
      next.push(Math.min(replaced, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return row[others.length] ?? 0;
}
