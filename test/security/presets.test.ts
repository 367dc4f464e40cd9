/** A permitted name that leads to another model, and a row that changes what others see. */
import { type Attack, type Use, at, chat, describeAttacks } from '../support/gate/attacks.ts';
import type { TestGate } from '../support/gate/gate.ts';

const CHAT = '/api/chat/completions';
const CREATE = '/api/v1/models/create';
const UPDATE = '/api/v1/models/model/update';
const IMPORT = '/api/v1/models/import';
const VERSION = '/api/v1/models/model/update/version?id=over-a';

function prepare({ database }: TestGate): void {
  const preset = (id: string, base: string | null, params: object = {}) => database.addModel({ id, base, params });
  preset('over-a', 'A');
  preset('over-f', 'F');
  preset('over-nothing', 'gone');
  preset('param-f', 'A', { model: 'F' });
  preset('param-hidden', 'A', { custom_params: { models: '["F"]' } });
  preset('param-panel', 'A', { custom_params: { plugins: '[{"id":"x","analysis_models":["F"]}]' } });
  preset('arena-of-f', 'arena-model');
  // a row of the name of a provider model without a grant: the provider gets that name where it is a preset's base
  preset('other/one', 'A');
  preset('over-redirect', 'other/one');
  preset('self', 'self');
  database.addModel({ id: 'override', owner: 'ann', base: null });
  preset('only-theirs', 'F');
  database.grant('globex', 'tagged:latest');
  preset('one', 'two');
  preset('two', 'one');
  // granted by its own id: the base works through it
  preset('given', 'F');
  database.grant('acme', 'given');
  // names that Ollama completes
  preset('llama3', 'A');
  preset('over-plain', 'plain');
  database.grant('acme', 'plain');
  if (database.era === '0.6.18') return;
  const version = (id: string, snapshot: object) =>
    database.run(
      'INSERT INTO model_history (id, model_id, user_id, snapshot, created_at) VALUES (?, ?, ?, ?, 1)',
      id,
      'over-a',
      'ann',
      JSON.stringify(snapshot),
    );
  version('v-f', { base_model_id: 'F', params: {} });
  version('v-params', { base_model_id: 'A', params: { models: ['F'] } });
  version('v-a', { base_model_id: 'A', params: {} });
}

const running: readonly Attack[] = [
  ...[
    'over-f',
    'over-nothing',
    'param-f',
    'param-hidden',
    'param-panel',
    'arena-of-f',
    'over-redirect',
    'self',
    'one',
    // the base of a granted preset, by itself
    'F',
  ].flatMap((model) => at(CHAT, { [`running ${model}`]: chat(model) })),
  ...(
    [
      ['other/one', 'goes to the provider', '/api/embeddings', 'open-webui'],
      ['other/one', 'goes to the provider', '/api/v1/embeddings', 'openai'],
      ['other/one', 'goes to the provider', '/openai/responses', 'openai'],
      ['llama3', 'Ollama completes', '/ollama/api/generate', 'ollama'],
      ['llama3', 'Ollama completes', '/ollama/api/embed', 'ollama'],
      ['llama3', 'Ollama completes', '/ollama/api/embeddings', 'ollama'],
      ['llama3', 'Ollama completes', '/ollama/v1/chat/completions', 'openai'],
      ['llama3', 'Ollama completes', '/ollama/v1/completions', 'openai'],
      ['over-plain', 'has a base that Ollama completes', '/ollama/api/chat', 'ollama'],
    ] as const
  ).flatMap(([model, what, target, dialect]) =>
    at(target, { [`a preset whose name ${what} at ${target}`]: chat(model) }, { dialect }),
  ),
];

const form = (more: object) => ({ id: 'mine', name: 'Mine', base_model_id: 'A', params: {}, meta: {}, ...more });

const FORMS: readonly (readonly [name: string, more: object, status?: number])[] = [
  ['a forbidden base', { base_model_id: 'F' }],
  ['a base that only a row makes a permitted one', { base_model_id: 'over-redirect' }],
  ['the base of another row', { base_model_id: 'other/one' }],
  ['a base that is missing', { base_model_id: 'gone' }],
  ['a base that picks by chance', { base_model_id: 'arena-model', meta: { model_ids: ['A'] } }],
  ['a list to pick from', { meta: { model_ids: ['F'] } }],
  ['params.model', { params: { model: 'F' } }],
  ['params.models', { params: { models: ['F'] } }],
  ['params.fallbacks', { params: { fallbacks: [{ A: ['F'] }] } }],
  ['custom_params', { params: { custom_params: { model: '"F"' } } }],
  ['custom_params with escapes', { params: { custom_params: { models: '["\\u0046"]' } } }],
  [
    'an option of its controls',
    { params: { model_controls: { speed: { options: { fast: { params: { model: '"F"' } } } } } } },
  ],
  ['the id of a model of their organization', { id: 'A', base_model_id: 'acme/one' }],
  ['an id under a prefix that was granted', { id: 'acme/new' }],
  ['the id of a model of another organization', { id: 'F' }],
  ['no base', { base_model_id: null }, 400],
  ['an empty base', { base_model_id: '' }, 400],
  ['no base at all', { base_model_id: undefined }, 400],
  ['its own id as base', { id: 'A2', base_model_id: 'A2' }],
  ['an id that a grant reads as everything', { id: '*' }],
  ['an id that a grant reads as a prefix', { id: 'b*' }],
  ['the id of a model of Ollama, without its tag', { id: 'tagged' }],
  ['the id of the arena', { id: 'arena-model', base_model_id: null, meta: { model_ids: ['A'] } }],
];

