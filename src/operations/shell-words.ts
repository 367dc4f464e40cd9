/** Commands that a finding or an explanation advises, to be pasted into a shell whatever the ids and paths are. */

/** Nothing that bash, zsh or dash would change. */
const PLAIN = /^[\w@%+=:,./-]+$/;
/** What a terminal must not be shown, or would not show; and the backtick, which ends a command inside of a sentence. */
const HIDDEN =
  /[\u0000-\u001f`\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|\p{Cs}|[\u{e0000}-\u{e0fff}]/gu;
/** A longer word helps nobody who reads. */
const LONGEST_WORD = 300;

/** @returns the words in one line, each quoted where the shell would read it otherwise */
export const shellCommand = (...words: readonly string[]): string => words.map(shellWord).join(' ');

function shellWord(word: string): string {
  if (word.length > LONGEST_WORD) return '…';
  if (PLAIN.test(word)) return word;
  HIDDEN.lastIndex = 0;
  if (!HIDDEN.test(word)) return `'${word.replaceAll("'", "'\\''")}'`;
  const escaped = word.replace(/[\\']/g, '\\$&').replace(HIDDEN, escapeOf);
  return `$'${escaped}'`;
}

/** As `$'…'` of bash and zsh reads it. */
function escapeOf(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  if (code < 0x80) return `\\x${code.toString(16).padStart(2, '0')}`;
  return code > 0xffff ? `\\U${code.toString(16).padStart(8, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`;
}
