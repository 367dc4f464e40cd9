/** What stages change in the header lines of an answer, and what they need for it. */

/**
 * Changes the final header lines of an answer in place: the upstream's, a relayed refusal's, or the gate's own.
 * Called once an answer, never for an interim one. Must not throw.
 */
export type AnswerEdit = (lines: string[], status: number) => void;

/** Takes every line with one of these lower-case names out of the list. */
export function removeFields(lines: string[], names: ReadonlySet<string>): void {
  let kept = 0;
  for (let index = 0; index + 1 < lines.length; index += 2) {
    const name = lines[index] ?? '';
    if (names.has(name.toLowerCase())) continue;
    if (kept !== index) {
      lines[kept] = name;
      lines[kept + 1] = lines[index + 1] ?? '';
    }
    kept += 2;
  }
  lines.length = kept;
}
