/** What an operator does by hand to the backend's own database, whichever engine it is. */
import type Database from 'better-sqlite3';
import { ORGANIZATION_MEMBERS, ORGANIZATION_MODELS, SCHEMA_OBJECTS } from '../../src/store/schema.ts';
import { run } from '../support/postgres-programs.ts';
import type { Account } from './backend-client.ts';

export type Query = (text: string, ...values: readonly (string | number)[]) => unknown[];

/** By the deployment guide's own statements. */
export function makeTables(sql: Database.Database): void {
  for (const object of [
    ORGANIZATION_MODELS,
    ORGANIZATION_MEMBERS,
    ...SCHEMA_OBJECTS.filter(({ kind }) => kind === 'index'),
  ])
    sql.exec(object.sql);
}

export const queryOn =
  (sql: Database.Database): Query =>
  (text, ...values) => {
    const statement = sql.prepare(text);
    if (statement.reader) return statement.all(...values);
    statement.run(...values);
    return [];
  };

/** By `psql`, which is waited for as a file is. */
export const queryBy =
  (url: string): Query =>
  (text, ...values) => {
    const rest = [...values];
    const quoted = text.replace(/\?/g, () => `'${String(rest.shift()).replaceAll("'", "''")}'`);
    const asked = text.startsWith('SELECT') ? `SELECT to_json(row) FROM (${quoted}) AS row` : quoted;
    const lines = run('psql', [url, '--no-psqlrc', '--quiet', '-At', '-v', 'ON_ERROR_STOP=1', '-c', asked]).split('\n');
    return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as unknown);
  };

export interface Operator {
  grant(organization: string, model: string): void;
  withdraw(organization: string, model: string): void;
  join(organization: string, account: Account): void;
  leave(organization: string, account: Account): void;
}

/** What an operator writes by hand, statement by statement as in the deployment guide. */
export function operatorOf(query: Query): Operator {
  const now = Math.floor(Date.now() / 1000);
  const grant = `INSERT INTO organization_models (id, organization_id, model_id, is_active, created_at, updated_at)
     VALUES (?, ?, ?, 1, ?, ?) ON CONFLICT (id) DO UPDATE SET is_active = 1`;
  const withdraw = 'UPDATE organization_models SET is_active = 0 WHERE organization_id = ? AND model_id = ?';
  const join = `INSERT INTO organization_members (id, organization_id, user_id, is_active, joined_at)
     VALUES (?, ?, ?, 1, ?) ON CONFLICT (id) DO UPDATE SET is_active = 1`;
  const leave = 'UPDATE organization_members SET is_active = 0 WHERE organization_id = ? AND user_id = ?';
  return {
    grant: (organization, model) => void query(grant, `orgmod_${organization}_${model}`, organization, model, now, now),
    withdraw: (organization, model) => void query(withdraw, organization, model),
    join: (organization, { id }) => void query(join, `om_${id}_${organization}`, organization, id, now),
    leave: (organization, { id }) => void query(leave, organization, id),
  };
}
