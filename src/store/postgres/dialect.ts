/** Our statements are SQLite's. What they mean to PostgreSQL: one small rewriting, by rules that name every difference. */
import { identifier } from './failure.ts';

/** With numbered places, and the name of each; a place without a name takes the next value. */
interface Translated {
  readonly text: string;
  readonly names: readonly (string | undefined)[];
}

const RULES: readonly (readonly [found: RegExp, instead: string])[] = [
  // `isOn` and `isOff`: the backend has booleans, our tables numbers, and tables made by hand either
  [/\(coalesce\(([\w.]+), 1\) = 1 OR \1 = '1' COLLATE BINARY\)/g, "(coalesce($1::text, '1') IN ('1', 'true'))"],
  [/\(([\w.]+) = 0 OR \1 = '0' COLLATE BINARY\)/g, "($1::text IN ('0', 'false'))"],
  [/\bmax\((?=\(coalesce|TRUE)/g, 'bool_or('],
  [/\bmin\((?=\(coalesce|TRUE)/g, 'bool_and('],
  // what a model's row has becomes a number of ours
  [/\bu\.is_active\b/g, 'u.is_active::integer'],
  // columns have types, and text is compared byte by byte; only an order is that of the database's language
  [/\btypeof\(([\w."]+)\) = 'text'/g, '$1 IS NOT NULL'],
  [/(?<!\bORDER BY .*) COLLATE BINARY/gs, ''],
  [/ COLLATE BINARY/g, ' COLLATE "C"'],
  [/\browid\b/g, 'ctid::text'],
  [/lower\(hex\(randomblob\(16\)\)\)/g, "replace(gen_random_uuid()::text, '-', '')"],
  [/\bjson_each\(/g, 'json_array_elements_text('],
  [/\bjson_group_array\(/g, 'json_agg('],
  [
    /\bdata -> \('\$\.' \|\| \?\) FROM config WHERE json_valid\(data, 2\)/g,
    "data #> string_to_array(?, '.') FROM config",
  ],
  [/\bCROSS JOIN (\w+(?: \w)?) ON\b/g, 'JOIN $1 ON'],
  // it chooses its indexes by itself, and gives a name without quotes in small letters
  [/ INDEXED BY \w+/g, ''],
  [/\bAS ([a-z]+[A-Z]\w*)/g, 'AS "$1"'],
  // bytes are bytes
  [/\bCAST\((\w+) AS BLOB\)/g, '$1'],
  [/\bINSERT OR IGNORE (.*)$/gs, 'INSERT $1 ON CONFLICT DO NOTHING'],
];

const COMMON_TABLE = /(?:\bWITH(?: RECURSIVE)?|,)\s+(\w+)(?:\s*\([^)]*\))?\s+AS\s+(?:MATERIALIZED\s+)?\(/g;
/** The name of a table. No `DO UPDATE SET`, and no function; behind INTO stand its columns. */
const TABLE =
  /(?<=\bINTO\s+)(?:"\w+"|\w+)(?![\w.])|(?<=\b(?:FROM|JOIN|(?<!DO )UPDATE)\s+)(?:"\w+"|\w+)(?![\w.]|\s*\()/g;
/** Strings and quoted names are passed by. */
const PLACE = /'(?:[^']|'')*'|"(?:[^"]|"")*"|\?|\$([a-z]\w*)/gi;

/** @param schema of every table: no `search_path` is set, which a pooler would give to others */
export function translate(sql: string, schema: string): Translated {
  const ruled = RULES.reduce((text, [found, instead]) => text.replace(found, instead), sql);
  const common = new Set([...ruled.matchAll(COMMON_TABLE)].map(([, name]) => name));
  const qualified = ruled.replace(TABLE, (table) => (common.has(table) ? table : `${identifier(schema)}.${table}`));
  const names: (string | undefined)[] = [];
  const text = qualified.replace(PLACE, (all, name: string | undefined) => {
    if (all.startsWith("'") || all.startsWith('"')) return all;
    const known = name === undefined ? -1 : names.indexOf(name);
    return `$${known < 0 ? names.push(name) : known + 1}`;
  });
  return { text, names };
}
