/**
 * Model ids that the backend's file names. Never all of them: the backend asks its providers for their models at run
 * time. So an id that is known is a help, and one that is not is no mistake.
 */
import { createSettings, idsOf } from '../backend-file/backend.ts';
import { quoted } from '../backend-file/text.ts';
import { nearest } from '../nearest.ts';
import type { Connection } from '../store/database.ts';
import { type Schema, columnsOf } from '../store/schema.ts';
import { isObject } from '../references/json.ts';

/** @returns ids of presets and overridden models, of functions, of arenas, and those that connections list one by one */
export function readKnownModels(connection: Connection, schema: Schema): ReadonlySet<string> {
  const known = new Set(connection.prepare<[], string>('SELECT id FROM model').pluck().all());
  if (columnsOf(connection, 'function').has('type')) {
    const pipes = connection.prepare<[], string>("SELECT id FROM function WHERE type = 'pipe'").pluck();
    for (const id of pipes.all()) known.add(id);
  }
  const setting = createSettings(connection, schema);
  for (const key of ['openai.api_configs', 'ollama.api_configs'] as const) {
    for (const id of modelsOfConnections(setting(key))) known.add(id);
  }
  for (const id of idsOf(setting('evaluation.arena.models'))) known.add(id);
  return known;
}

/** @returns an id that differs in its letter case, or has a provider before it or `:latest` behind it; else the nearest */
export function closestModel(id: string, known: Iterable<string>): string | undefined {
  const ids = [...known];
  const typed = id.trim().toLowerCase();
  const alike = ids.find((candidate) => {
    const other = candidate.toLowerCase();
    return [typed, `${typed}:latest`].includes(other) || other.endsWith(`/${typed}`) || other.endsWith(`.${typed}`);
  });
  return alike ?? nearest(typed, ids);
}

/** `{"0": {"prefix_id": "eu", "model_ids": ["gpt-4o"]}}` gives `eu.gpt-4o` (routers/openai.py, 0.6.18 and 0.12.4). */
function modelsOfConnections(connections: unknown): readonly string[] {
  if (!isObject(connections)) return [];
  return Object.values(connections)
    .filter(isObject)
    .flatMap(({ prefix_id: prefix, model_ids: ids }) =>
      (Array.isArray(ids) ? ids : [])
        .filter((id) => typeof id === 'string')
        .map((id) => (typeof prefix === 'string' && prefix !== '' ? `${prefix}.${id}` : id)),
    );
}

/** @returns whether an answer that is stored came from this model; false where the file cannot tell quickly */
export function createUseFinder(connection: Connection, { chatMessage }: Schema): (model: string) => boolean {
  // the model of each answer has a column of its own from 0.8.0 on; without its index the whole table would be read
  const isQuick =
    chatMessage &&
    connection
      .prepare(
        `SELECT 1 FROM pragma_index_list('chat_message') list, pragma_index_info(list.name) info
         WHERE info.seqno = 0 AND info.name = 'model_id'`,
      )
      .get() !== undefined;
  if (!isQuick) return () => false;
  const statement = connection.prepare('SELECT 1 FROM chat_message WHERE model_id = ? LIMIT 1');
  return (model) => statement.get(model) !== undefined;
}

// Ids that were typed and look like a mistake: no id of a provider looks like this.

export interface Doubt {
  /** The end of a sentence that begins with the id: `ends in a space`. */
  readonly found: string;
  /** The ids that were most likely meant. */
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

/** Controls, characters that turn or hide the text around them, and those without width. */
const UNSEEN =
  /[\u0000-\u0008\u000e-\u001f\u007f-\u0084\u0086-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb]|[\u{e0000}-\u{e0fff}]/u;

/** The first that matches is reported. */
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
