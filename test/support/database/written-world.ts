/** The file that holds a random policy, as a backend and those who run it would have written it. */
import { type TestDatabase, createDatabase } from './database.ts';
import { type Tables, type World, type WorldUser, EVERY_KIND_OF_COLUMN } from './random-world.ts';

/** Everything but the users who come later. */
export function writeWorld(world: World): TestDatabase {
  const { era, tables: made } = world;
  const database = createDatabase({ era, organizationTables: made.kind === 'guide' ? 'guide' : 'none' });
  if (made.kind === 'hand') makeByHand(database, made);
  for (const user of world.users) if (!user.late) addUser(database, user);
  for (const { organization: id, active } of world.switches) database.addClientOrganization(id, active);
  for (const { id, base, params, active } of world.rows) database.addModel({ id, base, params, active });
  const flag = flagOf(made);
  const insert = (table: string, columns: readonly string[], values: readonly unknown[]) => {
    const marks = columns.map(() => '?').join(', ');
    // the guide's tables take each pair once
    database.run(`INSERT OR IGNORE INTO ${table} (${columns.join(', ')}) VALUES (${marks})`, ...values);
  };
  world.members.forEach(({ organization: of, user, active }, at) =>
    insert(
      'organization_members',
      ['id', 'organization_id', 'user_id', ...flag],
      [...[`m${at}`, of, user], ...flag.map(() => active)],
    ),
  );
  world.grants.forEach(({ organization: of, model, active }, at) =>
    insert(
      'organization_models',
      ['id', 'organization_id', 'model_id', ...flag],
      [...[`g${at}`, of, model], ...flag.map(() => active)],
    ),
  );
  configure(database, world);
  return database;
}

/** The backend takes an address once, in whatever case. */
export const emailOf = ({ id: user }: WorldUser): string => `${user === 'Ann' ? 'capital-ann' : user}@example.org`;

export function addUser(database: TestDatabase, user: WorldUser): void {
  database.addUser({ id: user.id, email: emailOf(user) });
  // 0.6.18 has no user without a role
  const role = user.role === null && database.era === '0.6.18' ? 'pending' : user.role;
  database.run('UPDATE "user" SET role = ? WHERE id = ?', role, user.id);
}

/** The column that a row is switched with: none, or one from which another is computed. */
function flagOf(made: Tables): readonly string[] {
  if (made.kind === 'guide') return ['is_active'];
  if (made.flag === 'absent') return [];
  return made.flag === 'generated' || made.flag === 'stored' ? ['state'] : ['is_active'];
}

function makeByHand({ sql }: TestDatabase, { flag, ids }: Extract<Tables, { kind: 'hand' }>): void {
  const columns = {
    absent: '',
    generated: ', state, is_active INTEGER GENERATED ALWAYS AS (state IS NULL OR state = 1) VIRTUAL',
    stored: ', state, is_active INTEGER GENERATED ALWAYS AS (state IS NULL OR state = 1) STORED',
  };
  const active = flag === 'absent' || flag === 'generated' || flag === 'stored' ? columns[flag] : `, is_active ${flag}`;
  // the id of a user stays text: a backend's is never a number
  const user = ids === 'NUMERIC' && !EVERY_KIND_OF_COLUMN ? 'TEXT' : ids;
  sql.exec(`CREATE TABLE organization_members (id TEXT, organization_id ${ids}, user_id ${user}${active}, role TEXT);
    CREATE TABLE organization_models (id TEXT, organization_id ${ids}, model_id ${ids}${active});`);
}

function configure({ era, run }: TestDatabase, { prefixes, arenas }: World): void {
  const connections = Object.fromEntries(prefixes.map((prefix, at) => [String(at), { prefix_id: prefix }]));
  const members = arenas.map((arena) => ({ id: arena, name: arena }));
  if (era === '0.12.4') {
    run(`INSERT INTO config ("key", value) VALUES ('openai.api_configs', ?)`, JSON.stringify(connections));
    run(`INSERT INTO config ("key", value) VALUES ('evaluation.arena.models', ?)`, JSON.stringify(members));
  } else {
    const document = { openai: { api_configs: connections }, evaluation: { arena: { models: members } } };
    run('INSERT INTO config (data, version) VALUES (?, 0)', JSON.stringify(document));
  }
}
