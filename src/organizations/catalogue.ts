/** The models that an organization could be allowed, and its grants brought in line with them: first as a plan, then as planned. */
import { unchanged } from '../backend-file/failure.ts';
import { type Operation, reading } from '../backend-file/transaction.ts';
import { toOrganizationId } from '../policy/principal.ts';
import { nearest } from '../nearest.ts';
import { type ModelId, compileGrants, coveringGrant, parsePattern } from '../policy/grant.ts';
import type { Connection } from '../store/database.ts';
import {
  type Maker,
  type ModelRow,
  connectionsIn,
  idsOf,
  prefixOf,
  prepareComposites,
  prepareSettings,
  readModelRows,
  textsOf,
} from '../store/models.ts';
import { type Schema, activeCondition, columnsOf, isOn } from '../store/schema.ts';
import { type ChosenOrganization, GRANTS, changeRows, readColumn, requireOrganization } from './organizations.ts';
import { readGranted } from './standing.ts';

/** Why a model of the source is not in the catalogue; its grants are left as they are. */
export const LEFT_OUT = ['presets', 'arena', 'switched_off', 'unusable', 'of_users', 'of_organizations'] as const;
export type LeftOut = (typeof LEFT_OUT)[number];

/** What a source says about one model, and whose it is where it is left out for that. */
export type Offer = Readonly<{ id: string; leftOut?: LeftOut | undefined; owner?: Owner }>;
type Owner = { readonly user: Maker } | { readonly organization: string };

export type Source = Readonly<{ connection: Connection; schema: Schema; presets: boolean; organization?: string }>;
export type Catalogue = ReturnType<typeof toCatalogue>;

/** A provider or function that may have models which the source does not show: these are not switched off. */
type Gap = Readonly<{ why: string; mayHave: (id: string) => boolean }>;

/** @param offers in the order of the source; an id that is offered and left out is offered */
export function toCatalogue({ connection, schema }: Source, offers: readonly Offer[], gaps: readonly Gap[] = []) {
  const models = new Set<ModelId>();
  const leftOut = new Map<string, { readonly why: LeftOut; readonly owner: Owner | undefined }>();
  for (const { id, leftOut: why, owner } of offers) {
    const pattern = parsePattern(id);
    if (pattern?.kind !== 'exact') leftOut.set(id, { why: 'unusable', owner });
    else if (why === undefined) models.add(pattern.model);
    else leftOut.set(id, { why, owner });
  }
  for (const model of models) leftOut.delete(model);
  /** What is there without being offered, such as the arena that a backend has without any configuration. */
  const beside = prepareComposites(connection, schema)();
  return { models: [...models], leftOut, beside, gaps };
}

/** Rows without a base that are on, as the deployment guide's migration links them. @throws SqliteError */
export function fromTable(source: Source): Catalogue {
  const arenas = prepareComposites(source.connection, source.schema)();
  const offerPreset = createPresetOffers(source);
  const offers = readModelRows(source.connection).map((row): Offer => {
    if (arenas.has(row.id)) return { id: row.id, leftOut: 'arena' };
    return row.isPreset ? offerPreset(row) : offerRow(row);
  });
  return toCatalogue(source, offers);
}

function offerRow({ id, isActive, maker }: ModelRow): Offer {
  if (maker !== undefined) return { id, leftOut: 'of_users', owner: { user: maker } };
  return { id, leftOut: isActive ? undefined : 'switched_off' };
}

/** @returns a function that offers a preset, left out unless presets are wanted and no other organization owns it */
export function createPresetOffers({ connection, schema, presets, organization }: Source): (row: ModelRow) => Offer {
  if (!presets) return ({ id }) => ({ id, leftOut: 'presets' });
  // one that was granted by its own id and that the backend keeps private is the organization's own
  const others = connection.prepare<[object], string>(`
    SELECT organization_id FROM organization_models
    WHERE model_id = $preset AND organization_id <> $organization AND ${activeCondition(schema.grantActive)}
      AND typeof(organization_id) = 'text' AND NOT EXISTS (
        SELECT 1 FROM organization_models own WHERE own.model_id = $preset AND own.organization_id = $organization)
      AND NOT EXISTS (${publicPreset(connection)})
    ORDER BY organization_id LIMIT 1`);
  others.pluck();
  return (row) => {
    const owner = row.maker ?? others.get({ preset: row.id, organization: organization ?? null });
    return typeof owner === 'string'
      ? { id: row.id, leftOut: 'of_organizations', owner: { organization: owner } }
      : offerRow(row);
  };
}

/** SQL for a row where `$preset` is public: its `access_control` is null (0.6), or `*` may read it (`access_grant`, 0.12). */
function publicPreset(connection: Connection): string {
  // SQLAlchemy writes None into a JSON column as the JSON value
  if (columnsOf(connection, 'model').has('access_control')) {
    return "SELECT 1 FROM model WHERE id = $preset AND coalesce(CAST(access_control AS TEXT), 'null') = 'null'";
  }
  if (!columnsOf(connection, 'access_grant').has('principal_id')) return 'SELECT 1';
  return `SELECT 1 FROM access_grant WHERE resource_type = 'model' AND resource_id = $preset
    AND principal_id = '*' AND permission = 'read'`;
}

export type SyncRequest = Readonly<{ chosen: ChosenOrganization; catalogue: (source: Source) => Catalogue }> &
  Readonly<Record<'presets' | 'remove' | 'switchOn', boolean>>;
export type SyncPlan = ReturnType<typeof plan>;

/** @returns beside the record what sentences need @throws OperationFailure as `reading`, and as the catalogue says */
export const planSync = (operation: Operation, request: SyncRequest): Promise<SyncPlan> =>
  reading(operation, 'organizations', (connection, schema) => plan(connection, schema, request));

