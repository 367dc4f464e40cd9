/**
 * A fresh database with two organizations on one backend, as Open WebUI 0.12.4 and `modelgate init` would have left it,
 * and what the demo prints about it:
 *
 * - acme (Ada, who is an admin of the backend, and Alice) has `gpt-4o-mini`, `claude-sonnet-4` and the preset
 *   `acme-helper`. The preset runs on `gpt-4o`, which acme does not have by itself;
 * - globex (Gina) has `llama3.2:latest` and every model whose id begins with `mistral/`;
 * - Carol belongs to both.
 */
import { randomBytes } from 'node:crypto';
import { mkdtempDisposableSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type SQLInputValue, DatabaseSync } from 'node:sqlite';
import { shellCommand } from '../backend-file/text.ts';
import { ORGANIZATION_MEMBERS, ORGANIZATION_MODELS } from '../store/schema.ts';

export type DemoUser = ReturnType<typeof addUser>;
export type DemoDatabase = ReturnType<typeof createDemoDatabase>;

const PEOPLE = [
  { key: 'ada', name: 'Ada', role: 'admin', organizations: ['acme'] },
  { key: 'alice', name: 'Alice', role: 'user', organizations: ['acme'] },
  { key: 'gina', name: 'Gina', role: 'user', organizations: ['globex'] },
  { key: 'carol', name: 'Carol', role: 'user', organizations: ['acme', 'globex'] },
];

const GRANTS = {
  acme: ['gpt-4o-mini', 'claude-sonnet-4', 'acme-helper'],
  globex: ['llama3.2:latest', 'mistral/*'],
} as const;

/** The only row of the backend's `model` table. */
export const DEMO_PRESET = { id: 'acme-helper', base_model_id: 'gpt-4o', name: 'Acme Helper' } as const;

/** The backend's tables that the gate reads, with the columns that it reads. */
const BACKEND_TABLES = `
CREATE TABLE "user" (
  id VARCHAR NOT NULL PRIMARY KEY, name VARCHAR, email VARCHAR, role VARCHAR, profile_image_url TEXT,
  last_active_at BIGINT, updated_at BIGINT, created_at BIGINT
);
CREATE TABLE api_key (
  id TEXT NOT NULL PRIMARY KEY, user_id TEXT, "key" TEXT NOT NULL UNIQUE, data JSON, expires_at BIGINT,
  last_used_at BIGINT, created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL
);
CREATE TABLE "model" (
  id TEXT NOT NULL PRIMARY KEY, user_id TEXT, base_model_id TEXT, name TEXT, params TEXT, meta TEXT,
  updated_at BIGINT, created_at BIGINT, is_active BOOLEAN DEFAULT 1 NOT NULL
);
CREATE TABLE config ("key" TEXT NOT NULL PRIMARY KEY, value JSON NOT NULL, updated_at BIGINT);
CREATE TABLE chat (
  id VARCHAR NOT NULL PRIMARY KEY, user_id VARCHAR, title TEXT, chat JSON, meta JSON DEFAULT '{}' NOT NULL,
  created_at BIGINT, updated_at BIGINT
);
CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY);
INSERT INTO alembic_version (version_num) VALUES ('0bd252b206fb');
`;

/** Makes it in a temporary directory; `remove` deletes that with everything in it, once connections are closed. */
export function createDemoDatabase() {
  const { path: directory, remove } = mkdtempDisposableSync(join(tmpdir(), 'modelgate-demo-'));
  const path = join(directory, 'webui.db');
  const db = new DatabaseSync(path);
  try {
    // WAL, as the backend from 0.9
    db.exec(`PRAGMA journal_mode = WAL; BEGIN; ${BACKEND_TABLES}`);
    for (const { sql } of [ORGANIZATION_MEMBERS, ORGANIZATION_MODELS]) db.exec(sql);
    const users = PEOPLE.map((person) => addUser(db, person));
    const params = JSON.stringify({ system: 'You help at Acme.' });
    insert(db, 'model', { ...DEMO_PRESET, user_id: users[0]?.id ?? null, params, meta: '{}', ...created() });
    for (const [organization_id, models] of Object.entries(GRANTS)) {
      for (const model_id of models) {
        const id = `orgmod_${organization_id}_${model_id}`;
        insert(db, 'organization_models', { id, organization_id, model_id, ...created() });
      }
    }
    insert(db, 'config', { key: 'auth.enable_api_keys', value: 'true', updated_at: now() });
    db.exec('COMMIT');
    return { directory, path, secretKey: randomBytes(24).toString('base64'), users, remove };
  } catch (error) {
    remove();
    throw error;
  } finally {
    db.close();
  }
}

