/** What the backend's file says of models: rows, which of them may become grants unnamed, parameters, arenas, connections. */
import { type ModelId, parsePattern } from '../policy/grant.ts';
import { isObject, tryParseJson } from '../references/json.ts';
import { collectParameters } from '../references/references.ts';
import { UNREADABLE } from '../references/saved-chat.ts';
import { type Connection, prepareColumn } from './database.ts';
import { type Schema, activeCondition, columnsOf } from './schema.ts';

/** A user of the backend who is not its admin. */
export interface Maker {
  readonly id: string;
  /** Null where the backend has none, or has deleted the user. */
  readonly email: string | null;
}

export type ModelRow = ReturnType<typeof toModelRow>;

export type StoredRow = Record<'has_base' | 'preset' | 'active', number | boolean> &
  Record<'owner' | 'email' | 'role', unknown> & {
    readonly place: number | string;
    readonly id: string;
    readonly known: string | null;
  };

/** @returns rows by id; one whose id is no text is not a model @throws SqliteError */
export const readModelRows = (connection: Connection) =>
  connection
    .prepare<[], StoredRow>(modelRowsQuery((table) => columnsOf(connection, table)))
    .all()
    .map(toModelRow);

/** @param columns of a table @returns SQL whose rows `toModelRow` reads */
export function modelRowsQuery(columns: (table: string) => ReadonlySet<string>): string {
  const owner = columns('model').has('user_id') ? 'm.user_id' : 'NULL';
  return `SELECT m.rowid AS place, m.id, m.base_model_id IS NOT NULL AS has_base,
      m.base_model_id IS NOT NULL AND m.base_model_id <> m.id AS preset,
      ${activeCondition(columns('model').has('is_active'), 'm')} AS active,
      ${owner} AS owner, u.id AS known, ${columns('user').has('email') ? 'u.email' : 'NULL'} AS email, u.role
    FROM model m LEFT JOIN "user" u ON u.id = ${owner} WHERE typeof(m.id) = 'text' ORDER BY m.id COLLATE BINARY`;
}

export const toModelRow = (row: StoredRow) => ({
  rowid: row.place,
  id: row.id,
  hasBase: Boolean(row.has_base),
  /** It stands on another model. mAI writes rows that stand on themselves: those are models like the others. */
  isPreset: Boolean(row.preset),
  isActive: Boolean(row.active),
  /** The ordinary user who made it; undefined for what an admin or a script has made. */
  maker: makerOf(row),
});

/** The backend gives its users UUIDs (models/auths.py): another owner whom it does not know was never one of them. */
const UUID = /^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/i;

export type PresetOwnerRow = Pick<StoredRow, 'id' | 'owner' | 'known' | 'email' | 'role'>;

function makerOf({ owner, known, email, role }: Omit<PresetOwnerRow, 'id'>): Maker | undefined {
  if (typeof owner !== 'string') return undefined;
  const isOrdinary = known === null ? UUID.test(owner) : role !== 'admin';
  return isOrdinary ? { id: owner, email: typeof email === 'string' ? email : null } : undefined;
}

/**
 * @returns ids of the presets on a base that an admin or a script has made. Who owns a row chooses its base: the grant of a
 *   preset of an ordinary user says nothing of what runs behind it.
 */
export function preparePresetsOn(connection: Connection, schema: Schema) {
  const owner = schema.presetOwner ? 'm.user_id' : 'NULL';
  const rows = connection.prepare<[string], StoredRow>(
    `SELECT m.id, ${owner} AS owner, u.id AS known, NULL AS email, u.role FROM model m LEFT JOIN "user" u ON u.id = ${owner}
     WHERE m.base_model_id = ? AND m.id <> m.base_model_id AND typeof(m.id) = 'text'
       AND ${activeCondition(columnsOf(connection, 'model').has('is_active'), 'm')}`,
  );
  return (base: ModelId) => ofAdmins(rows.all(base));
}

export const ofAdmins = (rows: readonly PresetOwnerRow[]): readonly ModelId[] =>
  rows.flatMap((row) => (makerOf(row) === undefined ? [row.id as ModelId] : []));

/** Models that the deployment guide's migration would link, and that no organization should get in this way. */
export interface NotLinked {
  /** Ids that a grant would read as patterns, or that no request can name. */
  readonly unusable: readonly string[];
  /** Made by users who are no admins: to link these would let users grant themselves what a provider has one day. */
  readonly ofUsers: readonly string[];
}

/** @returns `rowid` of each row without a base that may be linked, and ids of those that may not @throws SqliteError */
export const readLinkable = (connection: Connection) => linkableOf(readModelRows(connection));