const writing: readonly Attack[] = [
  ...FORMS.flatMap(([name, more, status = 403]): Attack[] => [
    { name: `creating with ${name}`, status, target: CREATE, body: form(more) },
    { name: `importing with ${name}`, status, target: IMPORT, body: { models: [form({ id: 'fine' }), form(more)] } },
    { name: `changing to ${name}`, status, target: UPDATE, body: form(more) },
  ]),
  ...['override', 'only-theirs', 'no-such-row'].flatMap((id): Attack[] => [
    { name: `switching ${id}`, target: `/api/v1/models/model/toggle?id=${id}`, init: { method: 'POST' } },
    { name: `deleting ${id} (0.6)`, target: `/api/v1/models/model/delete?id=${id}`, init: { method: 'DELETE' } },
    { name: `deleting ${id}`, target: '/api/v1/models/model/delete', body: { id } },
    { name: `sharing ${id}`, target: '/api/v1/models/model/access/update', body: { id, access_grants: [] } },
  ]),
  { name: 'changing a row without a base', target: UPDATE, body: form({ id: 'override' }) },
  { name: 'changing the row of the query (0.6)', target: `${UPDATE}?id=over-a`, body: form({ base_model_id: 'F' }) },
  { name: 'changing a granted preset', target: UPDATE, body: form({ id: 'given', base_model_id: 'A' }) },
  { name: 'changing a granted preset, named in the query', target: `${UPDATE}?id=given`, body: form({}) },
  { name: 'two ids in the query', status: 400, target: `${UPDATE}?id=mine&id=given`, body: form({}) },
  { name: 'two ids in the query, one in escapes', status: 400, target: `${UPDATE}?id=mine&%69d=given`, body: form({}) },
  { name: 'an import that is no list', status: 400, target: IMPORT, body: { models: { a: form({}) } } },
  { name: 'a row that is no object', status: 400, target: IMPORT, body: { models: ['F'] } },
  { name: 'no id', status: 400, target: CREATE, body: form({ id: undefined }) },
  { name: 'synchronizing', target: '/api/v1/models/sync', body: { models: [form({})] } },
  ...at(
    VERSION,
    {
      'an earlier version on a forbidden base': { version_id: 'v-f' },
      'an earlier version with a fallback': { version_id: 'v-params' },
    },
    { era: '0.12.4' as const },
  ),
];

const uses: readonly Use[] = [
  { name: 'a preset on a model of their own', target: CHAT, body: chat('over-a'), runs: ['A'] },
  { name: 'a preset that was granted itself', target: CHAT, body: chat('given'), runs: ['F'] },
  { name: 'a preset at the OpenAI route', target: '/openai/chat/completions', body: chat('over-a'), runs: ['A'] },
  { name: 'a row of a provider name, by that name', target: CHAT, body: chat('other/one'), runs: ['A'] },
  ...at('/ollama/api/chat', { 'a preset at the Ollama route': chat('mistral-preset') }, { runs: ['mistral:7b'] }),
  { name: 'creating a preset', target: CREATE, body: form({ id: 'new-one' }), runs: [] },
  { name: 'running it', target: CHAT, body: chat('new-one'), runs: ['A'] },
  {
    name: 'switching a preset of their own',
    target: '/api/v1/models/model/toggle?id=new-one',
    init: { method: 'POST' },
    status: 405,
    runs: [],
  },
  {
    name: 'creating one with everything',
    target: CREATE,
    body: form({
      id: 'new-two',
      base_model_id: 'acme/one',
      params: { temperature: 1, custom_params: { models: '["A"]', user: 'F' }, system: 'You are model F.' },
      meta: {
        description: 'F',
        capabilities: { vision: true },
        toolIds: ['F'],
        knowledge: [{ id: 'F' }],
        tags: [{ name: 'F' }],
      },
      access_grants: [{ principal_type: 'user', principal_id: '*', permission: 'read' }],
    }),
    runs: [],
  },
  { name: 'importing', target: IMPORT, body: { models: [form({ id: 'new-three' })] }, runs: [] },
  { name: 'changing it', target: UPDATE, body: form({ id: 'new-one', base_model_id: 'acme/one' }), runs: [] },
  { name: 'running it again', target: CHAT, body: chat('new-one'), runs: ['acme/one'] },
  ...at(
    VERSION,
    { 'an earlier version on a model of their own': { version_id: 'v-a' } },
    { era: '0.12.4' as const, status: 405, runs: [] },
  ),
  ...at(
    CREATE,
    { 'what an administrator builds': form({ id: 'by-admin', base_model_id: 'F' }) },
    { user: 'adm', runs: [] },
  ),
];

describeAttacks('by a preset', {
  prepare: (gate) => {
    prepare(gate);
    gate.database.addModel({ id: 'mistral-preset', base: 'mistral:7b' });
    gate.database.grant('acme', 'mistral:7b');
  },
  attacks: [...running, ...writing],
  uses,
});
