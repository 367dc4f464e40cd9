import type { TestDatabase } from './database.ts';

/** Each kind of user and model that the guide's migration script distinguishes, and values that are not expected. */
export function addMigrationWorld(database: TestDatabase): void {
  database.addUser({ id: 'root', role: 'admin' });
  database.addUser({ id: 'ada' });
  database.addUser({ id: "o'brien\n\u001b[31m", name: '"; DROP TABLE user; --' });
  database.addUser({ id: `${'x'.repeat(10_000)}\u202e/:` });
  database.addUser({ id: 'outlaw', role: 'banned' });
  database.addUser({ id: 'waiting', role: 'pending' });
  database.addModel({ id: 'openai/gpt-4o:free' });
  database.addModel({ id: 'switched-off', active: 0 });
  database.addModel({ id: 'preset', base: 'openai/gpt-4o:free' });
}
