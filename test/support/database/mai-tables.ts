/** The tables of mAI's own start-up code, on a file of the backend: foreign keys, other ids, a view of another shape. */
import type { TestDatabase } from './database.ts';

/** Without rows; `addClientOrganization` makes an organization. */
export function createMaiTables({ sql }: TestDatabase): void {
  sql.exec(`
    CREATE TABLE IF NOT EXISTS client_organizations (
      id TEXT PRIMARY KEY, name TEXT NOT NULL, openrouter_api_key TEXT NOT NULL UNIQUE, openrouter_key_hash TEXT,
      markup_rate REAL DEFAULT 1.3, monthly_limit REAL, billing_email TEXT, timezone TEXT,
      is_active INTEGER DEFAULT 1, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL);
    CREATE TABLE organization_models (
      id TEXT PRIMARY KEY, organization_id TEXT NOT NULL, model_id TEXT NOT NULL, is_active INTEGER DEFAULT 1,
      created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL,
      FOREIGN KEY (organization_id) REFERENCES client_organizations(id), FOREIGN KEY (model_id) REFERENCES model(id),
      UNIQUE(organization_id, model_id));
    CREATE TABLE organization_members (
      id TEXT PRIMARY KEY, organization_id TEXT NOT NULL, user_id TEXT NOT NULL, role TEXT DEFAULT 'member',
      is_active INTEGER DEFAULT 1, joined_at INTEGER NOT NULL,
      FOREIGN KEY (organization_id) REFERENCES client_organizations(id), UNIQUE(organization_id, user_id));
    CREATE VIEW user_available_models AS
      SELECT u.id AS user_id, m.id AS model_id, m.name AS model_name
      FROM user u
      JOIN organization_members om ON u.id = om.user_id
      JOIN organization_models orgmod ON om.organization_id = orgmod.organization_id
      JOIN client_organizations co ON co.id = om.organization_id
      JOIN model m ON m.id = orgmod.model_id
      WHERE om.is_active = 1 AND orgmod.is_active = 1 AND co.is_active = 1 AND m.is_active = 1;`);
}
