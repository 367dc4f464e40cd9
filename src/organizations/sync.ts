/** The models of an organization brought in line with a catalogue: first as a plan, then exactly as planned. */
import { unchanged } from '../backend-file/failure.ts';
import { type Operation, reading } from '../backend-file/transaction.ts';
import { toOrganizationId } from '../identity/principal.ts';
import { compileGrants, coveringGrant } from '../policy/grant.ts';
import type { Connection } from '../store/database.ts';
import type { Schema } from '../store/schema.ts';
import { type Catalogue, type Source, LEFT_OUT } from './catalogue.ts';
import { type ChosenOrganization, requireOrganization, GRANTS, changeRows } from './organizations.ts';
import { readGranted } from './standing.ts';

export interface SyncRequest {
  readonly chosen: ChosenOrganization;
  readonly catalogue: (source: Source) => Catalogue;
  readonly presets: boolean;
  readonly remove: boolean;
  readonly switchOn: boolean;
}

export type SyncPlan = ReturnType<typeof plan>;

/** @returns beside the record what sentences need @throws OperationFailure as `reading`, and as the catalogue says */
export const planSync = (operation: Operation, request: SyncRequest): Promise<SyncPlan> =>
  reading(operation, 'organizations', (connection, schema) => plan(connection, schema, request));

/** Writes what `shown` says, in one transaction. @throws OperationFailure where something else would be written by now */
export const applySync = (operation: Operation, request: SyncRequest, shown: SyncPlan): Promise<void> =>
  changeRows(operation, request.chosen, 'add', GRANTS, ({ connection, schema, rows }) => {
    const current = plan(connection, schema, request);
    if (changesOf(current) !== changesOf(shown)) {
      throw unchanged(
        'Another program has changed the file meanwhile.',
        'Run the command again to see the difference now.',
      );
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
