import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { backendEnvironment } from './environment.ts';
import { installOpenWebui } from './install.ts';
import type { Release } from './release.ts';

/** One method of one route, as FastAPI has registered it in the installed backend. */
export interface BackendRoute {
  /** `*` where every method is taken (mounted applications). */
  method: string;
  /** FastAPI's template (`/api/v1/chats/{id}`); `/prefix/*` for a mounted application without a route table. */
  path: string;
  /** A body is declared, or the endpoint is handed the raw request on a method that has bodies. */
  hasBody: boolean;
  websocket: boolean;
  /** The endpoint function's name. */
  name: string;
  /** The Python module that defines the endpoint. */
  module: string;
}

const execute = promisify(execFile);

/** Routes that a release only registers when told to. */
const OPTIONAL_ROUTES = { ENV: 'dev', ENABLE_SCIM: 'true', SCIM_TOKEN: 'scim', SCIM_AUTH_PROVIDER: 'oidc' };

/**
 * Every route of an installed release, those of mounted applications and of optional features included,
 * in the order in which the backend tries them. Takes about 10 s: the application is really imported.
 */
export async function listRoutes(release: Release): Promise<BackendRoute[]> {
  const { python } = await installOpenWebui(release);
  const dataDir = mkdtempSync(join(tmpdir(), 'modelgate-routes-'));
  const script = fileURLToPath(new URL('routes.py', import.meta.url));
  const providerUrl = 'http://127.0.0.1:9/v1';
  const env = { ...backendEnvironment({ dataDir, secretKey: 'routes', providerUrl }), ...OPTIONAL_ROUTES };
  try {
    const { stdout } = await execute(python, [script], { env, cwd: dataDir, timeout: 240_000, maxBuffer: 64_000_000 });
    return JSON.parse(stdout) as BackendRoute[];
  } finally {
    rmSync(dataDir, { recursive: true, force: true });
  }
}
