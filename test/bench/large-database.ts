/** A database of the size that DESIGN's budgets name, with the schema of a real backend. */
import { createDatabase } from '../support/database.ts';
import type { TestDatabase } from '../support/database.ts';

export const USERS = 100_000;
export const ORGANIZATIONS = 1_000;
export const GRANTS_EACH = 50;
/** Models that the provider has. */
export const MODELS = 300;

export const userOf = (index: number): string => `user-${String(index).padStart(6, '0')}`;
export const modelOf = (index: number): string => `provider/model-${String(index % MODELS).padStart(3, '0')}`;
const organizationOf = (index: number): string => `org-${String(index % ORGANIZATIONS).padStart(4, '0')}`;
/** The n-th grant of the organization that the user of this index is in. */
export const grantOf = (user: number, n: number): string => modelOf((user % ORGANIZATIONS) * 7 + n);

/** In an organization of its own that has every model. */
export const USER_OF_ALL = 'user-of-all';

/** 100,000 users, 100 in each of 1,000 organizations with 50 grants each; made in seconds, the caller closes it. */
export function createLargeDatabase(): TestDatabase {
  const database = createDatabase();
  database.sql.transaction(() => {
    for (let index = 0; index < USERS; index += 1) {
      database.addUser({ id: userOf(index) });
      database.addMember(organizationOf(index), userOf(index));
    }
    for (let index = 0; index < ORGANIZATIONS; index += 1) {
      for (let n = 0; n < GRANTS_EACH; n += 1) database.grant(organizationOf(index), grantOf(index, n));
    }
    database.addUser({ id: USER_OF_ALL });
    database.addMember('org-of-all', USER_OF_ALL);
    for (let index = 0; index < MODELS; index += 1) database.grant('org-of-all', modelOf(index));
  })();
  database.sql.exec('ANALYZE');
  return database;
}
