/** What the backend's connections to providers have (routers/openai.py, routers/ollama.py and main.py, 0.6.18 and 0.12.4). */
import { type BackendAccess, type SettingKey, askBackend, createSettings, idsOf } from '../backend-file/backend.ts';
import { unchanged } from '../backend-file/failure.ts';
import { quoted, quotedFew } from '../backend-file/text.ts';
import { isObject } from '../references/json.ts';
import type { Connection } from '../store/database.ts';
import { type ModelRow, readModelRows } from '../store/models.ts';
import { columnsOf } from '../store/schema.ts';
import {
  type Catalogue,
  type Gap,
  type Offer,
  type Source,
  createPresetOffers,
  modelsOfConnection,
  prefixOf,
  toCatalogue,
} from './catalogue.ts';
import { readColumn } from './organizations.ts';

/** A connection that lists its models only at run time is a gap. @throws SqliteError */
export function fromConfig(source: Source): Catalogue {
  const { connection, schema } = source;
  const rows = readModelRows(connection);
  const isOff = createSwitches(rows.filter(({ isPreset }) => !isPreset));
  const { connections, unknown } = readConnections(source);
  const arenas = idsOf(createSettings(connection, schema)('evaluation.arena.models'));
  const offers: readonly Offer[] = [
    ...connections.flatMap(({ kind, models }) =>
      models.map((id) => ({ id, leftOut: isOff(id, kind) ? ('switched_off' as const) : undefined })),
    ),
    ...rows.filter(({ isPreset }) => isPreset).map(createPresetOffers(source)),
    ...arenas.map((id) => ({ id, leftOut: 'arena' as const })),
  ];
  const gaps = [
    ...unknown.map((kind) => ({
      why: `The connections of ${KINDS[kind].name} are not in the file: the backend takes them from its environment. --from live asks the backend itself.`,
      mayHave: (id: string) => kind === 'openai' || id.includes(':'),
    })),
    ...connections
      .filter(({ models }) => models.length === 0)
      .map(({ label, mayHave }) => ({
        why: `The ${label} lists its models at run time, and so they are not in the file. --from live asks for them.`,
        mayHave,
      })),
    ...pipesOf(connection),
  ];
  return toCatalogue(source, offers, gaps);
}

/** @returns whether a row switches the model off: one on `llama3` stands for `llama3:latest` too (utils/models.py) */
function createSwitches(rows: readonly ModelRow[]): (id: string, kind: unknown) => boolean {
  const states = new Map(rows.map(({ id, isActive }) => [id, isActive]));
  const isOff = (id: string): boolean => states.get(id) === false;
  return (id, kind) => isOff(id) || (kind === 'ollama' && isOff(id.split(':')[0] ?? id));
}

function pipesOf(connection: Connection): readonly Gap[] {
  const columns = columnsOf(connection, 'function');
  if (!columns.has('type') || !columns.has('is_active')) return [];
  const pipes = readColumn<string>(connection, "SELECT id FROM function WHERE type = 'pipe' AND is_active = 1");
  return pipes.map((pipe) => ({
    why: `The function ${quoted(pipe)} makes models of its own. --from live asks for them.`,
    mayHave: (id) => id === pipe || id.startsWith(`${pipe}.`),
  }));
}

type ProviderKind = 'openai' | 'ollama';

const KINDS: Readonly<Record<ProviderKind, { readonly name: string; readonly urls: SettingKey }>> = {
  openai: { name: 'OpenAI', urls: 'openai.api_base_urls' },
  ollama: { name: 'Ollama', urls: 'ollama.base_urls' },
};

type ProviderConnection = NonNullable<ReturnType<typeof readConnection>>;

/** @returns those that are on, in the order of the backend's lists, and kinds whose addresses stand in the backend's environment */
function readConnections({ connection, schema }: Source) {
  const setting = createSettings(connection, schema);
  const kinds = (['openai', 'ollama'] as const).filter((kind) => setting(`${kind}.enable`) !== false);
  const connections = kinds.flatMap((kind) => {
    const urls = setting(KINDS[kind].urls);
    const configs = setting(`${kind}.api_configs`);
    if (!Array.isArray(urls)) return [];
    return urls.flatMap((url, at) => readConnection(kind, at, typeof url === 'string' ? url : '', configs) ?? []);
  });
  return { connections, unknown: kinds.filter((kind) => !Array.isArray(setting(KINDS[kind].urls))) };
}

