/** Whom the ledger names by id: people, and organizations with what mAI's own table says of their invoices. */
import { type Operation, reading } from '../backend-file/transaction.ts';
import { columnsOf } from '../store/schema.ts';
import { readAll } from './organizations.ts';

type Person = Readonly<Record<'id', string> & Record<'email' | 'name', string | null>>;

/** As it stands in the table. */
export interface Account {
  readonly id: string;
  readonly name: string | null;
  readonly markup: number | string | null;
  readonly timeZone: string | null;
}

export interface Accounts {
  readonly people: ReadonlyMap<string, Person>;
  readonly organizations: ReadonlyMap<string, Account>;
}

/** @param configured the organization of the settings, whose name counts where the table has none @throws OperationFailure as `reading` */
export const readAccounts = (operation: Operation, configured: Configured): Promise<Accounts> =>
  reading(operation, 'backend', (connection) => {
    const people = readAll<Person>(connection, 'SELECT id, email, name FROM "user"');
    const columns = columnsOf(connection, 'client_organizations');
    const column = (name: string): string => (columns.has(name) ? name : 'NULL');
    const sql = `SELECT id, ${column('name')} AS name, ${column('markup_rate')} AS markup, ${column('timezone')} AS timeZone
      FROM client_organizations WHERE typeof(id) = 'text'`;
    const organizations = columns.has('id') ? readAll<Account>(connection, sql) : [];
    return { people: byId(people), organizations: named(byId(organizations), configured) };
  });

type Configured = { readonly id: string; readonly name: string } | undefined;

function named(organizations: ReadonlyMap<string, Account>, configured: Configured): ReadonlyMap<string, Account> {
  if (configured === undefined) return organizations;
  const { id, name } = configured;
  const found = organizations.get(id);
  return new Map([...organizations, [id, { id, markup: null, timeZone: null, ...found, name: found?.name ?? name }]]);
}

const byId = <T extends { readonly id: string }>(rows: readonly T[]): ReadonlyMap<string, T> =>
  new Map(rows.map((row) => [row.id, row]));
