/** How many columns of a terminal a text takes, and where its lines break. */
import { stripVTControlCharacters } from 'node:util';

/** @returns the number of columns; 2 for a character of East Asian scripts or an emoji, 0 for a mark on another one */
export function widthOf(text: string): number {
  if (PLAIN.test(text)) return text.length;
  let width = 0;
  for (const { segment } of graphemes.segment(text)) width += MARK.test(segment) ? 0 : WIDE.test(segment) ? 2 : 1;
  return width;
}

const graphemes = new Intl.Segmenter();
/** One column each; the segmenter takes a thousand times as long. */
const PLAIN =
  /^[ -~\u00a0-\u02ff\u0370-\u03ff\u0400-\u0482\u2010-\u2027\u2030-\u205e\u20a0-\u20cf\u2100-\u22ff\ufffd]*$/;
const MARK = /^\p{M}/u;
/** Unicode's East_Asian_Width W and F in ranges, and what is drawn as a picture by itself (UAX #11, UTS #51). */
const WIDE =
  /^[\u1100-\u115f\u2e80-\u303e\u3041-\u33ff\u3400-\u4dbf\u4e00-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6\u{17000}-\u{18cff}\u{1b000}-\u{1b2ff}\u{20000}-\u{3fffd}]|^\p{Emoji_Presentation}|\ufe0f/u;

/**
 * Breaks long lines between words; what follows stands under the text of the last column, or behind the indent. A
 * command goes on behind a backslash, as a shell reads it; `NAME=value` and what stands between backticks stay whole.
 */
export const fitLines = (text: string, columns: number): string =>
  text
    .split('\n')
    .map((line) => fitLine(line, columns))
    .join('\n');

const SETTING = /^[A-Z_]+=/;
const COMMAND = /^ +(?:\$|npx|node|modelgate|chmod|mkdir|kill|[A-Z_]+=\S+) /;
const WORDS = /\s*(?:`[^`]*`|\S)+|\s+$/g;
const SHELL_WORDS = /\s*(?:'[^']*'|"[^"]*"|\S)+/g;
/** Text in fewer columns than these is hard to read. */
const NARROW = 20;

function fitLine(line: string, columns: number): string {
  const plain = stripVTControlCharacters(line);
  if (widthOf(plain) <= columns || SETTING.test(plain)) return line;
  if (COMMAND.test(plain)) {
    return filled(line.match(SHELL_WORDS) ?? [], columns - 2, 4, ' \\');
  }
  const starts = [...plain.matchAll(/(?:^ | ) +(?=\S)/g)].map(({ 0: gap, index }) => index + gap.length);
  const hang = starts.findLast((start) => start <= columns - NARROW) ?? 0;
  return filled(line.match(WORDS) ?? [], columns, hang, '');
}

/** @param hang columns before each line but the first @param end what stands behind each line but the last */
function filled(words: readonly string[], columns: number, hang: number, end: string): string {
  let [text, width] = ['', 0];
  for (const word of words) {
    const size = widthOf(stripVTControlCharacters(word));
    const isBreak = width > hang && width + size > columns;
    const shown = isBreak ? word.trimStart() : word;
    text += isBreak ? `${end}\n${' '.repeat(hang)}${shown}` : shown;
    width = isBreak ? hang + widthOf(stripVTControlCharacters(shown)) : width + size;
  }
  return text;
}
