/**
 * A real SQLite file with the schema of a real backend, for tests. The connection in it is the backend's or an
 * operator's: it writes, the gate's own connection reads.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import type { Connection } from '../../../src/store/connection.ts';
import { ORGANIZATION_MEMBERS, ORGANIZATION_MODELS, SCHEMA_OBJECTS } from '../../../src/store/schema.ts';

/** The releases whose schema was dumped, unchanged, from a database that the release itself had made. */
export const ERAS = ['0.6.18', '0.12.4'] as const;
export type Era = (typeof ERAS)[number];

export interface DatabaseOptions {
  readonly era?: Era;
  readonly journalMode?: 'delete' | 'wal';
  /** `guide`: the two tables and four indexes of the deployment guide; `none`: a backend that never met modelgate. */
  readonly organizationTables?: 'guide' | 'none';
  /** A folder to put `webui.db` into; a new one, removed by `close`, where it is left out. */
  readonly directory?: string;
}

export interface UserFields {
  readonly id: string;
  readonly role?: string;
  readonly email?: string;
  readonly name?: string;
  readonly apiKey?: string;
}

export interface ModelFields {
  readonly id: string;
  readonly base?: string | null;
  readonly name?: string;
  readonly params?: unknown;
  readonly meta?: unknown;
  readonly active?: 0 | 1;
  readonly owner?: string;
}

export interface TestDatabase extends Disposable {
  readonly path: string;
  readonly directory: string;
  readonly era: Era;
  readonly organizationTables: 'guide' | 'none';
  /** The file itself, whichever engine the gate reads. */
  readonly sql: Database.Database;
  /** @returns the id, so that a test can name it in one line */
  addUser(fields: UserFields): string;
  /** `user-0` and so on: many in one statement, and members of an organization where one is named. */
  addUsers(count: number, organization?: string): void;
  addApiKey(user: string, key: string): void;
  /** A row of the backend's `model` table. */
  addModel(fields: ModelFields): string;
  /** A row of mAI's `client_organizations`; the table is made where it is missing. */
  addClientOrganization(id: string, active: 0 | 1 | null): void;
  addMember(organization: string, user: string, active?: 0 | 1 | null): void;
  grant(organization: string, model: string, active?: 0 | 1 | null): void;
  /** Switches a grant off, as an operator does by hand. */
  withdraw(organization: string, model: string): void;
  addChat(fields: { id: string; user: string; chat: unknown }): string;
  /** A row of `chat_message`; 0.6.18 has no such table. */
  addChatMessage(fields: { id: string; chat: string; user: string; role?: string; model: string | null }): void;
  addChannelMessage(fields: { id: string; user: string; meta: unknown }): string;
  /** 0.6.18 has no such table. */
  addAutomation(fields: { id: string; user: string; data: unknown }): string;
  run: Run;
  /** To what the gate reads and writes: the file, or what follows it. */
  readonly connection: Connection;
  rows<Row = Record<string, unknown>>(statement: string, ...values: unknown[]): Row[];
  /** What `run` writes from now on is written there too, and `rows` are read there. */
  follow(connection: Connection, write: Run): void;
  close(): void;
}

/** As the configuration names it. */
export const sqlite = (path: string) => ({ engine: 'sqlite', path }) as const;

const SCHEMAS = new URL('../schemas/', import.meta.url);

