/** The models of an organization brought in line with a catalogue: first as a plan, then exactly as planned. */
import { OperationFailure } from '../backend-file/failure.ts';
import type { Operation } from '../backend-file/transaction.ts';
import { changing, reading } from '../backend-file/transaction.ts';
import { toOrganizationId } from '../identity/principal.ts';
import type { ModelId } from '../policy/grant.ts';
import { compileGrants, coveringGrant } from '../policy/grant.ts';
import type { Connection } from '../store/database.ts';
import { prepareGrants } from '../store/grants.ts';
import type { Schema } from '../store/schema-reader.ts';
import { activeCondition } from '../store/schema-reader.ts';
import type { Catalogue } from './catalogue.ts';
import type { ChosenOrganization, OrganizationState } from './organizations.ts';
import { requireOrganization } from './organizations.ts';
import { GRANTS, createRowWriter, requireSwitch } from './rows.ts';

export interface SyncRequest {
  readonly chosen: ChosenOrganization;
  /** Read again in the transaction that writes. */
  readonly catalogue: (connection: Connection, schema: Schema) => Catalogue;
  /** Switch grants off that the catalogue does not have. */
  readonly remove: boolean;
  /** Switch grants on again that somebody has switched off. */
  readonly switchOn: boolean;
}

export interface SyncPlan extends OrganizationState {
  readonly catalogue: Catalogue;
  /** Rows to be made. */
  readonly allow: readonly string[];
  readonly switchOn: readonly string[];
  readonly switchOff: readonly string[];
  /** In the catalogue, and switched off by somebody who may have meant it. */
  readonly staysOff: readonly string[];
  /** No row is needed. */
  readonly covered: readonly { readonly model: string; readonly by: string }[];
  /** Granted already. */
  readonly unchanged: readonly string[];
  /** Granted and not in the catalogue, where nothing is to be switched off. */
  readonly notInCatalogue: readonly string[];
  /** To be switched off, were they not perhaps of something that does not show its models. */
  readonly uncertain: readonly string[];
}

/** @throws OperationFailure as `reading`, where nobody has named the organization, and as the catalogue says */
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
    const rows = createRowWriter(connection, GRANTS, request.chosen.id);
    for (const model of [...current.allow, ...current.switchOn]) rows.add(model);
    if (current.switchOff.length > 0) requireSwitch(rows, GRANTS.name);
    for (const model of current.switchOff) rows.switchOff(model);
    return undefined;
  });
}

const changesOf = ({ allow, switchOn, switchOff }: SyncPlan): string => JSON.stringify([allow, switchOn, switchOff]);

function plan(connection: Connection, schema: Schema, request: SyncRequest): SyncPlan {
  const { chosen, remove, switchOn } = request;
  const isNew = !requireOrganization(connection, chosen, 'add');
  const catalogue = request.catalogue(connection, schema);
  if (remove && catalogue.models.length === 0) {
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
  const place = (model: ModelId): Place => {
    if (isOn(model)) return 'unchanged';
    if (coveringGrant(active, model) !== undefined) return 'covered';
    if (!granted.has(model)) return 'allow';
    return switchOn ? 'switchOn' : 'staysOff';
  };
  const placed = Object.groupBy(catalogue.models, place);
  const beyond = beyondCatalogue([...active.exact], catalogue, remove);
  return {
    catalogue,
    isNew,
    isActive: prepareGrants(connection, schema).isActive(chosen.id),
    allow: placed.allow ?? [],
    switchOn: placed.switchOn ?? [],
    staysOff: placed.staysOff ?? [],
    unchanged: placed.unchanged ?? [],
    covered: (placed.covered ?? []).map((model) => ({ model, by: coveringGrant(active, model) ?? model })),
    ...beyond,
  };
}

type Place = 'allow' | 'switchOn' | 'staysOff' | 'covered' | 'unchanged';

/** Patterns are nobody's model, and what was left out of the catalogue is there all the same: neither is touched. */
function beyondCatalogue(
  granted: readonly string[],
  { models, leftOut, beside, gaps }: Catalogue,
  remove: boolean,
): Pick<SyncPlan, 'switchOff' | 'notInCatalogue' | 'uncertain'> {
  const present = new Set<string>(models);
  const isThere = (id: string): boolean => present.has(id) || leftOut.has(id) || beside.has(id);
  const absent = granted.filter((id) => !isThere(id)).toSorted();
  const mayBeThere = (id: string): boolean => gaps.some((gap) => gap.mayHave(id));
  const certain = absent.filter((id) => !mayBeThere(id));
  return remove
    ? { switchOff: certain, notInCatalogue: [], uncertain: absent.filter(mayBeThere) }
    : { switchOff: [], notInCatalogue: absent, uncertain: [] };
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
