/**
 * The database as commands look at it: inside of a transaction of the caller, with the very code that answers the gate's
 * requests, and nothing kept beyond it.
 */
import { toOrganizationId } from '../identity/principal.ts';
import { CachedView } from './cached-view.ts';
import type { Connection } from './database.ts';
import { ROLES_NOT_ENROLLED } from './initialize.ts';
import { type PointReads, prepareStatements, readPoint } from './reader.ts';
import type { StoreView } from './store-view.ts';

interface Inspection {
  readonly view: StoreView;
  /** Users whom the gate would have enrolled by what the view was asked. Nothing is written. */
  readonly enrolled: ReadonlySet<string>;
}

/**
 * @param enrolling id of the organization that the gate enrols new users in; undefined where it enrols no user
 * @returns what the gate would see of the file in this moment; valid as long as the transaction lasts
 * @throws UnreadableSchema where tables are missing or have another shape
 */
export function inspect(connection: Connection, enrolling?: string): Inspection {
  const enrolled = new Set<string>();
  const stored = prepareStatements(connection);
  const wouldEnrol = (user: string): boolean => {
    const role = enrolling === undefined ? undefined : stored.roleOf(user);
    return role !== undefined && !ROLES_NOT_ENROLLED.has(role);
  };
  const reads: PointReads = {
    ...stored,
    membershipsOf: (user) => {
      const memberships = stored.membershipsOf(user);
      if (enrolling === undefined || memberships.length > 0 || !wouldEnrol(user)) return memberships;
      enrolled.add(user);
      return [{ organization: toOrganizationId(enrolling), active: true }];
    },
  };
  const moment = { generation: 1, epochs: { members: 1, models: 1 }, goodAt: 0, problem: undefined };
  const view = new CachedView(
    { ...moment, read: (name, ...args) => ({ value: readPoint(reads, name, ...args) }) },
    { maxStaleMs: 0, now: () => 0 },
  );
  return { view, enrolled };
}
