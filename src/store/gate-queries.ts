/**
 * The statements of one decision that nothing is cached for, by name: what `doctor` explains and `bench-queries` times
 * is word for word what the gate prepares.
 */
import { grantsQuery, SWITCH_QUERY } from './grants.ts';
import { membershipsQuery } from './memberships.ts';
import { presetQuery } from './presets.ts';
import { VERSION_QUERY } from './reader.ts';
import type { Schema } from './schema-reader.ts';
import { API_KEY_QUERIES, ROLE_QUERY } from './users.ts';

export interface GateQuery {
  readonly name: string;
  readonly sql: string;
  /** What its one parameter is. */
  readonly asks: 'user' | 'organization' | 'model' | 'api_key' | 'subject';
}

/** @returns those that can run on this schema */
export function gateQueries(schema: Schema): readonly GateQuery[] {
  const apiKey = API_KEY_QUERIES[schema.apiKeys];
  return [
    { name: 'role', sql: ROLE_QUERY, asks: 'user' },
    ...(apiKey === undefined ? [] : [{ name: 'api_key', sql: apiKey, asks: 'api_key' } as const]),
    { name: 'memberships', sql: membershipsQuery(schema), asks: 'user' },
    ...(schema.clientOrganizations ? [{ name: 'switch', sql: SWITCH_QUERY, asks: 'organization' } as const] : []),
    { name: 'grants', sql: grantsQuery(schema), asks: 'organization' },
    { name: 'preset', sql: presetQuery(schema), asks: 'model' },
    ...(schema.counted ? [{ name: 'versions', sql: VERSION_QUERY, asks: 'subject' } as const] : []),
  ];
}
