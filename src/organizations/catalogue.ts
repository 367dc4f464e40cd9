/** The models that an organization could be allowed: of the backend's `model` table here, and what every source shares. */
import { type ModelId, parsePattern } from '../policy/grant.ts';
import { prepareComposites, type Maker, type ModelRow, readModelRows } from '../store/models.ts';
import type { Connection } from '../store/database.ts';
import { type Schema, activeCondition, columnsOf } from '../store/schema.ts';

/** Why a model of the source is not in the catalogue; its grants are left as they are. */
export type LeftOut = (typeof LEFT_OUT)[number];

/** In the order of records. */
export const LEFT_OUT = [
  'presets',
  /** Picks another model by chance, so an operator grants it by its own id. */
  'arena',
  /** By its row in the backend's `model` table. */
  'switched_off',
  /** An id that no request can name, or that would be read as a pattern. */
  'unusable',
  /** Its row was made by a user who is no admin. */
  'of_users',
  /** A private preset that another organization was granted by its own id. */
  'of_organizations',
] as const;

/** Whose model it is that was left out. */
type Owner = { readonly user: Maker } | { readonly organization: string };

/** A provider or function that may have models which the source does not show. */
export interface Gap {
  /** A sentence for the operator. */
  readonly why: string;
  mayHave(id: string): boolean;
}

export interface Catalogue {
  /** In the order of the source, each once. */
  readonly models: readonly ModelId[];
  readonly leftOut: ReadonlyMap<string, LeftOut>;
  /** Of models that were left out because a user or an organization owns them. */
  readonly owners: ReadonlyMap<string, Owner>;
  /** What is there without being offered, such as the arena that a backend has without any configuration. */
  readonly beside: ReadonlySet<string>;
  /** What is not in the catalogue and may be of a gap is not switched off. */
  readonly gaps: readonly Gap[];
}

/** What a source says about one model. */
export interface Offer {
  readonly id: string;
  readonly leftOut?: LeftOut | undefined;
  readonly owner?: Owner | undefined;
}

/** What a command wants of a catalogue. */
export interface Wishes {
  /** Presets are wanted too. */
  readonly presets: boolean;
  /** Private presets of other organizations are left out. */
  readonly organization?: string;
}

/** @param offers in the order of the source; an id that is offered and left out is offered */
export function toCatalogue(
  offers: Iterable<Offer>,
  { beside, gaps = [] }: { readonly beside: ReadonlySet<string>; readonly gaps?: readonly Gap[] },
): Catalogue {
  const models = new Set<ModelId>();
  const leftOut = new Map<string, LeftOut>();
  const owners = new Map<string, Owner>();
  for (const { id, leftOut: why, owner } of offers) {
    const pattern = parsePattern(id);
    // no sentence may advise to allow such an id by itself
    if (pattern?.kind !== 'exact') leftOut.set(id, 'unusable');
    else if (why === undefined) models.add(pattern.model);
    else leftOut.set(id, why);
    if (owner !== undefined) owners.set(id, owner);
  }
  for (const model of models) leftOut.delete(model);
  for (const id of owners.keys()) if (!leftOut.has(id)) owners.delete(id);
  return { models: [...models], leftOut, owners, beside, gaps };
}

/** Rows without a base, as the deployment guide's migration links them; those of them that are on. @throws SqliteError */
export function fromTable(connection: Connection, schema: Schema, wishes: Wishes): Catalogue {
  const arenas = prepareComposites(connection, schema)();
  const offerPreset = createPresetOffers(connection, schema, wishes);
  const offers = readModelRows(connection).map((row): Offer => {
    if (arenas.has(row.id)) return { id: row.id, leftOut: 'arena' };
    return row.isPreset ? offerPreset(row) : offerRow(row);
  });
  return toCatalogue(offers, { beside: arenas });
}

/** By its row alone: a user may make one on the id of a model that a provider has one day. */
function offerRow({ id, isActive, maker }: ModelRow): Offer {
  if (maker !== undefined) return { id, leftOut: 'of_users', owner: { user: maker } };
  return { id, leftOut: isActive ? undefined : 'switched_off' };
}

/** @returns a function that offers a preset, left out unless presets are wanted and no other organization owns it */
export function createPresetOffers(
  connection: Connection,
  schema: Schema,
  { presets, organization }: Wishes,
): (row: ModelRow) => Offer {
  if (!presets) return ({ id }) => ({ id, leftOut: 'presets' });
  const ownerOf = organization === undefined ? () => undefined : createOwnership(connection, schema, organization);
  return (row) => {
    const owner = row.maker === undefined ? ownerOf(row.id) : undefined;
    return owner === undefined
      ? offerRow(row)
      : { id: row.id, leftOut: 'of_organizations', owner: { organization: owner } };
  };
}

// Presets that are an organization's own: it was granted them by their own ids, and the backend keeps them private.

/**
 * @param organization that asks: what it has a grant of, switched on or off, is its own too
 * @returns a function that names another organization whose private preset it is
 */
function createOwnership(
  connection: Connection,
  { grantActive }: Schema,
  organization: string,
): (preset: string) => string | undefined {
  const isPublic = createPublicity(connection);
  const others = connection
    .prepare<[object], string>(
      `SELECT organization_id FROM organization_models
       WHERE model_id = $preset AND organization_id <> $organization AND ${activeCondition(grantActive)}
         AND typeof(organization_id) = 'text' AND NOT EXISTS (
           SELECT 1 FROM organization_models own WHERE own.model_id = $preset AND own.organization_id = $organization)
       ORDER BY organization_id LIMIT 1`,
    )
    .pluck();
  return (preset) => (isPublic(preset) ? undefined : others.get({ preset, organization }));
}

/**
 * A preset is public where `access_control` is null (0.6), or where `*` may read it (`access_grant`, 0.12).
 * @returns a function that tells whether the backend shows a preset to all of its users
 */
function createPublicity(connection: Connection): (preset: string) => boolean {
  // SQLAlchemy writes None into a JSON column as the JSON value
  const publicity = columnsOf(connection, 'model').has('access_control')
    ? "SELECT 1 FROM model WHERE id = ? AND coalesce(access_control, 'null') = 'null'"
    : columnsOf(connection, 'access_grant').has('principal_id')
      ? `SELECT 1 FROM access_grant WHERE resource_type = 'model' AND resource_id = ?
           AND principal_id = '*' AND permission = 'read'`
      : undefined;
  if (publicity === undefined) return () => true;
  const statement = connection.prepare<[string]>(publicity);
  return (preset) => statement.get(preset) !== undefined;
}
