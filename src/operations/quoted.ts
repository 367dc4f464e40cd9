/** What an operator has typed, or a database holds, made harmless inside a sentence. */

/** Ids may be of any length, and nobody reads the end of a long one. */
const LONGEST = 120;

/** @returns the text between quotes as JSON writes it, in at most 120 characters; what cannot be seen is escaped, and what marks a command */
export function quoted(text: string): string {
  const plain = JSON.stringify(text).replace(
    /[`\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
  return plain.length > LONGEST ? `${plain.slice(0, LONGEST - 1)}…"` : plain;
}

/** @returns the first `most` of them, such as `"a", "b" and 3 more` */
export function quotedFew(texts: readonly string[], most: number): string {
  const shown = texts.slice(0, most).map((text) => quoted(text));
  const rest = texts.length - shown.length;
  return `${shown.join(', ')}${rest > 0 ? ` and ${rest.toLocaleString('en')} more` : ''}`;
}
