/**
 * The oracle: whatever a member of acme sends, no provider is asked for a model that acme does not have. The same
 * attacks are then sent through a gate that is switched off, where they must succeed: otherwise they prove nothing.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Attempt, FORBIDDEN, type Attack, reachedBy } from './attack.ts';
import { CHAT_ATTACKS } from './attacks-chat.ts';
import { PRESET_ATTACKS } from './attacks-preset.ts';
import { STORED_ATTACKS } from './attacks-stored.ts';
import { TRANSPORT_ATTACKS } from './attacks-transport.ts';
import { call, listModelIds, through } from './backend-client.ts';
import { createPreset } from './backend-content.ts';
import { type RealGate, startRealGate } from './gate.ts';
import { RELEASES } from './release.ts';
import { type Tenants, NO_LIMITS, askPermitted, question, startTenants } from './tenants.ts';

const ATTACKS: readonly (readonly [topic: string, attacks: readonly Attack[]])[] = [
  ['one request', CHAT_ATTACKS],
  ['bytes, paths and credentials', TRANSPORT_ATTACKS],
  ['stored references', STORED_ATTACKS],
  ['presets', PRESET_ATTACKS],
];

/** Longest wait for an attack that must arrive: some run in the background of the backend. */
const ARRIVAL_MS = 15_000;

const GATE_SETTINGS = { ...NO_LIMITS, MODELGATE_MEDIA_MODELS: 'tts-1,dall-e-2' };

describe.each(RELEASES)('in front of Open WebUI %s', (version) => {
  let tenants: Tenants;

  beforeAll(async () => {
    tenants = await startTenants({ version, ollama: true, gateSettings: GATE_SETTINGS });
    // Some of Ollama's routes serve users only what has a row
    for (const id of ['llama3:latest', 'mistral:latest']) {
      await createPreset(through(tenants.ada, tenants.backend.url), { id, base_model_id: null });
    }
  });

  afterAll(async () => {
    await tenants.close();
  });

  describe.each(ATTACKS)('no forbidden model is reached by %s:', (_topic, attacks) => {
    it.each(attacks.filter(({ onlyOn }) => onlyOn?.includes(version) !== false))('$name', async ({ run }) => {
      expect(await reachedBy(run, tenants)).toEqual([]);
    });
  });

  it("lists what is permitted of Ollama's models, and runs it", async () => {
    const { models } = (await call(tenants.ann, 'GET', '/ollama/api/tags')) as { models: { model: string }[] };
    expect(models.map(({ model }) => model)).toEqual(['llama3:latest']);
    expect(await listModelIds(tenants.ann, '/ollama/v1/models')).toEqual(['llama3:latest']);
    await askPermitted(tenants.ann, 'llama3:latest');
    for (const path of ['/ollama/api/chat', '/ollama/api/generate', '/ollama/api/embed']) {
      await call(tenants.ann, 'POST', path, question('llama3:latest', { prompt: 'x', input: 'x' }));
    }
  });

  it.each(['/openai/chat/completions', '/api/chat/completions'])('lets permitted use through at %s', async (path) => {
    await askPermitted(tenants.ann, 'alpha', path);
    await askPermitted(tenants.ann, 'vendor/two', path);
    await askPermitted(tenants.bob, 'beta', path);
  });

  it('lets permitted use through where a name is sent on as it is', async () => {
    for (const [path, more] of [
      ['/openai/responses', { input: 'x' }],
      ['/api/embeddings', { input: 'x' }],
      ['/api/v1/tasks/title/completions', {}],
    ] as const) {
      tenants.forget();
      await call(tenants.ann, 'POST', path, question('alpha', more));
      expect(tenants.provider.asked()).toContain('alpha');
    }
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