function addUser(db: DatabaseSync, { key, name, role, organizations }: (typeof PEOPLE)[number]) {
  const user = { id: `user-${key}`, name, email: `${key}@example.com`, role };
  // as users make one in the backend's settings
  const apiKey = `sk-${randomBytes(16).toString('hex')}`;
  insert(db, 'user', { ...user, profile_image_url: '/user.png', last_active_at: now(), ...created() });
  insert(db, 'api_key', { id: `key_${user.id}`, user_id: user.id, key: apiKey, ...created() });
  for (const organization_id of organizations) {
    const member = { organization_id, user_id: user.id, role: role === 'admin' ? 'admin' : 'member' };
    insert(db, 'organization_members', { id: `om_${user.id}_${organization_id}`, ...member, joined_at: now() });
  }
  return { ...user, key, password: `${key}-${randomBytes(6).toString('hex')}`, apiKey };
}

function insert(db: DatabaseSync, table: string, row: Readonly<Record<string, SQLInputValue>>): void {
  const columns = Object.keys(row);
  const names = columns.map((column) => `"${column}"`).join(', ');
  const places = columns.map(() => '?').join(', ');
  db.prepare(`INSERT INTO "${table}" (${names}) VALUES (${places})`).run(...Object.values(row));
}

const now = (): number => Math.floor(Date.now() / 1000);
const created = () => ({ created_at: now(), updated_at: now() });

/** Addresses as `http://host:port`, and the words that run `modelgate` from any folder. */
type GuideParts = Record<'gate' | 'admin' | 'backend', string> & { database: DemoDatabase; modelgate: string[] };

const HELLO = '{"model":"gpt-4o","messages":[{"role":"user","content":"Hi"}]}';
const IDS = `grep -o '"id":"[^"]*"' | sort -u`;

/** Writes the keys to a file beside the database. @returns text; each line that begins with two spaces under a numbered one can be pasted into a POSIX shell */
export function writeGuide(parts: GuideParts): string {
  const { database, gate, admin, backend } = parts;
  const keys = join(database.directory, 'keys');
  writeFileSync(keys, writeKeys(parts), { mode: 0o600 });
  return `modelgate demo: the organizations acme and globex share one backend. Nothing leaves this machine.

  gate      ${gate}   users talk to it
  backend   ${backend}   stands in for Open WebUI and lists every model to everyone
  admin     ${admin}   /healthz /readyz /metrics
  database  ${database.path}

  acme      ${GRANTS.acme.join(', ')}: Ada (an admin), Alice, Carol
  globex    ${GRANTS.globex.join(', ')}: Gina, Carol

Three things to try in another terminal. First load the keys:
  ${shellCommand('.', keys)}
1. Alice sees the models of acme. The backend itself would show her all:
  curl -s $gate/api/models -H "$alice" | ${IDS}
  curl -s $backend/api/models -H "$alice" | ${IDS}
2. Alice asks a model that acme does not have. The refusal ends with the id of the decision:
  curl -s $gate/api/chat/completions -H "$alice" -H "$json" -d '${HELLO}' | tee "$answer"; echo
3. The reason for that decision, and the grant that changes it. Repeat 1 and 2 after it:
  modelgate explain $(grep -o 'd-[0-9a-z]\\{10\\}' "$answer")
  modelgate model allow gpt-4o --org acme

Ctrl-C ends the demo and removes the database.
`;
}

/** Shell variables for the commands above: addresses, a header of each user, and `modelgate` on this database. */
function writeKeys({ database, gate, admin, backend, modelgate }: GuideParts): string {
  const { hostname: MODELGATE_ADMIN_HOST, port: MODELGATE_ADMIN_PORT } = new URL(admin);
  const settings = { DATABASE_URL: `sqlite:///${database.path}`, MODELGATE_ADMIN_HOST, MODELGATE_ADMIN_PORT };
  const environment = Object.entries(settings).map(([name, text]) => assign(name, text));
  const people = database.users.flatMap(({ key, name, email, password, apiKey }) => [
    `# ${name}: ${email}, password ${password}`,
    assign(key, `Authorization: Bearer ${apiKey}`),
  ]);
  return [
    assign('gate', gate),
    assign('backend', backend),
    assign('json', 'Content-Type: application/json'),
    assign('answer', join(database.directory, 'answer')),
    ...people,
    `modelgate() { ${environment.join(' ')} ${shellCommand(...modelgate)} "$@"; }`,
    '',
  ].join('\n');
}

const assign = (variable: string, value: string): string => `${variable}=${shellCommand(value)}`;
