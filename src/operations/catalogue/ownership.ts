/** Presets that are an organization's own: it was granted them by their own ids, and the backend keeps them private. */
import type { Connection } from '../../store/database.ts';
import type { Schema } from '../../store/schema-reader.ts';
import { activeCondition, columnsOf } from '../../store/schema-reader.ts';

/**
 * @param organization that asks: what it has a grant of, switched on or off, is its own too
 * @returns a function that names another organization whose private preset it is
 */
export function createOwnership(
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
 * For whom a preset is: everybody where `access_control` is null (0.6), or where `*` may read it (`access_grant`, 0.12).
 * @returns a function that tells whether the backend shows a preset to everybody
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
