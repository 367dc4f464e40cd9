/** Whom an operator means by an id or an e-mail address. */
import { nearest } from '../nearest.ts';
import type { Connection } from '../store/database.ts';
import { OperationFailure } from './failure.ts';
import { quoted } from './text.ts';

export interface Person {
  readonly id: string;
  readonly email: string | null;
  readonly name: string | null;
  /** The backend's word; null where the row has none. */
  readonly role: string | null;
}

/**
 * @returns a function that finds one user by id, and else by e-mail address in any letter case
 * @throws OperationFailure (that function) where there is none, or where several have the address
 */
export function createPersonFinder(connection: Connection): (idOrEmail: string) => Person {
  const byId = connection.prepare<[string], Person>('SELECT id, email, name, role FROM "user" WHERE id = ?');
  const byEmail = connection.prepare<[string], Person>(
    'SELECT id, email, name, role FROM "user" WHERE lower(email) = lower(?) LIMIT 2',
  );
  return (idOrEmail) => {
    const exact = byId.get(idOrEmail);
    if (exact !== undefined) return exact;
    const [one, other] = byEmail.all(idOrEmail);
    if (one === undefined) {
      throw new OperationFailure(unknownPerson(connection, idOrEmail), { code: 'no_such_user' });
    }
    if (other !== undefined) {
      throw new OperationFailure(`Several users have the e-mail address ${quoted(idOrEmail)}: give the id of one.`);
    }
    return one;
  };
}

/** @returns a sentence or two: no user has this id or address, and who may be meant */
export function unknownPerson(connection: Connection, typed: string): string {
  const addresses = connection.prepare<[], string>(`SELECT email FROM "user" WHERE typeof(email) = 'text'`).pluck();
  const meant = nearest(typed, addresses.iterate());
  const hint = meant === undefined ? '' : ` Did you mean ${meant}?`;
  return `The backend knows no user with the id or e-mail address ${quoted(typed)}.${hint}`;
}

/** What was found by an id or e-mail address. */
type Found = Person | 'unknown' | 'ambiguous';

/**
 * Finds many people at once: by id, and the rest by e-mail address in any letter case, with one reading of the table.
 * @returns one for each name, in their order
 */
export function findPeople(connection: Connection, named: readonly string[]): readonly Found[] {
  const byId = connection.prepare<[string], Person>('SELECT id, email, name, role FROM "user" WHERE id = ?');
  const found = new Map<string, Found>();
  for (const name of named) found.set(name, byId.get(name) ?? 'unknown');
  const addresses = named.filter((name) => found.get(name) === 'unknown');
  if (addresses.length > 0) {
    const byAddress = connection.prepare<[string], Person & { readonly named: string }>(
      `WITH asked AS MATERIALIZED (SELECT value AS named, lower(value) AS address FROM json_each(?))
       SELECT named, id, email, name, role FROM "user" CROSS JOIN asked ON asked.address = lower(email)`,
    );
    for (const { named: name, ...person } of byAddress.iterate(JSON.stringify([...new Set(addresses)]))) {
      found.set(name, found.get(name) === 'unknown' ? person : 'ambiguous');
    }
  }
  return named.map((name) => found.get(name) ?? 'unknown');
}
