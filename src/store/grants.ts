import type { Connection } from './database.ts';
import { activeCondition } from './schema-reader.ts';
import type { Schema } from './schema-reader.ts';

/** Everything that is asked about organizations and what they grant. */
export interface GrantReader {
  /** @returns the patterns of the active rows; a NULL `is_active` counts as 1, the column's default */
  patternsOf(organization: string): readonly string[];
  /** @returns every pattern that some organization grants, but for the one that grants everything */
  allPatterns(): readonly string[];
  /** @returns false only where mAI's `client_organizations` says so */
  isActive(organization: string): boolean;
}

/** Of one organization, and not of one whose id a column of numbers or without case takes for the same. */
export const grantsQuery = ({ grantActive }: Pick<Schema, 'grantActive'>): string =>
  `SELECT model_id FROM organization_models
    WHERE organization_id = ? COLLATE BINARY AND typeof(organization_id) = 'text' AND ${activeCondition(grantActive)}`;

/** mAI's switch for a whole organization; where it stands more than once, off is off. */
export const SWITCH_QUERY = `SELECT min(${activeCondition(true)}) FROM client_organizations WHERE id = ?`;

/**
 * The grant alone decides: the `is_active` of a `model` row is the backend's switch for its own lists, and most
 * granted provider models have no such row.
 */
export function prepareGrants(connection: Connection, schema: Schema): GrantReader {
  const own = connection.prepare<[string]>(grantsQuery(schema)).pluck();
  const all = connection
    .prepare<[]>(
      `SELECT DISTINCT model_id COLLATE BINARY FROM organization_models WHERE ${activeCondition(schema.grantActive)}`,
    )
    .pluck();
  const organization = schema.clientOrganizations ? connection.prepare<[string]>(SWITCH_QUERY).pluck() : undefined;
  return {
    patternsOf: (id) => own.all(id).filter(isText),
    allPatterns: () =>
      all
        .all()
        .filter(isText)
        .filter((pattern) => pattern !== '*'),
    isActive: (id) => (organization?.get(id) ?? 1) === 1,
  };
}

const isText = (value: unknown): value is string => typeof value === 'string';
