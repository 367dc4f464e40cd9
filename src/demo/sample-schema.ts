/**
 * The tables of Open WebUI 0.12.4 that somebody in front of it reads, with the backend's own columns. A real backend has
 * some fifty more; the ones that only it uses are left out.
 */
export const SAMPLE_SCHEMA = `
CREATE TABLE auth (
  id VARCHAR NOT NULL, email VARCHAR, password TEXT, active BOOLEAN, mfa JSON, session_stamp TEXT,
  PRIMARY KEY (id)
);
CREATE TABLE "user" (
  id VARCHAR NOT NULL, name VARCHAR, email VARCHAR, role VARCHAR, profile_image_url TEXT, last_active_at BIGINT,
  updated_at BIGINT, created_at BIGINT, username VARCHAR(50), bio TEXT, gender TEXT, date_of_birth DATE,
  profile_banner_image_url TEXT, timezone VARCHAR, presence_state VARCHAR, status_emoji VARCHAR, status_message TEXT,
  status_expires_at BIGINT, oauth JSON, info JSON, settings JSON, scim JSON, variables JSON,
  PRIMARY KEY (id)
);
CREATE UNIQUE INDEX uq_user_email_lower ON user (lower(email)) WHERE email IS NOT NULL;
CREATE TABLE api_key (
  id TEXT NOT NULL, user_id TEXT, "key" TEXT NOT NULL, data JSON, expires_at BIGINT, last_used_at BIGINT,
  created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL,
  PRIMARY KEY (id), UNIQUE (id), FOREIGN KEY(user_id) REFERENCES user (id) ON DELETE CASCADE, UNIQUE ("key")
);
CREATE TABLE "model" (
  id TEXT NOT NULL, user_id TEXT, base_model_id TEXT, name TEXT, params TEXT, meta TEXT, updated_at BIGINT,
  created_at BIGINT, is_active BOOLEAN DEFAULT 1 NOT NULL, version_id TEXT,
  PRIMARY KEY (id)
);
CREATE TABLE access_grant (
  id TEXT NOT NULL, resource_type TEXT NOT NULL, resource_id TEXT NOT NULL, principal_type TEXT NOT NULL,
  principal_id TEXT NOT NULL, permission TEXT NOT NULL, created_at BIGINT NOT NULL,
  PRIMARY KEY (id),
  CONSTRAINT uq_access_grant_grant UNIQUE (resource_type, resource_id, principal_type, principal_id, permission)
);
CREATE TABLE config (
  "key" TEXT NOT NULL, value JSON NOT NULL, updated_at BIGINT,
  PRIMARY KEY ("key")
);
CREATE TABLE chat (
  id VARCHAR NOT NULL, user_id VARCHAR, title TEXT, created_at BIGINT, updated_at BIGINT, share_id TEXT,
  archived BOOLEAN, chat JSON, pinned BOOLEAN, meta JSON DEFAULT '{}' NOT NULL, folder_id TEXT, tasks JSON,
  summary TEXT, last_read_at BIGINT, current_message_id TEXT, variables JSON, timer_at BIGINT,
  PRIMARY KEY (id), UNIQUE (share_id)
);
CREATE TABLE chat_message (
  id TEXT NOT NULL, chat_id TEXT NOT NULL, user_id TEXT, role TEXT NOT NULL, parent_id TEXT, content JSON,
  output JSON, model_id TEXT, files JSON, sources JSON, embeds JSON, done BOOLEAN, status_history JSON, error JSON,
  usage JSON, created_at BIGINT, updated_at BIGINT, context_summary TEXT, meta JSON,
  PRIMARY KEY (id), FOREIGN KEY(chat_id) REFERENCES chat (id) ON DELETE CASCADE
);
CREATE INDEX ix_chat_message_chat_id ON chat_message (chat_id);
CREATE TABLE message (
  id TEXT NOT NULL, user_id TEXT, channel_id TEXT, content TEXT, data JSON, meta JSON, created_at BIGINT,
  updated_at BIGINT, parent_id TEXT, reply_to_id TEXT, is_pinned BOOLEAN DEFAULT 0 NOT NULL, pinned_at BIGINT,
  pinned_by TEXT, app_id TEXT,
  PRIMARY KEY (id), UNIQUE (id)
);
CREATE TABLE automation (
  id TEXT NOT NULL, user_id TEXT NOT NULL, name TEXT NOT NULL, data JSON NOT NULL, meta JSON,
  is_active BOOLEAN NOT NULL, last_run_at BIGINT, next_run_at BIGINT, created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL, folder_id TEXT,
  PRIMARY KEY (id)
);
CREATE TABLE alembic_version (
  version_num VARCHAR(32) NOT NULL,
  CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO alembic_version (version_num) VALUES ('0bd252b206fb');
`;
