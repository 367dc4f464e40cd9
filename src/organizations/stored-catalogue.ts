/** Catalogues that the backend's file holds: its `model` table, and the connections of its configuration. */
import { createSettings, idsOf } from '../backend-file/backend.ts';
import { quoted } from '../backend-file/text.ts';
import { prepareComposites } from '../store/composites.ts';
import type { Connection } from '../store/database.ts';
import type { ModelRow } from '../store/model-rows.ts';
import { readModelRows } from '../store/model-rows.ts';
import type { Schema } from '../store/schema-reader.ts';
import { columnsOf } from '../store/schema-reader.ts';
import type { Catalogue, Gap, Offer, ProviderConnections } from './catalogue.ts';
import { createOwnership, nameOf, readConnections, toCatalogue } from './catalogue.ts';

/** What a command wants of a catalogue. */
export interface Wishes {
  /** Presets are wanted too. */
  readonly presets: boolean;
  /** For whom: private presets of other organizations are none of its business. */
  readonly organization?: string;
}

/** @returns rows by id, sorted @throws SqliteError */
export const rowsById = (connection: Connection): ReadonlyMap<string, ModelRow> =>
  new Map(readModelRows(connection).map((row) => [row.id, row]));

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
  if (maker !== undefined) return { id, leftOut: 'of_user', owner: { user: maker } };
  return { id, leftOut: isActive ? undefined : 'switched_off' };
}

/** @returns a function that offers a preset, left out unless presets are wanted and it is nobody's own */
export function createPresetOffers(
  connection: Connection,
  schema: Schema,
  { presets, organization }: Wishes,
): (row: ModelRow) => Offer {
  if (!presets) return ({ id }) => ({ id, leftOut: 'preset' });
  const ownerOf = organization === undefined ? () => undefined : createOwnership(connection, schema, organization);
  return (row) => {
    const owner = row.maker === undefined ? ownerOf(row.id) : undefined;
    return owner === undefined
      ? offerRow(row)
      : { id: row.id, leftOut: 'of_organization', owner: { organization: owner } };
  };
}

/** What the connections list one by one; what they are asked for at run time is a gap. @throws SqliteError */
export function fromConfig(connection: Connection, schema: Schema, wishes: Wishes): Catalogue {
  const rows = rowsById(connection);
  const known = readConnections(connection, schema);
  const offers = known.connections.flatMap(({ kind, models }) =>
    models.map((id): Offer => {
      // a row on `llama3` stands for `llama3:latest` too (utils/models.py)
      const row = rows.get(id) ?? (kind === 'ollama' ? rows.get(id.split(':')[0] ?? id) : undefined);
      return { id, leftOut: row?.isActive === false && !row.isPreset ? 'switched_off' : undefined };
    }),
  );
  const presets = [...rows.values()]
    .filter(({ isPreset }) => isPreset)
    .map(createPresetOffers(connection, schema, wishes));
  const arenas = idsOf(createSettings(connection, schema)('evaluation.arena.models'));
  return toCatalogue([...offers, ...presets, ...arenas.map((id): Offer => ({ id, leftOut: 'arena' }))], {
    beside: prepareComposites(connection, schema)(),
    gaps: [...gapsOf(known), ...pipesOf(connection)],
  });
}

function gapsOf({ connections, unknown }: ProviderConnections): readonly Gap[] {
  return [
    ...unknown.map((kind) => ({
      why: `The connections of ${nameOf(kind)} are not in the file: the backend takes them from its environment. --from live asks the backend itself.`,
      mayHave: (id: string) => kind === 'openai' || id.includes(':'),
    })),
    ...connections
      .filter(({ models }) => models.length === 0)
      .map(({ label, mayHave }) => ({
        why: `The ${label} lists its models at run time, and so they are not in the file. --from live asks for them.`,
        mayHave,
      })),
  ];
}

/** Functions that are models: what a manifold offers, only its code knows. */
function pipesOf(connection: Connection): readonly Gap[] {
  const columns = columnsOf(connection, 'function');
  if (!columns.has('type') || !columns.has('is_active')) return [];
  return connection
    .prepare<[], string>("SELECT id FROM function WHERE type = 'pipe' AND is_active = 1")
    .pluck()
    .all()
    .map((pipe) => ({
      why: `The function ${quoted(pipe)} makes models of its own. --from live asks for them.`,
      mayHave: (id: string) => id === pipe || id.startsWith(`${pipe}.`),
    }));
}