/** Writes what `shown` says, in one transaction. @throws OperationFailure where something else would be written by now */
export const applySync = (operation: Operation, request: SyncRequest, shown: SyncPlan): Promise<void> =>
  changeRows(operation, request.chosen, 'add', GRANTS, ({ connection, schema, rows }) => {
    const current = plan(connection, schema, request);
    if (changesOf(current) !== changesOf(shown)) {
      const remedy = 'Run the command again to see the difference now.';
      throw unchanged('Another program has changed the file meanwhile.', remedy);
    }
    const { allow, switch_on, switch_off } = current.record;
    for (const model of [...allow, ...switch_on]) rows.add(model);
    for (const model of switch_off) rows.remove(model, false);
  });

const changesOf = ({ record: { allow, switch_on, switch_off } }: SyncPlan): string =>
  JSON.stringify([allow, switch_on, switch_off]);

function plan(connection: Connection, schema: Schema, { chosen, presets, remove, switchOn, ...request }: SyncRequest) {
  const { created, isActive } = requireOrganization(connection, schema, chosen, 'add');
  const catalogue = request.catalogue({ connection, schema, presets, organization: chosen.id });
  const { models, leftOut, gaps } = catalogue;
  if (remove && models.length === 0) {
    throw unchanged(
      'The catalogue is empty, and --remove would switch every grant off.',
      'Is it the right file, and the right --from? To switch single grants off: `modelgate model deny ID --org ORGANIZATION`',
    );
  }
  const granted = readGranted(connection, schema, chosen.id);
  const on = [...granted].filter(([, isOn]) => isOn).map(([pattern]) => pattern);
  const active = compileGrants(toOrganizationId(chosen.id), on);
  const placed = Object.groupBy(models, (model) => {
    if (granted.get(model) === true) return 'unchanged';
    if (coveringGrant(active, model) !== undefined) return 'covered';
    if (!granted.has(model)) return 'allow';
    return switchOn ? 'switch_on' : 'stays_off';
  });
  // neither patterns nor models that were left out of the catalogue are absent from it
  const present = new Set<string>([...models, ...leftOut.keys(), ...catalogue.beside]);
  const absent = Object.groupBy([...active.exact].filter((id) => !present.has(id)).toSorted(), (id) => {
    if (!remove) return 'not_in_catalogue';
    return gaps.some((gap) => gap.mayHave(id)) ? 'uncertain' : 'switch_off';
  });
  const outside = [...leftOut];
  const record = {
    created,
    allow: placed.allow ?? [],
    switch_on: placed.switch_on ?? [],
    switch_off: absent.switch_off ?? [],
    stays_off: placed.stays_off ?? [],
    covered: (placed.covered ?? []).map((model) => ({ model, by: coveringGrant(active, model) ?? model })),
    unchanged: placed.unchanged ?? [],
    not_in_catalogue: absent.not_in_catalogue ?? [],
    uncertain: absent.uncertain ?? [],
    left_out: Object.fromEntries(
      LEFT_OUT.map((why) => [why, outside.filter(([, one]) => one.why === why).map(([id]) => id)]),
    ),
    owners: Object.fromEntries(outside.flatMap(([id, { owner }]) => (owner === undefined ? [] : [[id, owner]]))),
    gaps: [...new Set(gaps.map(({ why }) => why))],
  };
  return { record, isEmpty: models.length === 0, isActive };
}

/** @returns ids that the file names: never all, because the backend asks its providers at run time, so an unknown one is no mistake */
export function readKnownModels(connection: Connection, schema: Schema): ReadonlySet<string> {
  const setting = prepareSettings(connection, schema);
  return new Set([
    ...readColumn<string>(connection, 'SELECT id FROM model'),
    ...readPipes(connection, 'TRUE'),
    ...['openai', 'ollama'].flatMap((kind) =>
      connectionsIn(setting(`${kind}.api_configs`)).flatMap(modelsOfConnection),
    ),
    ...idsOf(setting('evaluation.arena.models')),
  ]);
}

export const IS_ON = `is_active IS NOT NULL AND ${isOn('is_active')}`;

/** @returns the functions that make models of their own */
export function readPipes(connection: Connection, which: string): readonly string[] {
  const columns = columnsOf(connection, 'function');
  if (!columns.has('type') || !columns.has('is_active')) return [];
  return readColumn(connection, `SELECT id FROM function WHERE type = 'pipe' AND ${which}`);
}

/** `{"prefix_id": "eu", "model_ids": ["gpt-4o"]}` gives `eu.gpt-4o` (routers/openai.py and ollama.py, 0.6.18 and 0.12.4). */
export const modelsOfConnection = (config: Readonly<Record<string, unknown>>): readonly string[] =>
  textsOf(config['model_ids']).map((id) => `${prefixOf(config)}${id}`);

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

/** @returns whether an answer that is stored came from this model; false where the file cannot tell quickly */
export function createUseFinder(connection: Connection, { chatMessage }: Schema): (model: string) => boolean {
  // the model of each answer has a column of its own from 0.8.0 on; without its index the whole table would be read
  const { postgres } = connection;
  const index = `SELECT 1 FROM pragma_index_list('chat_message') list, pragma_index_info(list.name) info
    WHERE info.seqno = 0 AND info.name = 'model_id'`;
  const isIndexed = postgres?.hasIndexOn('chat_message', 'model_id') ?? connection.prepare(index).get() !== undefined;
  if (!chatMessage || !isIndexed) return () => false;
  const statement = connection.prepare('SELECT 1 FROM chat_message WHERE model_id = ? LIMIT 1');
  return (model) => statement.get(model) !== undefined;
}