/** Makes the file; the caller closes it. */
export function createDatabase(options: DatabaseOptions = {}): TestDatabase {
  const { era = '0.12.4', journalMode = era === '0.12.4' ? 'wal' : 'delete', organizationTables = 'guide' } = options;
  const directory = options.directory ?? mkdtempSync(join(tmpdir(), 'modelgate-'));
  const path = join(directory, 'webui.db');
  writeFileSync(path, templateOf(era, organizationTables));
  const sql = new Database(path, { timeout: 5000 });
  sql.pragma(`journal_mode = ${journalMode}`);
  // as in the backend's connections; better-sqlite3 switches them on
  sql.pragma('foreign_keys = off');
  // a test's file need not survive a power cut, and fsync is most of a small commit's time
  sql.pragma('synchronous = off');
  const close = () => {
    sql.close();
    if (options.directory === undefined) rmSync(directory, { recursive: true, force: true });
  };
  const prepared = new Map<string, Database.Statement>();
  let followed: { readonly connection: Connection; readonly write: Run } | undefined;
  const run = (statement: string, ...values: unknown[]) => {
    const known = prepared.get(statement) ?? sql.prepare(statement);
    prepared.set(statement, known);
    known.run(...values);
    followed?.write(statement, ...values);
  };
  return {
    path,
    directory,
    era,
    organizationTables,
    sql,
    run,
    get connection() {
      return followed?.connection ?? sql;
    },
    rows<Row>(statement: string, ...values: unknown[]) {
      return this.connection.prepare<unknown[], Row>(statement).all(...values);
    },
    follow: (connection, write) => void (followed = { connection, write }),
    close,
    [Symbol.dispose]: close,
    ...rowsThrough(era, run),
  };
}

/** What writes rows of a backend, on either engine: `run` takes SQL with `?`. */
export const rowsThrough = (era: Era, run: Run) => ({ ...people(era, run), ...policy(run), ...storedObjects(run) });

/** What `alembic_version` holds in a file of that release. */
const LAST_MIGRATION: Record<Era, string> = { '0.6.18': 'd31026856c01', '0.12.4': '0bd252b206fb' };

const templates = new Map<string, Buffer>();

/** The bytes of an empty database: making its two hundred objects anew for every test would be most of the test. */
function templateOf(era: Era, organizationTables: 'guide' | 'none'): Buffer {
  const key = `${era} ${organizationTables}`;
  const known = templates.get(key);
  if (known !== undefined) return known;
  const sql = new Database(':memory:');
  sql.exec(readFileSync(new URL(`open-webui-${era}.sql`, SCHEMAS), 'utf8'));
  sql.prepare('INSERT INTO alembic_version (version_num) VALUES (?)').run(LAST_MIGRATION[era]);
  if (organizationTables === 'guide') {
    for (const object of [
      ORGANIZATION_MODELS,
      ORGANIZATION_MEMBERS,
      ...SCHEMA_OBJECTS.filter(({ kind }) => kind === 'index'),
    ])
      sql.exec(object.sql);
  }
  const template = sql.serialize();
  sql.close();
  templates.set(key, template);
  return template;
}

export type Run = (statement: string, ...values: unknown[]) => void;
const SECONDS = 1_700_000_000;
/** So many ids of users, as a table. */
const ids = (count: number): string => `(WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers)
  SELECT 'user-' || n AS id FROM numbers LIMIT ${count})`;

function people(era: Era, run: Run): Pick<TestDatabase, 'addUser' | 'addUsers' | 'addApiKey'> {
  const addApiKey = (user: string, key: string) => {
    if (era === '0.6.18') return run('UPDATE "user" SET api_key = ? WHERE id = ?', key, user);
    run(
      'INSERT INTO api_key (id, user_id, "key", created_at, updated_at) VALUES (?, ?, ?, ?, ?)',
      `key_${user}`,
      user,
      key,
      SECONDS,
      SECONDS,
    );
  };
  return {
    addApiKey,
    addUsers: (count, organization) => {
      run(
        `INSERT INTO "user" (id, name, email, role, profile_image_url, created_at, updated_at, last_active_at)
         SELECT id, id, id || '@example.org', 'user', '/user.png', ${SECONDS}, ${SECONDS}, ${SECONDS} FROM ${ids(count)}`,
      );
      if (organization === undefined) return;
      run(
        `INSERT INTO organization_members (id, organization_id, user_id, is_active, joined_at)
         SELECT 'om_' || id || '_' || ?, ?, id, 1, ${SECONDS} FROM ${ids(count)}`,
        ...[organization, organization],
      );
    },
    addUser: ({ id, role = 'user', email = `${id}@example.org`, name = id, apiKey }) => {
      run(
        `INSERT INTO "user" (id, name, email, role, profile_image_url, created_at, updated_at, last_active_at)
         VALUES (?, ?, ?, ?, '/user.png', ?, ?, ?)`,
        ...[id, name, email, role, SECONDS, SECONDS, SECONDS],
      );
      if (apiKey !== undefined) addApiKey(id, apiKey);
      return id;
    },
  };
}