function readConnection(kind: ProviderKind, index: number, url: string, configs: unknown) {
  // by place, and as it was before 0.5 by address
  const found = isObject(configs) ? (configs[String(index)] ?? configs[url]) : undefined;
  const config = isObject(found) ? found : {};
  if ('enable' in config && !isTrue(config['enable'])) return undefined;
  const models = modelsOfConnection(config);
  return {
    kind,
    index,
    label: `${KINDS[kind].name} connection ${index + 1} (${quoted(withoutSecrets(url))})`,
    /** Ids as the backend offers them; none: the backend asks the connection at run time. */
    models: models.filter((id) => kind === 'ollama' || isOffered(id, url)),
    mayHave: (id: string): boolean => {
      if (models.length > 0) return models.includes(id);
      return id.startsWith(prefixOf(config)) && (kind === 'openai' || id.includes(':'));
    },
  };
}

const isTrue = (value: unknown): boolean => Boolean(value) && !(Array.isArray(value) && value.length === 0);

/** Of OpenAI's own models the backend drops what cannot chat. */
const isOffered = (id: string, url: string): boolean =>
  !url.includes('api.openai.com') || !/babbage|dall-e|davinci|embedding|tts|whisper/.test(id);

/** An address may carry a password or a key. */
function withoutSecrets(url: string): string {
  if (!URL.canParse(url)) return url.split(/[?#]/)[0] ?? '';
  const { protocol, host, pathname } = new URL(url);
  return `${protocol}//${host}${pathname}`;
}

type Entry = Readonly<Record<string, unknown>> & { readonly id: string };

/** @returns what an admin sees, and `/api/models/base`, which access control and a gate in front do not shorten */
export async function askForModels(access: BackendAccess) {
  // without `refresh` a backend that caches its models answers with those of yesterday
  const listed = entriesOf(await askBackend(access, '/api/models?refresh=true'), access.url);
  return { listed, provided: entriesOf(await askBackend(access, '/api/models/base'), access.url), url: access.url };
}

function entriesOf(answer: unknown, { origin }: URL): readonly Entry[] {
  const data: unknown = isObject(answer) ? answer['data'] : undefined;
  if (!Array.isArray(data)) {
    throw unchanged(
      `${quoted(origin)} answers with JSON that is no list of models.`,
      "Is it the address of Open WebUI's backend?",
    );
  }
  return data.filter((item): item is Entry => isObject(item) && typeof item['id'] === 'string' && !isFilter(item));
}

/** A pipeline that changes what others say is no model (main.py, `get_models`). */
const isFilter = ({ pipeline }: Readonly<Record<string, unknown>>): boolean =>
  isObject(pipeline) && pipeline['type'] === 'filter';

type LiveModels = Awaited<ReturnType<typeof askForModels>>;

export function fromLive(live: LiveModels, source: Source): Catalogue {
  const rows = new Map(readModelRows(source.connection).map((row) => [row.id, row]));
  const offerPreset = createPresetOffers(source);
  const listed = new Set(live.listed.map(({ id }) => id));
  const unlisted = live.provided.filter(({ id }) => !listed.has(id));
  refuseShortened(live.url, unlisted, createSwitches([...rows.values()]));
  const offers = live.listed.map((entry): Offer => {
    const { id, arena, preset } = entry;
    if (arena === true) return { id, leftOut: 'arena' };
    if (preset !== true) return { id };
    const row = rows.get(id);
    // made since, or not of this file: whose it is cannot be known
    if (row === undefined) return { id, leftOut: source.presets ? undefined : 'presets' };
    return offerPreset({ ...row, isActive: true });
  });
  const sleeping = [...rows.values()].filter(({ id, isPreset }) => isPreset && !listed.has(id));
  // a provider that is down is missing from the list, and its models with it
  const silent = readConnections(source).connections.filter((one) => !live.provided.some((entry) => isOf(entry, one)));
  return toCatalogue(
    source,
    [
      ...sleeping.map(({ id }) => ({ id, leftOut: 'presets' as const })),
      ...unlisted.map(({ id }) => ({ id, leftOut: 'switched_off' as const })),
      ...offers,
    ],
    silent.map(({ label, mayHave }) => ({
      why: `The ${label} lists nothing of its own at the moment: is it down?`,
      mayHave,
    })),
  );
}

function refuseShortened({ origin }: URL, unlisted: readonly Entry[], isOff: ReturnType<typeof createSwitches>): void {
  const hidden = unlisted.filter(({ id, owned_by: owner }) => !isOff(id, owner)).map(({ id }) => id);
  if (hidden.length === 0) return;
  throw unchanged(
    `${quoted(origin)} hides models from this admin that it has: ${quotedFew(hidden, 3)}.`,
    'Ask the backend itself and not the gate; and if it is the backend, its own access control is in the way (BYPASS_ADMIN_ACCESS_CONTROL).',
  );
}

function isOf({ urlIdx, ollama }: Entry, { kind, index }: ProviderConnection): boolean {
  if (kind === 'openai') return urlIdx === index;
  return isObject(ollama) && Array.isArray(ollama['urls']) && ollama['urls'].includes(index);
}
