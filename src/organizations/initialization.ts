/** Makes what is missing in a file, as the gate does at its start, and says what it had before. */
import { type Operation, changing, reading } from '../backend-file/transaction.ts';
import { type Initialization, type Organization, NOTHING_LINKED, initialize, isComplete } from '../store/initialize.ts';
import { readSchema, SCHEMA_OBJECTS } from '../store/schema.ts';
import { requireUsableId } from './organizations.ts';

/**
 * A complete file is only read, so that one that may not be written is no failure.
 * @param isConfigured the environment names the organization, which the gate links whatever its id is
 * @returns the record, whose `problem` is why the gate cannot use the file even now; beside it the models that were not
 *   linked
 * @throws OperationFailure as `changing`, and where a new organization cannot have that id
 */
export async function initializeBackend(
  operation: Operation,
  organization: Organization | undefined,
  isConfigured = false,
) {
  const isDone = await reading(operation, 'backend', (connection) => isComplete(connection, organization));
  if (isDone) return describe({ made: [], failed: [], linked: NOTHING_LINKED }, organization, null);
  return changing(operation, 'backend', (connection) => {
    if (organization !== undefined && !isConfigured) requireUsableId(connection, organization.id);
    const done = initialize(connection, organization);
    return describe(done, organization, readSchema(connection).problem ?? null);
  });
}

function describe(
  { made, failed, linked }: Initialization,
  organization: Organization | undefined,
  problem: string | null,
) {
  const objects = SCHEMA_OBJECTS.map(({ kind, name }) => {
    const full = `${kind} ${name}`;
    // SQLite's words
    const failure = failed.find((line) => line.startsWith(`${full}: `))?.slice(full.length + 2) ?? null;
    const state = failure !== null ? 'failed' : made.includes(full) ? 'made' : 'present';
    return { kind, name, state, failure } as const;
  });
  const { usersElsewhere, modelsLeftOut } = linked;
  const record = {
    objects,
    made: objects.filter(({ state }) => state === 'made').length,
    failed: objects.filter(({ state }) => state === 'failed').length,
    organization: organization?.id ?? null,
    linked_users: linked.users,
    linked_models: linked.models,
    left_out_users: usersElsewhere,
    left_out_unusable: modelsLeftOut.unusable.length,
    left_out_of_users: modelsLeftOut.ofUsers.length,
    problem,
  };
  return { record, leftOut: modelsLeftOut };
}
