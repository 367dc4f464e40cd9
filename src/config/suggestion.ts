/** "Did you mean …": the known name that a mistyped one was most likely meant to be. Pure. */

const LONGEST_NAME = 80;

/** @returns the closest of `known`, or undefined where none is close enough to be worth saying */
export function suggest(name: string, known: readonly string[]): string | undefined {
  if (name.length > LONGEST_NAME) return undefined;
  const wanted = name.toUpperCase().replaceAll('-', '_');
  // the common prefix says nothing about what was meant, and the backend's own settings do not have it
  const letters = wanted.replace(/^MODELGATE_/, '');
  let best: { name: string; distance: number } | undefined;
  for (const candidate of known) {
    const contained = letters.length >= 4 && `_${candidate}_`.includes(`_${letters}_`);
    const distance = contained ? 1 : editDistance(wanted, candidate);
    if (best === undefined || distance < best.distance) best = { name: candidate, distance };
  }
  return best !== undefined && best.distance <= Math.min(3, Math.ceil(letters.length / 2.5)) ? best.name : undefined;
}

/** Levenshtein's distance, one row at a time. */
function editDistance(left: string, right: string): number {
  let row = Array.from({ length: right.length + 1 }, (_, index) => index);
  for (const [i, letter] of Array.from(left).entries()) {
    const next = [i + 1];
    for (const [j, other] of Array.from(right).entries()) {
      const replaced = (row[j] ?? 0) + (letter === other ? 0 : 1);
      next.push(Math.min(replaced, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return row[right.length] ?? 0;
}