export function linkableOf(all: readonly ModelRow[]): NotLinked & { readonly rowids: readonly ModelRow['rowid'][] } {
  const rows = all.filter(({ hasBase }) => !hasBase);
  const [usable, unusable] = [true, false].map((can) =>
    rows.filter(({ id }) => (parsePattern(id)?.kind === 'exact') === can),
  );
  const { own = [], ofUsers = [] } = Object.groupBy(usable ?? [], ({ maker }) => (maker ? 'ofUsers' : 'own'));
  const ids = (of: readonly ModelRow[] = []) => of.map(({ id }) => id);
  return { rowids: own.map(({ rowid }) => rowid), unusable: ids(unusable), ofUsers: ids(ofUsers) };
}

/** A condition on `model`; the parameter `$rowids` is JSON of what `readLinkable` returns. */
export const IS_LINKABLE = 'rowid IN (SELECT value FROM json_each($rowids))';

/** Bytes of a preset's parameters, some 100,000 words: longer ones are not read, because every decision would wait for them. */
export const MOST_PARAMETERS = 500_000;

/**
 * @param stored JSON text, NULL, or what a hand has put there
 * @returns models that a preset's parameters name: the backend puts them over the request's own (0.6), or sends them to
 *   the provider, whose routing fields name models too
 */
export function modelsInParameters(stored: unknown): readonly ModelId[] {
  if (typeof stored !== 'string' || stored === '' || stored === '{}') return [];
  const params = Buffer.byteLength(stored) > MOST_PARAMETERS ? undefined : tryParseJson(stored);
  const { models, unreadable } = collectParameters(params, 'defined');
  const isReadable = unreadable === undefined && (params === null || isObject(params));
  return isReadable ? [...models] : [...models, UNREADABLE as ModelId];
}

/** What the backend calls its arena where none is configured (utils/models.py, 0.6.0 to 0.12.4). */
export const DEFAULT_ARENA = 'arena-model';

/** Reads one of the backend's own settings; undefined for a default or what comes from the backend's environment. */
export type Setting = (key: string) => unknown;

/**
 * The backend's own settings: one document up to 0.9, of which the newest counts, one row a key from 0.10.0 (config.py).
 */
export function prepareSettings(connection: Connection, { config }: Schema): Setting {
  const sql = {
    rows: 'SELECT value FROM config WHERE "key" = ?',
    // `->` and not json_extract, which would give `false` and `0` alike
    document: "SELECT data -> ('$.' || ?) FROM config WHERE json_valid(data, 2) ORDER BY id DESC LIMIT 1",
    none: undefined,
  };
  const stored = prepareColumn(connection, sql[config]);
  return (key) => {
    const [value] = stored(key);
    return typeof value === 'string' ? tryParseJson(value) : undefined;
  };
}

/** @returns the texts of a list, and nothing of anything else */
export const textsOf = (value: unknown): readonly string[] =>
  Array.isArray(value) ? value.filter((item) => typeof item === 'string') : [];

/** @returns the ids of `[{"id": "…"}, …]`, and nothing of anything else */
export const idsOf = (models: unknown): readonly string[] =>
  textsOf(Array.isArray(models) ? models.filter(isObject).map(({ id }) => id) : undefined);

/** Keys of the settings that are read here. */
export const SETTINGS = ['evaluation.arena.models', 'openai.api_configs', 'ollama.api_configs'];

/**
 * @returns the ids of the models that pick others by chance, and their stems. Whether arenas are switched on is not asked: the
 *   environment may say otherwise than the table.
 */
export const prepareComposites = (connection: Connection, schema: Schema) =>
  computed(prepareSettings(connection, schema), compositesOf);

const computed =
  <T>(setting: Setting, compute: (setting: Setting) => T) =>
  (): T =>
    compute(setting);

export const compositesOf = (setting: Setting): ReadonlySet<string> =>
  new Set([DEFAULT_ARENA, ...idsOf(setting('evaluation.arena.models'))].flatMap((id) => [id, stemOf(id)]));

/** The backend matches a base with what stands before the first colon of an id too (utils/models.py). */
export const stemOf = (id: string): string => id.split(':', 1)[0] ?? id;

/** @returns the `prefix_id` of a connection with its dot: the backend lists its models as `<prefix_id>.<model>` (routers/openai.py) */
export const prefixOf = ({ prefix_id: prefix }: Readonly<Record<string, unknown>>): string =>
  typeof prefix === 'string' && prefix !== '' ? `${prefix}.` : '';

/** @returns what `openai.api_configs` or `ollama.api_configs` says of each connection */
export const connectionsIn = (configs: unknown) => Object.values(isObject(configs) ? configs : {}).filter(isObject);

/** @returns the prefix of every connection that has one. Connections of the backend's environment are not seen. */
export const prepareConnectionPrefixes = (connection: Connection, schema: Schema) =>
  computed(prepareSettings(connection, schema), connectionPrefixesOf);

export const connectionPrefixesOf = (setting: Setting): readonly string[] =>
  ['openai.api_configs', 'ollama.api_configs']
    .flatMap((key) => connectionsIn(setting(key)).map(prefixOf))
    .filter((prefix) => prefix !== '');
