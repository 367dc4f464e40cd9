import { describe, expect, test } from 'vitest';
import { createOwnKeys } from '../../../src/provider-door/provider-key.ts';
import { createKeySeal } from '../../../src/usage/keys.ts';
import { viewOf } from '../../support/database/policy-world.ts';

const SECRET = 'seals-the-keys-of-organizations-32';
const OPENROUTER = 'openrouter.ai';
const stored = createKeySeal(SECRET).seal({ organization: 'acme', provider: OPENROUTER }, 'sk-of-the-ledger');

interface World {
  /** Undefined where the ledger does not answer. */
  readonly ledger?: Uint8Array | null | undefined;
  readonly mai?: string | undefined;
  readonly keysSecret?: string | undefined;
}

/** `world` may change between two calls. */
function ownKeys(world: () => World) {
  const view = { ...viewOf({ grants: {}, members: {} }), openrouterKeyOf: () => world().mai };
  const ownKeyOf = createOwnKeys({
    ledger: { sealedKeyOf: () => Promise.resolve(world().ledger) },
    store: { askOn: (attempt) => attempt(), patiently: (attempt) => attempt(), current: () => view },
    keysSecret: world().keysSecret,
    accessKeys: ['an-access-key-of-the-door'],
  });
  return (organization: string, provider: string) => ownKeyOf({ organization, provider });
}

describe("an organization's own key", () => {
  test('is that of the ledger before that of mAI, and none where neither has one', async () => {
    const of = (world: World) => ownKeys(() => ({ keysSecret: SECRET, ...world }))('acme', OPENROUTER);
    expect(await of({ ledger: stored, mai: 'sk-of-mai' })).toEqual({ kind: 'key', key: 'sk-of-the-ledger' });
    expect(await of({ ledger: null, mai: 'sk-of-mai' })).toEqual({ kind: 'key', key: 'sk-of-mai' });
    expect(await of({ ledger: null })).toEqual({ kind: 'none' });
  });

  test('as mAI keeps it is for OpenRouter alone', async () => {
    const keyOf = ownKeys(() => ({ ledger: null, mai: 'sk-of-mai' }));
    expect(await keyOf('acme', 'eu.openrouter.ai')).toEqual({ kind: 'key', key: 'sk-of-mai' });
    for (const host of ['api.openai.com', 'openrouter.ai.example', 'notopenrouter.ai', 'openrouter.ai:8443']) {
      expect(await keyOf('acme', host), host).toEqual({ kind: 'none' });
    }
  });

  test('is no access key: what mAI has in its column to send to the door goes to no provider', async () => {
    const keyOf = ownKeys(() => ({ ledger: null, mai: 'an-access-key-of-the-door' }));
    expect(await keyOf('acme', OPENROUTER)).toEqual({ kind: 'none' });
  });

  test('is none of what no organization pays for', async () => {
    expect(await ownKeys(() => ({ ledger: stored, mai: 'sk-of-mai' }))('', OPENROUTER)).toEqual({ kind: 'none' });
  });

  test('that cannot be read is not replaced by that of mAI, and one that no header can carry is not sent', async () => {
    const sealed = await ownKeys(() => ({ ledger: stored, mai: 'sk-of-mai' }))('acme', OPENROUTER);
    expect(sealed).toEqual({ kind: 'sealed', why: 'MODELGATE_KEYS_SECRET is not set' });
    const broken = await ownKeys(() => ({ ledger: null, mai: 'sk-of\r\nmai' }))('acme', OPENROUTER);
    expect(broken.kind).toBe('sealed');
    expect(JSON.stringify(broken)).not.toContain('sk-of');
  });
});

describe('while the ledger does not answer', () => {
  test.each([
    ['a key', stored, { kind: 'key', key: 'sk-of-the-ledger' }],
    ['none', null, { kind: 'none' }],
  ])('%s that was seen before still counts', async (_, before, expected) => {
    let ledger: Uint8Array | null | undefined = before;
    const keyOf = ownKeys(() => ({ ledger, keysSecret: SECRET }));
    await keyOf('acme', OPENROUTER);
    ledger = undefined;
    expect(await keyOf('acme', OPENROUTER)).toEqual(expected);
    await expect(keyOf('globex', OPENROUTER)).rejects.toMatchObject({ code: 'ledger_unavailable' });
  });

  test('nothing is refused where there is no secret, and so no key', async () => {
    expect(await ownKeys(() => ({}))('acme', OPENROUTER)).toEqual({ kind: 'none' });
  });
});
