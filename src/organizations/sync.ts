/** The models of an organization brought in line with a catalogue: first as a plan, then exactly as planned. */
import { OperationFailure } from '../backend-file/failure.ts';
import { type Operation, changing, reading } from '../backend-file/transaction.ts';
import { toOrganizationId } from '../identity/principal.ts';
import { compileGrants, coveringGrant } from '../policy/grant.ts';
import type { Connection } from '../store/database.ts';
import { prepareGrants } from '../store/queries.ts';
import { type Schema, activeCondition } from '../store/schema.ts';
import { type Catalogue, type LeftOut, LEFT_OUT } from './catalogue.ts';
import { type ChosenOrganization, requireOrganization } from './organizations.ts';
import { GRANTS, writeRows } from './rows.ts';

export interface SyncRequest {
  readonly chosen: ChosenOrganization;
  /** Called again in the transaction that writes. */
  readonly catalogue: (connection: Connection, schema: Schema) => Catalogue;
  /** Switch grants off that the catalogue does not have. */
  readonly remove: boolean;
  /** Switch grants on again that were switched off by hand. */
  readonly switchOn: boolean;
}

/** The record, and beside it what sentences need. */
export type SyncPlan = ReturnType<typeof plan>;

/** @throws OperationFailure as `reading`, where no row names the organization, and as the catalogue says */
export function planSync(operation: Operation, request: SyncRequest): Promise<SyncPlan> {
  return reading(operation, 'organizations', (connection, schema) => plan(connection, schema, request));
}

/**
 * Writes what `shown` says, in one transaction.
 * @returns undefined; or, where the file has changed and something else would have been written, the new plan
 */
export function applySync(operation: Operation, request: SyncRequest, shown: SyncPlan): Promise<SyncPlan | undefined> {
  return changing(operation, 'organizations', (connection, schema) => {
    const current = plan(connection, schema, request);
    if (changesOf(current) !== changesOf(shown)) return current;
    const { allow, switch_on, switch_off } = current.record;
    writeRows(connection, GRANTS, request.chosen.id, (rows) => {
      for (const model of [...allow, ...switch_on]) rows.add(model);
      for (const model of switch_off) rows.switchOff(model);
    });
    return undefined;
  });
}

const changesOf = ({ record: { allow, switch_on, switch_off } }: SyncPlan): string =>
  JSON.stringify([allow, switch_on, switch_off]);

function plan(connection: Connection, schema: Schema, request: SyncRequest) {
  const { chosen, remove, switchOn } = request;
  const created = !requireOrganization(connection, chosen, 'add');
  const catalogue = request.catalogue(connection, schema);
  const { models, leftOut, owners, gaps } = catalogue;
  if (remove && models.length === 0) {
    throw new OperationFailure(
      'The catalogue is empty, and --remove would switch every grant off. Nothing was changed. Is it the right file, and the right --from? To switch single grants off: `modelgate model deny ID --org ORGANIZATION`',
    );
  }
  const granted = readGranted(connection, schema, chosen.id);
  const isOn = (id: string): boolean => granted.get(id) === true;
  const active = compileGrants(
    toOrganizationId(chosen.id),
    [...granted.keys()].filter((pattern) => isOn(pattern)),
  );
  const placed = Object.groupBy(models, (model) => {
    if (isOn(model)) return 'unchanged';
    if (coveringGrant(active, model) !== undefined) return 'covered';
    if (!granted.has(model)) return 'allow';
    return switchOn ? 'switch_on' : 'stays_off';
  });
  const idsLeftOut = (why: LeftOut) => [...leftOut].filter(([, reason]) => reason === why).map(([id]) => id);
  const beyond = beyondCatalogue([...active.exact], catalogue, remove);
  const record = {
    created,
    allow: placed.allow ?? [],
    switch_on: placed.switch_on ?? [],
    switch_off: beyond.switch_off,
    /** In the catalogue, and switched off by hand, perhaps on purpose. */
    stays_off: placed.stays_off ?? [],
    /** No row is needed. */
    covered: (placed.covered ?? []).map((model) => ({ model, by: coveringGrant(active, model) ?? model })),
    /** Granted already. */
    unchanged: placed.unchanged ?? [],
    not_in_catalogue: beyond.not_in_catalogue,
    uncertain: beyond.uncertain,
    left_out: Object.fromEntries(LEFT_OUT.map((why) => [why, idsLeftOut(why)])),
    owners: Object.fromEntries(owners),
    gaps: [...new Set(gaps.map(({ why }) => why))],
  };
  return { record, isEmpty: models.length === 0, isActive: prepareGrants(connection, schema).isActive(chosen.id) };
}

/**
 * Patterns are no models, and a model that was left out of the catalogue is there all the same: neither is touched.
 * @returns grants of models that are not in the catalogue: to be switched off; to be left on, because that was not asked
 *   for; to be left on, because a gap may have the model
 */
function beyondCatalogue(granted: readonly string[], { models, leftOut, beside, gaps }: Catalogue, remove: boolean) {
  const present = new Set<string>(models);
  const isThere = (id: string): boolean => present.has(id) || leftOut.has(id) || beside.has(id);
  const absent = granted.filter((id) => !isThere(id)).toSorted();
  const mayBeThere = (id: string): boolean => gaps.some((gap) => gap.mayHave(id));
  const certain = absent.filter((id) => !mayBeThere(id));
  return remove
    ? { switch_off: certain, not_in_catalogue: [], uncertain: absent.filter(mayBeThere) }
    : { switch_off: [], not_in_catalogue: absent, uncertain: [] };
}

/** @returns what the organization has rows of, and whether one of the rows counts */
function readGranted(connection: Connection, schema: Schema, organization: string): ReadonlyMap<string, boolean> {
  const rows = connection
    .prepare<[string], { readonly id: string; readonly active: number }>(
      `SELECT model_id AS id, max(${activeCondition(schema.grantActive)}) AS active
       FROM organization_models WHERE organization_id = ? AND typeof(model_id) = 'text' GROUP BY model_id`,
    )
    .all(organization);
  return new Map(rows.map(({ id, active }) => [id, active === 1]));
}
