/** "Did you mean …": the known name that a mistyped one was most likely meant to be. Pure. */
import { editDistance, editsWorth } from '../nearest.ts';

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
  return best !== undefined && best.distance <= editsWorth(letters.length) ? best.name : undefined;
}
