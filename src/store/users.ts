import type { UserId } from '../identity/principal.ts';
import { toUserId } from '../identity/principal.ts';
import type { Connection } from './database.ts';
import type { Schema } from './schema-reader.ts';

export interface UserReader {
  /** @returns the backend's word for the role, or undefined where it does not know the user */
  roleOf(user: string): string | undefined;
  userOfApiKey(key: string): UserId | undefined;
}

/** `user` is quoted for PostgreSQL's sake, where it is a reserved word; SQLite reads both. */
export const ROLE_QUERY = 'SELECT role FROM "user" WHERE id = ?';

/** By `Schema.apiKeys`. */
export const API_KEY_QUERIES = {
  table: 'SELECT user_id FROM api_key WHERE "key" = ?',
  column: 'SELECT id FROM "user" WHERE api_key = ?',
  none: undefined,
} as const;

export function prepareUsers(connection: Connection, schema: Schema): UserReader {
  const role = connection.prepare<[string]>(ROLE_QUERY).pluck();
  const keyQuery = API_KEY_QUERIES[schema.apiKeys];
  const key = keyQuery === undefined ? undefined : connection.prepare<[string]>(keyQuery).pluck();
  return {
    roleOf: (id) => {
      const found = role.get(id);
      // no role, or one that is no text: the backend lets such a user nowhere, and an empty role would pass for an ordinary one
      return found === undefined || typeof found === 'string' ? found : 'pending';
    },
    userOfApiKey: (value) => {
      const found = key?.get(value);
      return typeof found === 'string' ? toUserId(found) : undefined;
    },
  };
}
