/** Presets: a row of the backend's own that says what another id means. Every user may write them here. */
import { type Attack, type Attempt, BOTH, FORBIDDEN, NEW, OLD } from './attack.ts';
import { type PresetFields, createPreset, presetBody } from './backend-content.ts';
import { listModelIds, send, through } from './backend-client.ts';
import type { Release } from './release.ts';
import { question } from './tenants.ts';

const CHAT = '/api/chat/completions';
const F = FORBIDDEN;

/** Creates as the attacker, and lists: the backend runs only what its newest list holds. */
async function create(a: Attempt, preset: PresetFields): Promise<void> {
  await a.post('/api/v1/models/create', presetBody(preset));
  await list(a);
}

const list = (a: Attempt): Promise<unknown> => listModelIds(a.ada);

async function update(a: Attempt, preset: PresetFields): Promise<void> {
  await a.post(`/api/v1/models/model/update?id=${encodeURIComponent(preset.id)}`, presetBody(preset));
  await list(a);
}

const ask = (a: Attempt, model: string, path = CHAT, more: object = {}): Promise<unknown> =>
  a.post(path, question(model, { input: 'x', ...more }));

/** Removes a row whose id others need, made by any user. */
async function remove(a: Attempt, id: string): Promise<void> {
  await send(a.ada, 'DELETE', `/api/v1/models/model/delete?id=${id}`);
  await send(a.ada, 'POST', '/api/v1/models/model/delete', { id });
  await list(a);
}

type Fields = Omit<PresetFields, 'id'>;

const made = (name: string, worksWithout: readonly Release[], fields: Fields, more: object = {}): Attack => ({
  name: `a preset ${name}`,
  worksWithout,
  run: async (a) => {
    const id = a.unique('preset');
    await create(a, { id, ...fields });
    await ask(a, id, CHAT, more);
  },
});

const changed = (name: string, worksWithout: readonly Release[], fields: Fields): Attack => ({
  name: `a preset of one's own, changed to ${name}`,
  worksWithout,
  run: async (a) => {
    const id = a.unique('preset');
    await create(a, { id, base_model_id: 'alpha' });
    await update(a, { id, ...fields });
    await ask(a, id);
  },
});

const CONTROL = {
  effort: {
    label: 'Effort',
    display: 'menu',
    default: 'high',
    options: { high: { label: 'High', params: { models: [F] } } },
  },
};

const BODIES: readonly Attack[] = [
  made('on the model', BOTH, { base_model_id: F }),
  made('with the model in its parameters', OLD, { base_model_id: 'alpha', params: { model: F } }),
  made('with a list of models in its parameters', BOTH, { base_model_id: 'alpha', params: { models: [F] } }),
  made('with models in custom_params', BOTH, {
    base_model_id: 'alpha',
    params: { custom_params: { fallbacks: `["${F}"]` } },
  }),
  made('with a control that adds models', NEW, { base_model_id: 'alpha', params: { model_controls: CONTROL } }),
  made('on the arena, with members of its own', BOTH, {
    base_model_id: 'arena-model',
    meta: { model_ids: [F] },
  }),
  changed('the model', BOTH, { base_model_id: F }),
  changed('a list of models', BOTH, { base_model_id: 'alpha', params: { models: [F] } }),
];

const imported = (name: string, worksWithout: readonly Release[], first: Fields | undefined): Attack => ({
  name: `an import ${name}`,
  worksWithout,
  run: async (a) => {
    const id = a.unique('preset');
    if (first !== undefined) await create(a, { id, ...first });
    const other = { id: a.unique('harmless'), name: 'x', base_model_id: 'alpha', meta: {}, params: {} };
    const row = { id, name: 'x', base_model_id: F, meta: {}, params: {} };
    await a.post('/api/v1/models/import', { models: [other, row] });
    await list(a);
    await ask(a, id);
  },
});

const ROWS: readonly Attack[] = [
  imported('of a list with one bad row', NEW, undefined),
  imported('over a row that exists', NEW, { base_model_id: 'alpha' }),
  {
    name: 'an earlier version of a preset, from when the model was granted',
    worksWithout: NEW,
    onlyOn: NEW,
    run: async (a) => {
      const id = a.unique('preset');
      await createPreset(through(a.attacker, a.tenants.backend.url), { id, base_model_id: F });
      await update(a, { id, base_model_id: 'alpha' });
      const history = await send(a.attacker, 'GET', `/api/v1/models/model/history?id=${id}`);
      const versions = history.ok ? ((await history.json()) as { id: string }[]) : [];
      for (const { id: version } of versions) {
        await a.post(`/api/v1/models/model/update/version?id=${id}`, { version_id: version });
        await list(a);
        await ask(a, id);
      }
    },
  },
  {
    name: 'an update whose query names another row than its body',
    worksWithout: OLD,
    run: async (a) => {
      const [mine, other] = [a.unique('preset'), a.unique('preset')];
      await create(a, { id: mine, base_model_id: 'alpha' });
      await a.post(`/api/v1/models/model/update?id=${mine}`, presetBody({ id: other, base_model_id: F }));
      await list(a);
      await ask(a, mine);
    },
  },
  {
    name: 'a preset from the time when the model was granted',
    worksWithout: BOTH,
    run: async (a) => {
      const id = a.unique('preset');
      await createPreset(through(a.attacker, a.tenants.backend.url), { id, base_model_id: F });
      await ask(a, id);
    },
  },
];

const TAKEN: readonly Attack[] = [
  {
    name: "a row that gives a permitted provider model's id another base",
    worksWithout: OLD,
    run: async (a) => {
      await create(a, { id: 'alpha-2', base_model_id: F });
      await ask(a, 'alpha-2').finally(() => remove(a, 'alpha-2'));
    },
  },
  {
    name: 'a row that takes the id of a model without an owner, and a preset on it',
    worksWithout: OLD,
    model: 'gamma',
    run: async (a) => {
      const id = a.unique('preset');
      await create(a, { id: 'gamma', base_model_id: 'alpha' });
      await create(a, { id, base_model_id: 'gamma' });
      await ask(a, id);
      await ask(a, id, '/openai/chat/completions').finally(() => remove(a, 'gamma'));
    },
  },
  ...['/openai/responses', '/api/embeddings'].map((path) => ({
    name: `a preset called like an unlisted model of the provider, at ${path}`,
    worksWithout: BOTH,
    model: 'unlisted',
    run: async (a: Attempt) => {
      await create(a, { id: 'unlisted', base_model_id: 'alpha' });
      await ask(a, 'unlisted', path).finally(() => remove(a, 'unlisted'));
    },
  })),
  {
    name: "the arena's own row with members of one's choosing",
    worksWithout: OLD,
    run: async (a) => {
      await create(a, { id: 'arena-model', base_model_id: null, meta: { model_ids: [F] } });
      await ask(a, 'arena-model').finally(() => remove(a, 'arena-model'));
    },
  },
  {
    name: "a preset called like a model of Ollama's without its tag",
    worksWithout: OLD,
    model: 'mistral:latest',
    run: async (a) => {
      await create(a, { id: 'mistral', base_model_id: 'llama3:latest' });
      for (const route of ['generate', 'embed', 'embeddings']) {
        await a.post(`/ollama/api/${route}`, { model: 'mistral', prompt: 'x', input: 'x', stream: false });
      }
      await remove(a, 'mistral');
    },
  },
];

export const PRESET_ATTACKS: readonly Attack[] = [...BODIES, ...ROWS, ...TAKEN];
