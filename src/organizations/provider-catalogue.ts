/** What the backend's connections to providers have (routers/openai.py, routers/ollama.py and main.py, 0.6.18 and 0.12.4). */
import { type BackendAccess, askBackend } from '../backend-file/backend.ts';
import { unchanged } from '../backend-file/failure.ts';
import { quoted, quotedFew } from '../backend-file/text.ts';
import { isObject } from '../references/json.ts';
import { type ModelRow, idsOf, prefixOf, prepareSettings, readModelRows } from '../store/models.ts';
import {
  type Catalogue,
  type Offer,
  type Source,
  IS_ON,
  createPresetOffers,
  modelsOfConnection,
  readPipes,
  toCatalogue,
} from './catalogue.ts';

/** A connection that lists its models only at run time is a gap. @throws SqliteError */
export function fromConfig(source: Source): Catalogue {
  const rows = readModelRows(source.connection);
  const isOff = createSwitches(rows.filter(({ isPreset }) => !isPreset));
  const kinds = readConnections(source);
  const connections = kinds.flatMap((kind) => kind.connections ?? []);
  const offered = connections.flatMap(({ kind, models }) => models.map((id) => ({ id, isOff: isOff(id, kind) })));
  const arenas = idsOf(prepareSettings(source.connection, source.schema)('evaluation.arena.models'));
  const offers = [
    ...offered.map((one): Offer => ({ id: one.id, leftOut: one.isOff ? 'switched_off' : undefined })),
    ...rows.filter(({ isPreset }) => isPreset).map(createPresetOffers(source)),
    ...arenas.map((id): Offer => ({ id, leftOut: 'arena' })),
  ];
  const unknown = kinds.filter((kind) => kind.connections === undefined);
  const unlisted = connections.filter(({ models }) => models.length === 0);
  return toCatalogue(source, offers, [
    ...unknown.map(({ name, mayHave }) => ({ why: `The connections of ${name} ${IN_ENVIRONMENT}`, mayHave })),
    ...unlisted.map(({ label, mayHave }) => ({ why: `The ${label} ${AT_RUN_TIME}`, mayHave })),
    ...readPipes(source.connection, IS_ON).map((pipe) => ({
      why: `The function ${quoted(pipe)} makes models of its own. --from live asks for them.`,
      mayHave: (id: string) => id === pipe || id.startsWith(`${pipe}.`),
    })),
  ]);
}

const IN_ENVIRONMENT =
  'are not in the file: the backend takes them from its environment. --from live asks the backend itself.';
const AT_RUN_TIME = 'lists its models at run time, and so they are not in the file. --from live asks for them.';

/** @returns whether a row switches the model off: one on `llama3` stands for `llama3:latest` too (utils/models.py) */
function createSwitches(rows: readonly ModelRow[]): (id: string, kind: unknown) => boolean {
  const off = new Set(rows.filter(({ isActive }) => !isActive).map(({ id }) => id));
  return (id, kind) => off.has(id) || (kind === 'ollama' && off.has(id.split(':')[0] ?? id));
}

const KINDS = [
  { kind: 'openai', name: 'OpenAI', addresses: 'openai.api_base_urls', isNamed: () => true },
  { kind: 'ollama', name: 'Ollama', addresses: 'ollama.base_urls', isNamed: (id: string) => id.includes(':') },
] as const;

type Kind = (typeof KINDS)[number];
type ProviderConnection = NonNullable<ReturnType<typeof readConnection>>;

/** @returns each kind with its connections that are on, in the order of the backend's lists: none where its environment has them */
function readConnections({ connection, schema }: Source) {
  const setting = prepareSettings(connection, schema);
  return KINDS.filter(({ kind }) => setting(`${kind}.enable`) !== false).map((kind) => {
    const [urls, configs] = [setting(kind.addresses), setting(`${kind.kind}.api_configs`)];
    const list: readonly unknown[] | undefined = Array.isArray(urls) ? urls : undefined;
    const connections = list?.flatMap((url, index) => readConnection(kind, index, url, configs) ?? []);
    return { name: kind.name, mayHave: kind.isNamed, connections };
  });
}

