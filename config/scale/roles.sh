#!/bin/sh
# Run once by the image of PostgreSQL, when its volume is empty: the database of the backend, and a role for each.
# The gate reads all tables of the backend, and writes and makes its own alone.
set -eu
psql --username postgres --set ON_ERROR_STOP=1 --set backend="$OPENWEBUI_DATABASE_PASSWORD" --set gate="$GATE_DATABASE_PASSWORD" <<'SQL'
CREATE ROLE openwebui LOGIN PASSWORD :'backend';
CREATE ROLE modelgate LOGIN PASSWORD :'gate';
CREATE DATABASE openwebui OWNER openwebui;
REVOKE CONNECT ON DATABASE openwebui FROM PUBLIC;
GRANT CONNECT ON DATABASE openwebui TO modelgate;
\connect openwebui
CREATE EXTENSION IF NOT EXISTS vector;
GRANT USAGE, CREATE ON SCHEMA public TO modelgate;
ALTER DEFAULT PRIVILEGES FOR ROLE openwebui IN SCHEMA public GRANT SELECT ON TABLES TO modelgate;
SQL
