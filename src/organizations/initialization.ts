/** Makes what is missing in a file, as the gate does at its start, and says what stood there before. */
import type { Operation } from '../backend-file/transaction.ts';
import { changing, reading } from '../backend-file/transaction.ts';
import type { Initialization, Organization } from '../store/initialize.ts';
import { NOTHING_LINKED, initialize, isComplete } from '../store/initialize.ts';
import { readSchema } from '../store/schema-reader.ts';
import type { SchemaObject } from '../store/tables.ts';
import { SCHEMA_OBJECTS } from '../store/tables.ts';
import { requireUsableId } from './organizations.ts';

export interface InitializedObject {
  readonly kind: SchemaObject['kind'];
  readonly name: string;
  readonly state: 'made' | 'present' | 'failed';
  /** SQLite's words, where it failed. */
  readonly failure: string | null;
}

export interface InitializedFile extends Pick<Initialization, 'linked'> {
  readonly objects: readonly InitializedObject[];
  /** Why the gate cannot use the file even now, or null. */
  readonly problem: string | null;
}

/**
 * A complete file is only read, so that one that may not be written is no failure.
 * @param isConfigured the environment names the organization, which the gate links whatever its id is
 * @throws OperationFailure as `changing`, and where a new organization cannot have that id
 */
export async function initializeBackend(
  operation: Operation,
  organization: Organization | undefined,
  isConfigured = false,
): Promise<InitializedFile> {
  const isDone = await reading(operation, 'backend', (connection) => isComplete(connection, organization));
  if (isDone) return describe({ made: [], failed: [], linked: NOTHING_LINKED }, undefined);
  return changing(operation, 'backend', (connection) => {
    if (organization !== undefined && !isConfigured) requireUsableId(connection, organization.id);
    const done = initialize(connection, organization);
    return describe(done, readSchema(connection).problem);
  });
}

function describe({ made, failed, linked }: Initialization, problem: string | undefined): InitializedFile {
  const objects = SCHEMA_OBJECTS.map(({ kind, name }): InitializedObject => {
    const full = `${kind} ${name}`;
    const failure = failed.find((line) => line.startsWith(`${full}: `))?.slice(full.length + 2) ?? null;
    return { kind, name, state: failure !== null ? 'failed' : made.includes(full) ? 'made' : 'present', failure };
  });
  return { objects, linked, problem: problem ?? null };
}