function readConnection({ kind, name, isNamed }: Kind, index: number, address: unknown, configs: unknown) {
  const url = typeof address === 'string' ? address : '';
  // by place, and as it was before 0.5 by address
  const found = isObject(configs) ? (configs[String(index)] ?? configs[url]) : undefined;
  const config = isObject(found) ? found : {};
  const { enable = true } = config;
  if (!enable || (Array.isArray(enable) && enable.length === 0)) return undefined;
  const listed = modelsOfConnection(config);
  const mayHave = (id: string): boolean =>
    listed.length > 0 ? listed.includes(id) : id.startsWith(prefixOf(config)) && isNamed(id);
  /** Ids as the backend offers them; none: the backend asks the connection at run time. */
  const models = listed.filter((id) => kind === 'ollama' || isOffered(id, url));
  return { kind, index, label: `${name} connection ${index + 1} (${quoted(withoutSecrets(url))})`, models, mayHave };
}

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
    const remedy = "Is it the address of Open WebUI's backend?";
    throw unchanged(`${quoted(origin)} answers with JSON that is no list of models.`, remedy);
  }
  // a pipeline that changes what others say is no model (main.py, `get_models`)
  const isFilter = (pipeline: unknown): boolean => isObject(pipeline) && pipeline['type'] === 'filter';
  return data
    .filter(isObject)
    .filter((item): item is Entry => typeof item['id'] === 'string' && !isFilter(item['pipeline']));
}

type LiveModels = Awaited<ReturnType<typeof askForModels>>;

export function fromLive(live: LiveModels, source: Source): Catalogue {
  const rows = new Map(readModelRows(source.connection).map((row) => [row.id, row]));
  const listed = new Set(live.listed.map(({ id }) => id));
  const unlisted = live.provided.filter(({ id }) => !listed.has(id));
  const isOff = createSwitches([...rows.values()]);
  const hidden = unlisted.filter(({ id, owned_by: owner }) => !isOff(id, owner)).map(({ id }) => id);
  if (hidden.length > 0) {
    throw unchanged(
      `${quoted(live.url.origin)} hides models from this admin that it has: ${quotedFew(hidden, 3)}.`,
      'Ask the backend itself and not the gate; and if it is the backend, its own access control is in the way (BYPASS_ADMIN_ACCESS_CONTROL).',
    );
  }
  const offerPreset = createPresetOffers(source);
  const offerListed = ({ id, arena, preset }: Entry): Offer => {
    if (arena === true) return { id, leftOut: 'arena' };
    const row = preset === true ? rows.get(id) : undefined;
    if (row !== undefined) return offerPreset({ ...row, isActive: true });
    // made since, or not of this file: whose it is cannot be known
    return { id, leftOut: preset === true && !source.presets ? 'presets' : undefined };
  };
  const sleeping = [...rows.values()].filter(({ id, isPreset }) => isPreset && !listed.has(id));
  const offers = [
    ...sleeping.map(({ id }): Offer => ({ id, leftOut: 'presets' })),
    ...unlisted.map(({ id }): Offer => ({ id, leftOut: 'switched_off' })),
    ...live.listed.map(offerListed),
  ];
  // a provider that is down is missing from the list, and its models with it
  const silent = readConnections(source)
    .flatMap(({ connections = [] }) => connections)
    .filter((one) => !live.provided.some((entry) => isOf(entry, one)));
  const why = 'lists nothing of its own at the moment: is it down?';
  const gaps = silent.map(({ label, mayHave }) => ({ why: `The ${label} ${why}`, mayHave }));
  return toCatalogue(source, offers, gaps);
}

function isOf({ urlIdx, ollama }: Entry, { kind, index }: ProviderConnection): boolean {
  if (kind === 'openai') return urlIdx === index;
  return isObject(ollama) && Array.isArray(ollama['urls']) && ollama['urls'].includes(index);
}
