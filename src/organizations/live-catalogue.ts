/**
 * The catalogue of the running backend: the models that an admin sees at `GET /api/models` (main.py, 0.6.18 and 0.12.4)
 * are those that can be run.
 *
 * `GET /api/models/base` says whether that was all: it lists every provider's models to admins, unfiltered by the
 * backend's own access control and by a gate in front, which would both shorten the first list without a trace.
 */
import { type BackendAccess, askBackend } from '../backend-file/backend.ts';
import { OperationFailure } from '../backend-file/failure.ts';
import { quoted, quotedFew } from '../backend-file/text.ts';
import { prepareComposites, type ModelRow, readModelRows } from '../store/models.ts';
import type { Connection } from '../store/database.ts';
import type { Schema } from '../store/schema.ts';
import { type Catalogue, type Gap, type Offer, type Wishes, createPresetOffers, toCatalogue } from './catalogue.ts';
import { type ProviderConnection, readConnections } from './configured-catalogue.ts';
import { isObject } from '../references/json.ts';

interface LiveModels {
  /** Of `/api/models`. */
  readonly listed: readonly Entry[];
  /** Of `/api/models/base`: neither presets nor arenas. */
  readonly provided: readonly Entry[];
  readonly url: URL;
}

type Entry = Readonly<Record<string, unknown>> & { readonly id: string };

/** @throws OperationFailure as `askBackend`, and where the answers are no lists of models */
export async function askForModels(access: BackendAccess): Promise<LiveModels> {
  // without `refresh` a backend that caches its models answers with those of yesterday
  const listed = entriesOf(await askBackend(access, '/api/models?refresh=true'), access.url);
  return { listed, provided: entriesOf(await askBackend(access, '/api/models/base'), access.url), url: access.url };
}

function entriesOf(answer: unknown, { origin }: URL): readonly Entry[] {
  const data = isObject(answer) ? answer['data'] : undefined;
  if (!Array.isArray(data)) {
    throw new OperationFailure(
      `${quoted(origin)} answers with JSON that is no list of models. Nothing was changed. Is it the address of Open WebUI's backend?`,
    );
  }
  return data.filter(isEntry).filter((entry) => !isFilter(entry));
}

const isEntry = (item: unknown): item is Entry => isObject(item) && typeof item['id'] === 'string';

/** A pipeline that changes what others say is no model (main.py, `get_models`). */
const isFilter = ({ pipeline }: Entry): boolean => isObject(pipeline) && pipeline['type'] === 'filter';

/** @throws OperationFailure where the list was shortened on its way */
export function fromLive(live: LiveModels, connection: Connection, schema: Schema, wishes: Wishes): Catalogue {
  const rows = new Map(readModelRows(connection).map((row) => [row.id, row]));
  const offerPreset = createPresetOffers(connection, schema, wishes);
  refuseShortened(live, rows);
  const offers = live.listed.map((entry): Offer => {
    const { id } = entry;
    if (entry['arena'] === true) return { id, leftOut: 'arena' };
    if (entry['preset'] !== true) return { id };
    const row = rows.get(id);
    // made since, or not of this file: whose it is cannot be known
    if (row === undefined) return { id, leftOut: wishes.presets ? undefined : 'presets' };
    // a listed model is on, whatever the row says
    return offerPreset({ ...row, isActive: true });
  });
  const listed = new Set(live.listed.map(({ id }) => id));
  const switchedOff = live.provided
    .filter(({ id }) => !listed.has(id))
    .map(({ id }): Offer => ({ id, leftOut: 'switched_off' }));
  // a preset that is switched off is in no list
  const sleeping = [...rows.values()]
    .filter(({ id, isPreset }) => isPreset && !listed.has(id))
    .map(({ id }): Offer => ({ id, leftOut: 'presets' }));
  return toCatalogue([...sleeping, ...switchedOff, ...offers], {
    beside: prepareComposites(connection, schema)(),
    gaps: gapsOf(live, readConnections(connection, schema).connections),
  });
}

function refuseShortened({ listed, provided, url }: LiveModels, rows: ReadonlyMap<string, ModelRow>): void {
  const shown = new Set(listed.map(({ id }) => id));
  const isOff = (id: string): boolean => rows.get(id)?.isActive === false;
  const hidden = provided
    .filter(
      ({ id, owned_by: owner }) =>
        !shown.has(id) && !isOff(id) && !(owner === 'ollama' && isOff(id.split(':')[0] ?? id)),
    )
    .map(({ id }) => id);
  if (hidden.length === 0) return;
  throw new OperationFailure(
    `${quoted(url.origin)} hides models from this admin that it has: ${quotedFew(hidden, MOST_NAMED)}. Nothing was changed. Ask the backend itself and not the gate; and if it is the backend, its own access control is in the way (BYPASS_ADMIN_ACCESS_CONTROL).`,
  );
}

const MOST_NAMED = 3;

/** A provider that is down is missing from the list, and its models with it. */
function gapsOf({ provided }: LiveModels, connections: readonly ProviderConnection[]): readonly Gap[] {
  return connections
    .filter(({ kind, index }) => !provided.some((entry) => isOf(entry, kind, index)))
    .map(({ label, mayHave }) => ({
      why: `The ${label} lists nothing of its own at the moment: is it down?`,
      mayHave,
    }));
}

/** OpenAI's entries name one connection, those of Ollama all that have the model. */
function isOf(entry: Entry, kind: ProviderConnection['kind'], index: number): boolean {
  if (kind === 'openai') return entry['urlIdx'] === index;
  const ollama = entry['ollama'];
  return isObject(ollama) && Array.isArray(ollama['urls']) && ollama['urls'].includes(index);
}
