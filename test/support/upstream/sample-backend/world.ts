/**
 * Two organizations on the sample backend and its models. `acme` (Ada, an admin, and Alice) has two models and the
 * preset `acme-helper`, which runs on `gpt-4o`; `globex` (Gina) has one and a prefix; Carol belongs to both.
 */
import { type TestDatabase, createDatabase } from '../../database/database.ts';
import { TEST_SECRET } from '../../gate/session.ts';
import { signToken } from './identity.ts';

const PEOPLE = { ada: ['acme'], alice: ['acme'], gina: ['globex'], carol: ['acme', 'globex'] } as const;
const GRANTS = {
  acme: ['gpt-4o-mini', 'claude-sonnet-4', 'acme-helper'],
  globex: ['llama3.2:latest', 'mistral/*'],
};

export interface SampleAccount {
  readonly id: string;
  readonly email: string;
  readonly password: string;
  readonly apiKey: string;
  readonly token: string;
}

export interface SampleWorld extends Pick<TestDatabase, 'path' | 'close'> {
  readonly secretKey: string;
  readonly users: Readonly<Record<keyof typeof PEOPLE, SampleAccount>>;
}

export function createSampleWorld(): SampleWorld {
  const database = createDatabase();
  const account = (name: keyof typeof PEOPLE): SampleAccount => {
    const id = `user-${name}`;
    const email = `${name}@example.com`;
    const password = `password-of-${name}`;
    const apiKey = `sk-${name}`;
    database.addUser({ id, email, apiKey, role: name === 'ada' ? 'admin' : 'user' });
    database.run('INSERT INTO auth (id, email, password, active) VALUES (?, ?, ?, 1)', id, email, password);
    for (const organization of PEOPLE[name]) database.addMember(organization, id);
    return { id, email, password, apiKey, token: signToken(id, TEST_SECRET) };
  };
  const users = { ada: account('ada'), alice: account('alice'), gina: account('gina'), carol: account('carol') };
  for (const id of ['gpt-4o-mini', 'llama3.2:latest']) database.addModel({ id });
  database.addModel({ id: 'acme-helper', base: 'gpt-4o', params: { system: 'You help at Acme.' } });
  for (const [organization, models] of Object.entries(GRANTS)) {
    for (const model of models) database.grant(organization, model);
  }
  return { path: database.path, close: database.close, secretKey: TEST_SECRET, users };
}
