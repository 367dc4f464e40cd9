/**
 * The provider door alone: whatever a member of acme sends to the real backend, with no front door before it, no provider is
 * asked for a model that acme does not have. Each attack is then repeated with a grant, and must arrive.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Attempt, FORBIDDEN, type Attack, reachedBy } from './attack.ts';
import { CHAT_ATTACKS } from './attacks-chat.ts';
import { INSIDE_ATTACKS } from './attacks-inside.ts';
import { PRESET_ATTACKS } from './attacks-preset.ts';
import { STORED_ATTACKS } from './attacks-stored.ts';
import { TRANSPORT_ATTACKS } from './attacks-transport.ts';
import { send, through } from './backend-client.ts';
import { createPreset } from './backend-content.ts';
import { RELEASES } from './release.ts';
import { type Tenants, askPermitted, question, startTenants } from './tenants.ts';

const ATTACKS: readonly Attack[] = [
  CHAT_ATTACKS,
  TRANSPORT_ATTACKS,
  STORED_ATTACKS,
  PRESET_ATTACKS,
  INSIDE_ATTACKS,
].flat();

/** What a grant does not open at this door: forms that nothing can judge, and ids that a preset stands on. */
const REFUSED_ANYWAY = [
  'plugins',
  'a preset called like an unlisted model of the provider',
  'a row that takes the id of a model without an owner',
  // the backend's catch-all: the provider has no such endpoint
  'the model by name at /openai/chat/completions/',
  'the model by name at /openai//',
  'the model by name at /openai/deployments/',
  // a WebSocket to the backend itself, which no gate makes an ordinary request of
  'an upgrade to ',
];
const isRefusedAnyway = (name: string): boolean => REFUSED_ANYWAY.some((beginning) => name.startsWith(beginning));

/** Longest wait for an attack that must arrive: some run in the background of the backend. */
const ARRIVAL_MS = 15_000;

describe.each(RELEASES)('between Open WebUI %s and its providers', (version) => {
  let tenants: Tenants;

  beforeAll(async () => {
    tenants = await startTenants({
      version,
      ollama: true,
      providerDoor: true,
      gateSettings: {
        MODELGATE_MEDIA_MODELS: 'tts-1,dall-e-2',
        MODELGATE_PROVIDER_SERVICE_MODELS: 'embedding-of-the-backend',
      },
    });
    for (const id of ['llama3:latest', 'mistral:latest']) {
      await createPreset(through(tenants.ada, tenants.backend.url), { id, base_model_id: null });
    }
  });

  afterAll(async () => {
    await tenants.close();
  });

  const tried = ATTACKS.filter(({ onlyOn }) => onlyOn?.includes(version) !== false);

  it.each(tried)('no forbidden model is reached by $name', async ({ run }) => {
    expect(await reachedBy(run, tenants, tenants.backend.url)).toEqual([]);
  });

  describe('with a grant', () => {
    const working = ATTACKS.filter(
      ({ name, worksWithout }) => worksWithout.includes(version) && !isRefusedAnyway(name),
    );

    it.each(working)('the same arrives: $name', async ({ run, model = FORBIDDEN }) => {
      tenants.forget();
      tenants.grant('acme', model);
      try {
        await run(new Attempt(tenants, tenants.backend.url));
        await tenants.arrival(model, ARRIVAL_MS);
      } finally {
        tenants.withdraw('acme', model);
      }
    });
  });

  it('lets every permitted use through, for each person', async () => {
    const [ann, bob] = [tenants.ann, tenants.bob].map((account) => through(account, tenants.backend.url));
    if (ann === undefined || bob === undefined) throw new Error('there are two people');
    await askPermitted(ann, 'alpha');
    await askPermitted(ann, 'vendor/two');
    await askPermitted(ann, 'llama3:latest');
    await askPermitted(bob, 'beta');
  });

  it('says in the chat why a model was not used', async () => {
    const ann = through(tenants.ann, tenants.backend.url);
    const response = await send(ann, 'POST', '/api/chat/completions', question(FORBIDDEN));
    expect(response.ok).toBe(false);
    expect(await response.text()).toContain(
      `\\"${FORBIDDEN}\\" does not exist or your organization does not have access`,
    );
  });

  it('gives the backend the whole list, whoever asks for it', async () => {
    for (const account of [tenants.ann, tenants.bob]) {
      const text = await (await send(through(account, tenants.backend.url), 'GET', '/api/models')).text();
      expect(text).toContain('"gamma"');
    }
  });

  it('asks a provider for its list once a minute, however often the backend asks', async () => {
    const ann = through(tenants.ann, tenants.backend.url);
    // of the attacks
    await tenants.quiet();
    tenants.forget();
    for (let round = 0; round < 10; round += 1) {
      await Promise.all(Array.from({ length: 10 }, () => askPermitted(ann, 'alpha')));
    }
    const lists = tenants.provider.requests.filter(({ method, path }) => method === 'GET' && path === '/v1/models');
    expect(lists.length).toBeLessThanOrEqual(2);
    expect(tenants.provider.requests.filter(({ method }) => method === 'POST')).toHaveLength(100);
  });
});
