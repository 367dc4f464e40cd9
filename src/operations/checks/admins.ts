/** Whether somebody can manage the backend: the deployment guide's step 4, `WHERE role = 'admin'`. */
import type { Connection } from '../../store/database.ts';
import { quoted } from '../quoted.ts';
import type { Finding } from './finding.ts';
import { ok, warning } from './finding.ts';

const NAME = 'admins';
const SHOWN = 5;

/** @throws SqliteError where the file cannot be read */
export function checkAdmins(connection: Connection): Finding {
  const count = connection.prepare<[], number>(`SELECT count(*) FROM "user" WHERE role = 'admin'`).pluck().get() ?? 0;
  if (count === 0) {
    const hasUsers = connection.prepare('SELECT 1 FROM "user" LIMIT 1').get() !== undefined;
    return warning(
      NAME,
      hasUsers ? 'No user of the backend has the role admin.' : 'The backend has no user yet, and so no admin.',
      hasUsers
        ? "Set the role of one user to 'admin' in the backend's table \"user\"."
        : 'Register at the backend: the first user becomes its admin.',
    );
  }
  const some = connection
    .prepare<[number], { id: string; email: string | null }>(
      `SELECT id, email FROM "user" WHERE role = 'admin' ORDER BY lower(email), id LIMIT ?`,
    )
    .all(SHOWN)
    .map(({ id, email }) => quoted(email ?? id).slice(1, -1));
  const more = count > some.length ? ` and ${(count - some.length).toLocaleString('en')} more` : '';
  return ok(NAME, `The backend has ${count === 1 ? 'one' : count.toLocaleString('en')}: ${some.join(', ')}${more}.`);
}
