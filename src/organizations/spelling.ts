/** What about an id, as somebody has typed it, makes another one likely: no id of a provider looks like this. Pure. */
import { quoted } from '../backend-file/text.ts';

export interface Doubt {
  /** What was found, to follow the id: `ends in a space`. */
  readonly found: string;
  /** What was meant most likely; none where nothing can be guessed. */
  readonly meant: readonly string[];
}

/**
 * @param known ids that there are, whatever they look like
 * @returns why the text is hardly what was meant, or undefined where nothing is odd about it
 */
export function doubtOf(id: string, known: ReadonlySet<string> = NONE): Doubt | undefined {
  if (known.has(id)) return undefined;
  for (const [isOdd, found, mend] of ODDITIES) {
    if (!isOdd.test(id)) continue;
    const meant = mend(id).filter((part) => part !== '' && part !== id);
    return { found, meant: meant.flatMap((part) => doubtOf(part, known)?.meant ?? [part]) };
  }
  const parts = id.split(' ');
  return parts.length > 1 && parts.every((part) => known.has(part)) ? { found: A_LIST, meant: parts } : undefined;
}

const NONE: ReadonlySet<string> = new Set();
const A_LIST = 'looks like a list, and an id is never split';

type Oddity = readonly [isOdd: RegExp, found: string, mend: (id: string) => readonly string[]];

const without =
  (part: RegExp, instead = '') =>
  (id: string): readonly string[] => [id.replace(part, instead)];

/** Controls, what turns or hides the text around it, and what has no width. */
const UNSEEN =
  /[\u0000-\u0008\u000e-\u001f\u007f-\u0084\u0086-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb]|[\u{e0000}-\u{e0fff}]/u;

/** The first that fits says what is wrong. */
const ODDITIES: readonly Oddity[] = [
  [UNSEEN, 'holds a character that cannot be seen', without(new RegExp(UNSEEN.source, 'gu'))],
  [/^\s+$/u, 'is nothing but space', () => []],
  [/^\s/u, 'begins with a space', (id) => [id.trim()]],
  [/\s$/u, 'ends in a space', (id) => [id.trim()]],
  [/[^\S ]/u, 'holds a space of another kind, or a line break', without(/[^\S ]+/gu, ' ')],
  [/^(["'`“”„‘’«»]).*["'`“”„‘’«»]$/u, 'stands between quotes', (id) => [id.slice(1, -1)]],
  [/^["'`“”„]|["'`“”„]$/u, 'has a quote at one end', without(/^["'`“”„]|["'`“”„]$/gu)],
  [/^[^\s,;]*(?:\s*[,;]\s*[^\s,;]*)+$/, A_LIST, (id) => id.split(/[,;]/).map((part) => part.trim())],
  [/^[a-z]+:\/\//i, 'is an address', () => []],
  [/%[0-9a-f]{2}/i, 'is percent-encoded', (id) => [decoded(id)]],
  [/\s\*$/u, 'has a space before its *', without(/\s+\*$/u, '*')],
  [/\\\*$/, 'has a backslash before its *', without(/\\+\*$/, '*')],
  [/\/\.\*$/, 'ends in .*, where only the * stands for anything', without(/\.\*$/, '*')],
  [/\/$/, 'ends in a slash', (id) => [`${id}*`]],
];

function decoded(id: string): string {
  try {
    return decodeURIComponent(id);
  } catch {
    return id;
  }
}

/** @returns `"a " ends in a space.` */
export const describeDoubt = (id: string, { found }: Doubt): string => `${quoted(id)} ${found}.`;
