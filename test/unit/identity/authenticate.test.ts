import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { Hono } from 'hono';
import { beforeAll, describe, expect, it } from 'vitest';
import { GatewayError } from '../../../src/errors.ts';
import { authenticate, createIdentity } from '../../../src/identity/authenticate.ts';
import { createScope, type GateEnv, type Scope } from '../../../src/gate/scope.ts';
import { applyEdit } from '../../support/gate/apply-edit.ts';
import { TEST_SECRET, mintSession, mintSession06 } from '../../support/gate/session.ts';
import { type UserView, userView } from '../../support/database/user-view.ts';

const KEY = 'sk-0123456789abcdef0123456789abcdef';
const ANNAS_KEY = 'sk-aaaa0000aaaa0000aaaa0000aaaa0000';
const ANNA = { kind: 'user', id: 'anna', role: 'user' };
const BEN = { kind: 'user', id: 'ben', role: 'admin' };
const view = userView({ anna: 'user', ben: 'admin' }, { [ANNAS_KEY]: 'anna', 'sk-orphan': 'gone' });
const identity = createIdentity({ secretKeys: [TEST_SECRET], apiKeyHeader: 'X-Api-Key' });

let anna: string;
let annaOld: string;
let ben: string;
let gone: string;
let expired: string;
beforeAll(async () => {
  [anna, annaOld, ben, gone, expired] = await Promise.all([
    mintSession('anna'),
    mintSession06('anna'),
    mintSession('ben'),
    mintSession('gone'),
    mintSession('ben', { expiresIn: -1 }),
  ]);
});

const principalOf = async (...lines: string[]): Promise<unknown> => (await identity.resolve(lines, view)).principal;

describe('the principal', () => {
  it('is the user of a session token, in a header or a cookie, with the role that the database has', async () => {
    expect(await principalOf('Authorization', `Bearer ${anna}`)).toEqual(ANNA);
    expect(await principalOf('Cookie', `theme=dark; token=${ben}`)).toEqual(BEN);
  });

  it('is the owner of an API key, wherever it stands', async () => {
    for (const lines of [
      ['Authorization', `Bearer ${ANNAS_KEY}`],
      ['Authorization', `Token ${ANNAS_KEY}`],
      ['Cookie', `token=${ANNAS_KEY}`],
      ['x-api-key', ANNAS_KEY],
    ]) {
      expect(await principalOf(...lines)).toEqual(ANNA);
    }
  });

  it('is anonymous, with the reason, where nothing proves a user', async () => {
    const because = async (...lines: string[]): Promise<unknown> => principalOf(...lines);
    expect(await because('Accept', '*/*')).toEqual({ kind: 'anonymous', because: 'no_credential' });
    expect(await because('Authorization', 'Bearer scim')).toEqual({ kind: 'anonymous', because: 'credential_invalid' });
    expect(await because('Authorization', `Bearer ${KEY}`)).toEqual({
      kind: 'anonymous',
      because: 'credential_invalid',
    });
    expect(await because('Authorization', `Bearer ${expired}`)).toEqual({
      kind: 'anonymous',
      because: 'credential_expired',
    });
    expect(await because('Authorization', `Bearer ${gone}`)).toEqual({ kind: 'anonymous', because: 'user_unknown' });
    expect(await because('x-api-key', 'sk-orphan')).toEqual({ kind: 'anonymous', because: 'user_unknown' });
  });

  it('is that of the judged credential, however good another one is', async () => {
    expect(await principalOf('Authorization', 'Bearer scim', 'Cookie', `token=${anna}`)).toEqual({
      kind: 'anonymous',
      because: 'credential_invalid',
    });
    expect(await principalOf('Authorization', `Bearer ${expired}`, 'Cookie', `token=${anna}`)).toEqual({
      kind: 'anonymous',
      because: 'credential_expired',
    });
  });

  it('is anonymous, as with an expired token, where the backend has ended the sessions of the account', async () => {
    const changed = userView({ anna: 'user' }, { [ANNAS_KEY]: 'anna' }, { anna: 'the stamp of today' });
    const because = async (token: string) =>
      (await identity.resolve(['Authorization', `Bearer ${token}`], changed)).principal;
    const ended = { kind: 'anonymous', because: 'credential_expired' };
    expect(await because(anna)).toEqual(ended);
    expect(await because(annaOld)).toEqual(ended);
    expect(await because(await mintSession('anna', { claims: { session_stamp: 'the stamp of today' } }))).toEqual(ANNA);
    expect(await because(ANNAS_KEY)).toEqual(ANNA);
  });

  it('is known at once when the token was verified before, also where browsers send it twice', async () => {
    const lines = ['Authorization', `Bearer ${anna}`, 'Cookie', `token=${anna}`];
    await identity.resolve(lines, view);
    expect(identity.resolve(lines, view)).toMatchObject({ principal: ANNA });
  });
});

