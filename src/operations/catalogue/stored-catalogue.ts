/** Catalogues that the backend's file holds: its `model` table, and the connections of its configuration. */
import { prepareComposites } from '../../store/composites.ts';
import type { Connection } from '../../store/database.ts';
import type { Schema } from '../../store/schema-reader.ts';
import { columnsOf, activeCondition } from '../../store/schema-reader.ts';
import { quoted } from '../quoted.ts';
import { createSettings, idsOf } from './backend-settings.ts';
import type { Catalogue, Gap, LeftOut, Offer } from './catalogue.ts';
import { toCatalogue } from './catalogue.ts';
import type { ProviderConnections } from './connections.ts';
import { nameOf, readConnections } from './connections.ts';

/** A row of the backend's `model` table. */
export interface ModelRow {
  readonly id: string;
  /** It stands on another model. mAI writes rows that stand on themselves: those are models like the others. */
  readonly isPreset: boolean;
  readonly isActive: boolean;
}

/** @returns rows by id, sorted; one whose id is no text is no model to anybody @throws SqliteError */
export function readModelRows(connection: Connection): ReadonlyMap<string, ModelRow> {
  const active = activeCondition(columnsOf(connection, 'model').has('is_active'));
  const rows = connection
    .prepare<[], { readonly id: string; readonly preset: number; readonly active: number }>(
      `SELECT id, base_model_id IS NOT NULL AND base_model_id <> id AS preset, ${active} AS active
       FROM model WHERE typeof(id) = 'text' ORDER BY id`,
    )
    .all();
  return new Map(rows.map(({ id, preset, active: on }) => [id, { id, isPreset: preset === 1, isActive: on === 1 }]));
}

/** What a command wants of a catalogue. */
export interface Wishes {
  /** Presets are wanted too. */
  readonly presets: boolean;
}

/** Rows without a base, as the deployment guide's migration links them; those of them that are on. @throws SqliteError */
export function fromTable(connection: Connection, schema: Schema, { presets }: Wishes): Catalogue {
  const arenas = prepareComposites(connection, schema)();
  const offers = [...readModelRows(connection).values()].map(({ id, isPreset, isActive }): Offer => {
    const leftOut: LeftOut | undefined = arenas.has(id)
      ? 'arena'
      : isPreset && !presets
        ? 'preset'
        : isActive
          ? undefined
          : 'switched_off';
    return { id, leftOut };
  });
  return toCatalogue(offers, { beside: arenas });
}

/** What the connections list one by one; what they are asked for at run time is a gap. @throws SqliteError */
export function fromConfig(connection: Connection, schema: Schema, { presets }: Wishes): Catalogue {
  const rows = readModelRows(connection);
  const known = readConnections(connection, schema);
  const offers = known.connections.flatMap(({ kind, models }) =>
    models.map((id): Offer => {
      // a row on `llama3` stands for `llama3:latest` too (utils/models.py)
      const row = rows.get(id) ?? (kind === 'ollama' ? rows.get(id.split(':')[0] ?? id) : undefined);
      return { id, leftOut: row?.isActive === false && !row.isPreset ? 'switched_off' : undefined };
    }),
  );
  const arenas = idsOf(createSettings(connection, schema)('evaluation.arena.models'));
  return toCatalogue(
    [...offers, ...presetsOf(rows, presets), ...arenas.map((id): Offer => ({ id, leftOut: 'arena' }))],
    { beside: prepareComposites(connection, schema)(), gaps: [...gapsOf(known), ...pipesOf(connection)] },
  );
}

/** No connection knows them. @returns the presets among the rows, left out unless they are wanted */
export function presetsOf(rows: ReadonlyMap<string, ModelRow>, presets: boolean): readonly Offer[] {
  const own = [...rows.values()].filter(({ isPreset }) => isPreset);
  return own.map(({ id, isActive }) => ({ id, leftOut: presets ? (isActive ? undefined : 'switched_off') : 'preset' }));
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