type PolicyRows = 'addModel' | 'addClientOrganization' | 'addMember' | 'grant' | 'withdraw';

function policy(run: Run): Pick<TestDatabase, PolicyRows> {
  return {
    addModel: ({ id, base = null, name = id, params = {}, meta = {}, active = 1, owner = 'admin' }) => {
      run(
        `INSERT INTO model (id, user_id, base_model_id, name, params, meta, is_active, created_at, updated_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
        ...[id, owner, base, name, JSON.stringify(params), JSON.stringify(meta), active, SECONDS, SECONDS],
      );
      return id;
    },
    addClientOrganization: (id, active) => {
      run(`CREATE TABLE IF NOT EXISTS client_organizations (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, openrouter_api_key TEXT NOT NULL UNIQUE, openrouter_key_hash TEXT,
        markup_rate REAL DEFAULT 1.3, monthly_limit REAL, billing_email TEXT, timezone TEXT,
        is_active INTEGER DEFAULT 1, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL)`);
      run(
        `INSERT INTO client_organizations (id, name, openrouter_api_key, is_active, created_at, updated_at)
         VALUES (?, ?, ?, ?, ?, ?)`,
        ...[id, id, `provider-key-of-${id}`, active, SECONDS, SECONDS],
      );
    },
    addMember: (organization, user, active = 1) =>
      run(
        'INSERT INTO organization_members (id, organization_id, user_id, is_active, joined_at) VALUES (?, ?, ?, ?, ?)',
        ...[`om_${user}_${organization}`, organization, user, active, SECONDS],
      ),
    grant: (organization, model, active = 1) =>
      run(
        `INSERT INTO organization_models (id, organization_id, model_id, is_active, created_at, updated_at)
         VALUES (?, ?, ?, ?, ?, ?)`,
        ...[`orgmod_${organization}_${model}`, organization, model, active, SECONDS, SECONDS],
      ),
    withdraw: (organization, model) =>
      run(
        'UPDATE organization_models SET is_active = 0 WHERE organization_id = ? AND model_id = ?',
        organization,
        model,
      ),
  };
}

type StoredRows = 'addChat' | 'addChatMessage' | 'addChannelMessage' | 'addAutomation';

function storedObjects(run: Run): Pick<TestDatabase, StoredRows> {
  return {
    addChat: ({ id, user, chat }) => {
      run(
        `INSERT INTO chat (id, user_id, title, chat, archived, created_at, updated_at) VALUES (?, ?, 'Chat', ?, ?, ?, ?)`,
        ...[id, user, JSON.stringify(chat), 0, SECONDS, SECONDS],
      );
      return id;
    },
    addChatMessage: ({ id, chat, user, role = 'assistant', model }) =>
      run(
        'INSERT INTO chat_message (id, chat_id, user_id, role, model_id, created_at) VALUES (?, ?, ?, ?, ?, ?)',
        ...[id, chat, user, role, model, SECONDS],
      ),
    addChannelMessage: ({ id, user, meta }) => {
      run(
        `INSERT INTO message (id, user_id, channel_id, content, meta, created_at) VALUES (?, ?, 'channel', '', ?, ?)`,
        ...[id, user, JSON.stringify(meta), SECONDS * 1e9],
      );
      return id;
    },
    addAutomation: ({ id, user, data }) => {
      run(
        `INSERT INTO automation (id, user_id, name, data, is_active, created_at, updated_at) VALUES (?, ?, 'Automation', ?, ?, ?, ?)`,
        ...[id, user, JSON.stringify(data), 1, SECONDS * 1e9, SECONDS * 1e9],
      );
      return id;
    },
  };
}

/** @returns the path of a file with this content */
export function written(path: string, content: string | Buffer): string {
  writeFileSync(path, content);
  return path;
}

/** @returns the path of a database that is none of Open WebUI */
export function foreign(directory: string): string {
  const path = join(directory, 'foreign.db');
  const sql = new Database(path);
  sql.exec('CREATE TABLE notes (text)');
  sql.close();
  return path;
}
