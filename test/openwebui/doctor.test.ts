/** `doctor` beside the real backend, which has the file open and answers. */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Finding } from '../../src/diagnosis/finding.ts';
import { releaseOf } from '../support/database/diagnosis.ts';
import { runCommand } from '../support/process/command.ts';
import { runModelgate } from '../support/gate/gate-process.ts';
import { until } from '../support/process/with-timeout.ts';
import { send, signIn, signUp } from './backend-client.ts';
import { startOpenWebui, type OpenWebui } from './backend.ts';
import { startRealGate } from './gate.ts';
import { installOpenWebui } from './install.ts';
import { RELEASES } from './release.ts';

/** It warns, and is right, where the machine itself stops for half a second while it tries the lock. */
const PATIENCE = { timeout: 60_000 };
const ADA = { name: 'Ada', email: 'ada@example.com' };

describe.each(RELEASES)('doctor beside the real Open WebUI %s', (version) => {
  let backend: OpenWebui;
  beforeAll(async () => {
    backend = await startOpenWebui({ version, providerUrl: 'http://127.0.0.1:1/v1' });
  });
  afterAll(() => backend.close());

  async function faults(more: Record<string, string> = {}): Promise<readonly string[]> {
    const environment = {
      DATABASE_URL: `sqlite:///${backend.databasePath}`,
      MODELGATE_UPSTREAM_URL: backend.url,
      WEBUI_SECRET_KEY: backend.secretKey,
      ...more,
    };
    // a process of its own: closing a descriptor in this one would give up locks of other connections
    const { stdout, stderr } = await runModelgate(['doctor', '--json'], environment);
    expect(stderr).toBe('');
    const { checks } = JSON.parse(stdout) as { readonly checks: readonly Finding[] };
    return checks.filter(({ status }) => status !== 'ok').map(({ status, name }) => `${status} ${name}`);
  }

  it('says what is still to be done in a new deployment, and nothing once it is', async () => {
    // the backend makes its file readable to every user, and only the operator can cure that
    await expect.poll(() => faults(), PATIENCE).toEqual(['warning permissions', 'problem tables', 'warning admins']);
    await signUp(backend.url, ADA);
    const { code } = await runCommand(['init', '--database', backend.databasePath]);
    expect(code).toBe(0);
    await expect.poll(() => faults(), PATIENCE).toEqual(['warning permissions']);
  });

  it("tells the backend's key from another one, by the backend's own words", async () => {
    expect(await faults({ WEBUI_SECRET_KEY: 'a key that is not the one of the backend' })).toContain(
      'problem secret key',
    );
  });

  it('and a gate with another key says so as soon as a user signs in through it', async () => {
    const gate = await startRealGate(backend, { WEBUI_SECRET_KEY: 'a key that is not the one of the backend' });
    try {
      const problem = async () =>
        ((await (await fetch(`${gate.adminUrl}/readyz`)).json()) as { identity: { problem: string | null } }).identity;
      expect(await problem()).toEqual({ problem: null });
      const { token } = await signIn(gate.url, ADA);
      await until(async () => (await problem()).problem !== null, 15_000, 'the problem');
      expect((await problem()).problem).toContain("WEBUI_SECRET_KEY is not the backend's");
      expect((await send({ url: gate.url, token }, 'GET', '/api/models')).status).toBe(401);
      await until(() => gate.log().includes('"anonymous":"credential_invalid"'), 15_000, 'the access line');
      expect(gate.log()).toMatch(/"level":"error".*"fault":"other_key"/);
      expect(gate.log()).not.toContain(token.slice(-20));
    } finally {
      await gate.close();
    }
    const right = await startRealGate(backend);
    try {
      await signIn(right.url, ADA);
      await until(
        async () =>
          (await (await fetch(`${right.adminUrl}/metrics`)).text()).includes('sessions_total{fault="none"} 1'),
        15_000,
        'the session to be judged',
      );
    } finally {
      await right.close();
    }
  });

  it('knows every migration that the release has', async () => {
    const { python } = await installOpenWebui(version);
    const find = 'import importlib.util as u; print(u.find_spec("open_webui").submodule_search_locations[0])';
    const folder = join(spawnSync(python, ['-c', find], { encoding: 'utf8' }).stdout.trim(), 'migrations', 'versions');
    const revisions = readdirSync(folder)
      .filter((name) => name.endsWith('.py'))
      .map(
        (name) => /^revision(?:: str)? = ['"](\w+)['"]/m.exec(readFileSync(join(folder, name), 'utf8'))?.[1] ?? name,
      );
    expect(revisions.length).toBeGreaterThan(15);
    expect(revisions.filter((revision) => releaseOf(revision).kind !== 'known')).toEqual([]);
  });
});