describe('while the database cannot be read', () => {
  const broken: UserView = {
    user: () => {
      throw new GatewayError('policy_unavailable');
    },
    isSessionOver: () => {
      throw new GatewayError('policy_unavailable');
    },
    userOfApiKey: () => {
      throw new GatewayError('policy_unavailable');
    },
  };

  it.each([
    ['there is no view', undefined],
    ['the view fails', broken],
  ])('a user with a good credential is unresolved, and its edit is made (%s)', async (_name, unavailable) => {
    for (const [text, beside, claim] of [
      [anna, 'unknown', { claimed: ANNA.id }],
      // which of the two pays is not known yet
      [anna, ben, {}],
      [ANNAS_KEY, ben, {}],
    ] as const) {
      const lines = ['Authorization', `bearer ${text}`, 'Cookie', `a=1; token=${beside}`];
      const { principal, edit } = await identity.resolve(lines, unavailable);
      expect(principal).toEqual({ kind: 'unresolved', ...claim });
      expect(applyEdit(lines, edit)).toEqual(['authorization', `Bearer ${text}`, 'cookie', 'a=1']);
    }
  });

  it('a request without credentials still has no user', async () => {
    const principal = async (...lines: string[]): Promise<unknown> =>
      (await identity.resolve(lines, undefined)).principal;
    expect(await principal()).toEqual({ kind: 'anonymous', because: 'no_credential' });
    expect(await principal('Authorization', `Bearer ${expired}`)).toEqual({
      kind: 'anonymous',
      because: 'credential_expired',
    });
    expect(await principal('Cookie', 'token=x')).toEqual({ kind: 'anonymous', because: 'credential_invalid' });
  });

  it('another failure of the database is not hidden', () => {
    const failing: UserView = { ...broken, userOfApiKey: () => expect.fail('disk on fire') };
    expect(() => identity.resolve(['x-api-key', KEY], failing)).toThrow('disk on fire');
  });
});

