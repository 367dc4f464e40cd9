import { spawn } from 'node:child_process';
import { text as readAll } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { GatewayError } from '../../src/errors.ts';
import { createIdentity } from '../../src/identity/authenticate.ts';
import { readCredentials, type Credential } from '../../src/identity/credential.ts';
import type { Principal } from '../../src/policy/principal.ts';
import { applyEdit } from '../support/gate/apply-edit.ts';
import { credentialLines } from '../support/gate/credential-lines.ts';
import { TEST_SECRET, mintSession, mintSession06 } from '../support/gate/session.ts';
import { userView } from '../support/database/user-view.ts';
import { installOpenWebui } from './install.ts';
import { RELEASES, type Release } from './release.ts';

const REQUESTS = 3_000;
const SAMPLE = { numRuns: REQUESTS, seed: 20_261_201 };
const API_KEY_HEADER = 'x-open-webui-key';
const KEYS = { 'sk-anna': 'anna', 'sk-ben': 'ben' };
const USERS = ['anna', 'ben'];

/** What `credentials.py` found in one request. */
interface Reading {
  readonly user: string | null;
  readonly configUser: string | null;
  readonly texts: readonly string[];
}

/** One generated request: as it was sent, and what the gate made of it. */
interface Judged {
  readonly sent: readonly string[];
  readonly forwarded: readonly string[];
  readonly credential: Credential | undefined;
  readonly principal: Principal;
}

async function readWithBackend(release: Release, requests: readonly (readonly string[])[]): Promise<Reading[]> {
  const { python } = await installOpenWebui(release);
  const child = spawn(python, ['-W', 'ignore', fileURLToPath(new URL('credentials.py', import.meta.url))], {
    stdio: ['pipe', 'pipe', 'inherit'],
    timeout: 100_000,
  });
  child.stdin.end(
    JSON.stringify({ secret: TEST_SECRET, users: USERS, keys: KEYS, apiKeyHeader: API_KEY_HEADER, requests }),
  );
  return JSON.parse(await readAll(child.stdout)) as Reading[];
}

/** Good and bad credentials of both people; some that PyJWT forgives and the gate does not. */
async function texts(): Promise<string[]> {
  const [anna, ben] = [await mintSession06('anna'), await mintSession('ben')];
  const good = [anna, ben, await mintSession('anna'), ...Object.keys(KEYS)];
  return [
    ...good,
    ...good,
    ...good,
    await mintSession('ben', { expiresIn: -60 }),
    await mintSession('gone'),
    await mintSession('ben', { secretKey: 'of another application' }),
    await mintSession('ben', { claims: { aud: 'x' } }),
    'sk-unknowns',
    `${anna}=`,
    `${ben} =`,
    `${ben.slice(0, 9)} ${ben.slice(9)}`,
    `${ben.slice(0, -5)}!${ben.slice(-5)}`,
    `${ben}=AAAA`,
    `${ben.slice(0, -1)}${String.fromCharCode(ben.charCodeAt(ben.length - 1) + 1)}`,
    'scim',
    '',
  ];
}

const strip = (text: string): string => text.replace(/^[\s\x85]+|[\s\x85]+$/g, '');

describe.each(RELEASES)('the credential readers of Open WebUI %s', (release) => {
  const judged: Judged[] = [];
  const conflicts: (readonly string[])[] = [];
  let asSent: Reading[];
  let asForwarded: Reading[];
  let inConflict: Reading[];

  beforeAll(async () => {
    const identity = createIdentity({ secretKeys: [TEST_SECRET], apiKeyHeader: API_KEY_HEADER });
    const view = userView({ anna: 'user', ben: 'user' }, KEYS);
    for (const sent of fc.sample(credentialLines(await texts(), API_KEY_HEADER), SAMPLE)) {
      try {
        const { principal, edit } = await identity.resolve(sent, view);
        const credential = readCredentials(sent, { apiKeyHeader: API_KEY_HEADER }).judged;
        judged.push({ sent, forwarded: applyEdit(sent, edit), credential, principal });
      } catch (error) {
        if (!(error instanceof GatewayError) || error.code !== 'credentials_conflict') throw error;
        conflicts.push(sent);
      }
    }
    const forwarded = judged.map((one) => one.forwarded);
    const all = await readWithBackend(release, [...judged.map((one) => one.sent), ...forwarded, ...conflicts]);
    asSent = all.slice(0, judged.length);
    asForwarded = all.slice(judged.length, 2 * judged.length);
    inConflict = all.slice(2 * judged.length);
  });

  /** Every judged request with what the backend makes of what is sent on; the message shows the request. */
  const each = (check: (one: Judged, forwarded: Reading, sent: Reading) => void): void => {
    for (const [at, one] of judged.entries()) {
      const [forwarded, sent] = [asForwarded[at], asSent[at]];
      if (forwarded === undefined || sent === undefined) throw new Error('the backend answered too little');
      try {
        check(one, forwarded, sent);
      } catch (cause) {
        throw new Error(`${JSON.stringify(one)} was read as ${JSON.stringify({ forwarded, sent })}`, { cause });
      }
    }
  };

  it('had enough of every kind to read', () => {
    const kinds = judged.map(({ principal }) => (principal.kind === 'user' ? principal.id : principal.kind));
    for (const kind of ['anna', 'ben', 'anonymous']) {
      expect(kinds.filter((one) => one === kind).length, kind).toBeGreaterThan(REQUESTS / 30);
    }
    expect(conflicts.length).toBeGreaterThan(REQUESTS / 60);
    expect(inConflict.filter(({ user }) => user !== null).length).toBeGreaterThan(REQUESTS / 100);
  });

  it('find nothing but the judged credential in what is sent on', () => {
    each(({ credential }, forwarded) => {
      for (const text of forwarded.texts) expect(strip(text)).toBe(strip(credential?.text ?? 'nothing'));
    });
  });

  it('log in exactly the user whom the gate has named', () => {
    each(({ principal }, forwarded) => {
      if (principal.kind === 'user') expect(forwarded.user).toBe(principal.id);
    });
  });

  it('log in no user where the gate has named none', () => {
    each(({ principal }, forwarded) => {
      if (principal.kind !== 'user') expect([forwarded.user, forwarded.configUser]).toEqual([null, null]);
    });
  });

  it('tell /api/config the same user, or none', () => {
    each(({ principal }, forwarded) => {
      if (principal.kind === 'user') expect([principal.id, null]).toContain(forwarded.configUser);
    });
  });

  it('had not found another user before the edit, unless in a misspelled token, which the gate removes', () => {
    each(({ principal, sent }, _forwarded, before) => {
      const { all } = readCredentials(sent, { apiKeyHeader: API_KEY_HEADER });
      if (principal.kind === 'user' && all.every((one) => one.form !== 'misspelled')) {
        expect([principal.id, null]).toContain(before.user);
      }
    });
  });
});
