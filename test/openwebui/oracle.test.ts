/**
 * The oracle: whatever a member of acme sends, no provider is asked for a model that acme does not have. The same
 * attacks are then sent through a gate that is switched off, where they must succeed: otherwise they prove nothing.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Attempt, FORBIDDEN } from './attack.ts';
import type { Attack } from './attack.ts';
import { CHAT_ATTACKS } from './attacks-chat.ts';
import { PRESET_ATTACKS } from './attacks-preset.ts';
import { STORED_ATTACKS } from './attacks-stored.ts';
import { TRANSPORT_ATTACKS } from './attacks-transport.ts';
import type { RealGate } from './gate.ts';
import { startRealGate } from './gate.ts';
import { RELEASES } from './release.ts';
import type { Tenants } from './tenants.ts';
import { askPermitted, startTenants } from './tenants.ts';

const ATTACKS: readonly (readonly [topic: string, attacks: readonly Attack[]])[] = [
  ['one request', CHAT_ATTACKS],
  ['bytes, paths and credentials', TRANSPORT_ATTACKS],
  ['stored references', STORED_ATTACKS],
  ['presets', PRESET_ATTACKS],
];

/** Longest wait for an attack that must arrive: some run in the background of the backend. */
const ARRIVAL_MS = 15_000;

describe.each(RELEASES)('in front of Open WebUI %s', (version) => {
  let tenants: Tenants;

  beforeAll(async () => {
    tenants = await startTenants({ version, ollama: true, gateSettings: { MODELGATE_MEDIA_MODELS: 'tts-1,dall-e-2' } });
  });

  afterAll(async () => {
    await tenants.close();
  });

  describe.each(ATTACKS)('no forbidden model is reached by %s:', (_topic, attacks) => {
    it.each(attacks)('$name', async ({ run }) => {
      tenants.forget();
      await run(new Attempt(tenants, tenants.gate.url));
      await tenants.quiet();
      // Sent last, arrives last: what the attack has set in motion is on its way by now
      await askPermitted(tenants.ann, 'alpha');
      await tenants.quiet();
      expect(tenants.forbidden(tenants.ann)).toEqual([]);
    });
  });

  describe('through a gate that is switched off', () => {
    let off: RealGate;

    beforeAll(async () => {
      off = await startRealGate(tenants.backend, { BYPASS_MODEL_ACCESS_CONTROL: 'true' });
    });

    afterAll(async () => {
      await off.close();
    });

    const working = ATTACKS.flatMap(([, attacks]) => attacks).filter(({ worksWithout }) =>
      worksWithout.includes(version),
    );
    it.each(working)('the attack would succeed: $name', async ({ run, model = FORBIDDEN }) => {
      tenants.forget();
      await run(new Attempt(tenants, off.url));
      await tenants.arrival(model, ARRIVAL_MS);
    });
  });
});