describe('several credentials in one request', () => {
  const conflict = { code: 'credentials_conflict' };

  it('of two different users are refused, wherever they stand', async () => {
    for (const lines of [
      ['Authorization', `Bearer ${anna}`, 'Cookie', `token=${ben}`],
      ['Authorization', `Bearer ${anna}`, 'Authorization', `Bearer ${ben}`],
      ['Authorization', `Bearer ${ben}`, 'x-api-key', ANNAS_KEY],
      ['Cookie', `token=${anna}; token="${ben}"`],
      ['Cookie', `token=${anna}`, 'Cookie', `token=${ben}`],
      ['Authorization', `Basic ${anna}`, 'Cookie', `token=${ben}`],
      ['Authorization', 'Bearer scim', 'Cookie', `token=${ben}`, 'x-api-key', ANNAS_KEY],
      ['Authorization', '', 'Authorization', `Bearer ${anna}`, 'Authorization', `Bearer ${ben}`],
    ]) {
      await expect(async () => identity.resolve(lines, view)).rejects.toMatchObject(conflict);
    }
  });

  it('of one user are that user, and one of them goes on', async () => {
    const lines = ['Authorization', `Bearer ${anna}`, 'Cookie', `token=${annaOld}`, 'x-api-key', ANNAS_KEY];
    const { principal, edit } = await identity.resolve(lines, view);
    expect(principal).toEqual(ANNA);
    expect(applyEdit(lines, edit)).toEqual(['Authorization', `Bearer ${anna}`]);
  });

  it('do not disturb when the others prove no user: another application’s cookie, an expired one, a deleted user', async () => {
    const foreign = await mintSession('ben', { secretKey: 'of another application' });
    for (const other of [foreign, expired, gone]) {
      const lines = ['Authorization', `Bearer ${anna}`, 'Cookie', `token=${other}`];
      expect(await principalOf(...lines)).toEqual(ANNA);
    }
  });

  it('are refused unread when there are too many', async () => {
    const cookies = Array.from({ length: 8 }, (_, n) => `token=sk-guess${n}`).join('; ');
    await expect(async () => identity.resolve(['Cookie', cookies], view)).rejects.toMatchObject(conflict);
  });
});

describe('a token in a message', () => {
  it('is a session token, never an API key', async () => {
    expect(await identity.resolveToken(anna, view)).toEqual(ANNA);
    expect(identity.resolveToken(anna, view)).toEqual(ANNA);
    expect(await identity.resolveToken(ANNAS_KEY, view)).toEqual({ kind: 'anonymous', because: 'credential_invalid' });
    expect(await identity.resolveToken(ben, undefined)).toEqual({ kind: 'unresolved', claimed: 'ben' });
  });
});

it('the Cookie header is refused as API key header', () => {
  expect(() => createIdentity({ secretKeys: [TEST_SECRET], apiKeyHeader: 'Cookie' })).toThrow('CUSTOM_API_KEY_HEADER');
});

describe('the stage', () => {
  const run = async (rawHeaders: string[], current: () => UserView): Promise<Scope | Error> => {
    let reached: Scope | Error = new Error('the next stage was not reached');
    const incoming = new IncomingMessage(new Socket());
    incoming.rawHeaders = rawHeaders;
    const app = new Hono<GateEnv>();
    app.use(async (c, next) => {
      c.set('scope', createScope(incoming, new ServerResponse(incoming)));
      await next();
    });
    app.use(authenticate({ identity, store: { current, ask: (attempt) => attempt(), failures: () => 0 } }));
    app.use((c) => {
      reached = c.get('scope');
      return Promise.resolve(c.text('reached'));
    });
    app.onError((error, c) => {
      reached = error;
      return c.text('refused', 400);
    });
    await app.request('/');
    return reached;
  };

  it('sets principal and edit, for a new token and for a known one', async () => {
    const token = await mintSession('anna');
    for (let turn = 0; turn < 2; turn++) {
      const scope = await run(['Authorization', `bearer ${token}`], () => view);
      expect(scope).toMatchObject({ principal: ANNA, credentialEdit: { add: ['authorization', `Bearer ${token}`] } });
    }
  });

  it('refuses no request: neither an anonymous one nor any while the database cannot be read', async () => {
    expect(await run([], () => view)).toMatchObject({ principal: { kind: 'anonymous' } });
    const unreadable = (): never => {
      throw new GatewayError('policy_unavailable');
    };
    expect(await run(['Authorization', `Bearer ${anna}`], unreadable)).toMatchObject({
      principal: { kind: 'unresolved' },
    });
  });

  it('throws the conflict', async () => {
    const refused = await run(['Authorization', `Bearer ${anna}`, 'Cookie', `token=${ben}`], () => view);
    expect(refused).toMatchObject({ code: 'credentials_conflict', status: 400 });
  });
});
