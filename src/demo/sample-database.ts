/**
 * A fresh database as the backend would have written it, with two organizations that share it:
 *
 * - acme has `gpt-4o-mini`, `claude-sonnet-4` and the preset `acme-helper`, which runs on `gpt-4o`: its people reach
 *   `gpt-4o` through the preset and not by itself;
 * - globex has `llama3.2:latest` and whatever begins with `mistral/`.
 *
 * Ada (a backend admin) and Alice are acme's, Gina is globex's, Carol belongs to both.
 */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { ORGANIZATION_MEMBERS, ORGANIZATION_MODELS } from '../store/tables.ts';
import { insert } from './sample-directory.ts';
import { SAMPLE_SCHEMA } from './sample-schema.ts';
import { hashPassword, signToken } from './sample-token.ts';

export type SampleUserName = 'ada' | 'alice' | 'gina' | 'carol';

export interface SampleAccount {
  readonly id: string;
  readonly name: string;
  readonly email: string;
  readonly role: string;
  readonly organizations: readonly string[];
  readonly password: string;
  /** `sk-…`, as users make one in the backend's settings. */
  readonly apiKey: string;
  /** A session token that is good for four weeks. */
  readonly token: string;
}

export interface SampleDatabase {
  /** The SQLite file, alone in a temporary directory. */
  readonly path: string;
  readonly directory: string;
  readonly secretKey: string;
  readonly users: Readonly<Record<SampleUserName, SampleAccount>>;
  /** Removes the directory with everything in it. Connections should be closed before. */
  remove(): void;
}

const PEOPLE = {
  ada: { name: 'Ada', role: 'admin', organizations: ['acme'] },
  alice: { name: 'Alice', role: 'user', organizations: ['acme'] },
  gina: { name: 'Gina', role: 'user', organizations: ['globex'] },
  carol: { name: 'Carol', role: 'user', organizations: ['acme', 'globex'] },
} as const satisfies Record<SampleUserName, { name: string; role: string; organizations: readonly string[] }>;

export const SAMPLE_GRANTS = {
  acme: ['gpt-4o-mini', 'claude-sonnet-4', 'acme-helper'],
  globex: ['llama3.2:latest', 'mistral/*'],
} as const;

const SAMPLE_ROWS = [
  { id: 'gpt-4o-mini', base_model_id: null, name: 'GPT-4o mini', params: {} },
  { id: 'llama3.2:latest', base_model_id: null, name: 'Llama 3.2', params: {} },
  { id: 'acme-helper', base_model_id: 'gpt-4o', name: 'Acme Helper', params: { system: 'You help at Acme.' } },
] as const;

/** @param parent where the temporary directory is made; the system's own by default */
export function createSampleDatabase(parent = tmpdir()): SampleDatabase {
  const directory = mkdtempSync(join(parent, 'modelgate-demo-'));
  const path = join(directory, 'webui.db');
  const secretKey = randomBytes(24).toString('base64');
  const db = new DatabaseSync(path, { enableForeignKeyConstraints: false });
  try {
    db.exec(`PRAGMA journal_mode = WAL; BEGIN; ${SAMPLE_SCHEMA}`); // WAL, as the backend from 0.9
    for (const { sql } of [ORGANIZATION_MEMBERS, ORGANIZATION_MODELS]) db.exec(sql);
    const users = {
      ada: addAccount(db, 'ada', secretKey),
      alice: addAccount(db, 'alice', secretKey),
      gina: addAccount(db, 'gina', secretKey),
      carol: addAccount(db, 'carol', secretKey),
    };
    addModels(db, users.ada.id);
    db.exec('COMMIT');
    return { path, directory, secretKey, users, remove: () => rmSync(directory, { recursive: true, force: true }) };
  } catch (error) {
    rmSync(directory, { recursive: true, force: true });
    throw error;
  } finally {
    db.close();
  }
}

function addAccount(db: DatabaseSync, key: SampleUserName, secretKey: string): SampleAccount {
  const { name, role, organizations } = PEOPLE[key];
  const id = `user-${key}`;
  const email = `${key}@example.com`;
  const password = `${key}-${randomBytes(6).toString('hex')}`;
  const apiKey = `sk-${randomBytes(16).toString('hex')}`;
  const now = seconds();
  const times = { created_at: now, updated_at: now };
  insert(db, 'user', { id, name, email, role, profile_image_url: '/user.png', last_active_at: now, ...times });
  insert(db, 'auth', { id, email, password: hashPassword(password), active: 1 });
  insert(db, 'api_key', { id: `key_${id}`, user_id: id, key: apiKey, ...times });
  for (const organization of organizations) {
    const member = { organization_id: organization, user_id: id, role: role === 'admin' ? 'admin' : 'member' };
    insert(db, 'organization_members', { id: `om_${id}_${organization}`, ...member, is_active: 1, joined_at: now });
  }
  return { id, name, email, role, organizations, password, apiKey, token: signToken(id, secretKey) };
}

function addModels(db: DatabaseSync, ownerId: string): void {
  const now = seconds();
  const times = { created_at: now, updated_at: now };
  for (const row of SAMPLE_ROWS) {
    insert(db, 'model', {
      ...row,
      user_id: ownerId,
      meta: { description: row.name, capabilities: {} },
      is_active: 1,
      ...times,
    });
  }
  for (const [organization, models] of Object.entries(SAMPLE_GRANTS)) {
    for (const model of models) {
      const grant = { organization_id: organization, model_id: model, is_active: 1, ...times };
      insert(db, 'organization_models', { id: `orgmod_${organization}_${model}`, ...grant });
    }
  }
  insert(db, 'config', { key: 'auth.enable_api_keys', value: 'true', updated_at: now });
}

const seconds = (): number => Math.floor(Date.now() / 1000);
