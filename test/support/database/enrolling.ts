/** A database whose new users are enrolled. */
import { type TestDatabase, createDatabase } from './database.ts';

export const ENROL = { organization: { id: 'acme', name: 'Acme' }, autoEnroll: true };

/** One model is granted, and one user is linked already: no other is at the start. */
export function createEnrollingDatabase(): TestDatabase {
  const database = createDatabase({ era: '0.6.18' });
  database.addUser({ id: 'first' });
  database.addMember('acme', 'first');
  database.grant('acme', 'granted');
  return database;
}
