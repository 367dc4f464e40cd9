/** A request names a permitted model where everyone looks, and another one inside. */
import { type AnswerDialect, type Attack, type Use, chat, describeAttacks } from '../support/gate/attacks.ts';

const CHAT = '/api/chat/completions';

/** What rides along with model A. */
const HIDDEN: readonly (readonly [name: string, more: Record<string, unknown>])[] = [
  ['params.model', { params: { model: 'F' } }],
  ['custom_params.model', { params: { custom_params: { model: 'F' } } }],
  ['custom_params.model as JSON', { params: { custom_params: { model: '"F"' } } }],
  ['custom_params.model as JSON behind white space', { params: { custom_params: { model: ' \n"F"' } } }],
  ['custom_params.model with an escape', { params: { custom_params: { model: '"\\u0046"' } } }],
  ['custom_params.models as JSON', { params: { custom_params: { models: '["A","F"]' } } }],
  ['custom_params.extra_body as JSON', { params: { custom_params: { extra_body: '{"models":["F"]}' } } }],
  ['an object of custom_params', { params: { custom_params: { extra_body: { models: ['F'] } } } }],
  ['models', { models: ['A', 'F'], route: 'fallback' }],
  ['models as objects', { models: [{ id: 'F' }] }],
  ['fallbacks', { fallbacks: ['F'] }],
  ['fallbacks as objects', { fallbacks: [{ model: 'F' }] }],
  ["LiteLLM's fallbacks", { fallbacks: [{ A: ['F'] }] }],
  ['context_window_fallbacks', { context_window_fallbacks: [{ A: ['F'] }] }],
  ['models in params', { params: { models: ['F'] } }],
  ['models in extra_body', { extra_body: { models: ['F'] } }],
  ['models in an extra_body in an extra_body', { extra_body: { extra_body: { model: 'F' } } }],
  ['a plugin', { plugins: [{ id: 'web', model: 'F' }] }],
  ["a plugin's panel", { plugins: [{ id: 'x', analysis_models: ['F'] }] }],
  ["a provider's own tool", { tools: [{ type: 'image_generation', model: 'F' }] }],
  ["the settings of a provider's own tool", { tools: [{ type: 'x', parameters: { model: 'F' } }] }],
  ['an unknown key', { x: [{ y: { model: 'F' } }] }],
  ['a model list of a router', { model_list: [{ model_name: 'A', litellm_params: { model: 'F' } }] }],
];

/** It is unknown what these run. */
const OPAQUE: readonly (readonly [name: string, more: Record<string, unknown>])[] = [
  ["another account's preset at the provider", { preset: 'cheap' }],
  ['a preset in custom_params', { params: { custom_params: { preset: '"cheap"' } } }],
  ['a provider as a string', { provider: 'x' }],
  ['plugins as a string', { plugins: 'x' }],
  ['a panel of the provider, as a plugin', { plugins: [{ id: 'fusion' }] }],
  ['a panel of the provider, as a plugin in JSON', { params: { custom_params: { plugins: '[{"id":"fusion"}]' } } }],
  ['a panel of the provider, as a tool', { tools: [{ type: 'openrouter:fusion' }] }],
  ['an adviser of the provider, as a tool', { tools: [{ type: 'openrouter:advisor', parameters: {} }] }],
  ['a number for models', { models: 5 }],
  ['an empty name', { fallbacks: [''] }],
  ['a name with a line break', { models: ['A\nF'] }],
  ['JSON that only Python reads', { params: { custom_params: { extra_body: '{"model":"F","x":NaN}' } } }],
  ['JSON with a repeated key', { params: { custom_params: { extra_body: '{"model":"A","model":"F"}' } } }],
];

/** Routes that send the rest of the body on to the provider. */
const PASSING: readonly (readonly [target: string, dialect: AnswerDialect])[] = [
  [CHAT, 'open-webui'],
  ['/api/v1/chat/completions', 'openai'],
  ['/api/v1/messages', 'anthropic'],
  ['/api/v1/messages/count_tokens', 'anthropic'],
  ['/api/embeddings', 'open-webui'],
  ['/openai/chat/completions', 'openai'],
  ['/openai/responses', 'openai'],
];

const fanOut: readonly Attack[] = [
  [
    { model_id: 'A', message_id: '1' },
    { model_id: 'F', message_id: '2' },
  ],
  { A: '1', F: '2' },
  { F: '2' },
  [{ model_id: 'F', message_id: '' }],
].map((message_ids) => ({
  name: `a fan-out to ${JSON.stringify(message_ids)}`,
  target: CHAT,
  body: chat('A', { chat_id: 'c', session_id: 's', message_ids }),
}));

const direct: readonly Attack[] = [true, 'no', 1, [0], { a: 1 }].map((value) => ({
  name: `a direct connection, switched on by ${JSON.stringify(value)}`,
  target: CHAT,
  body: chat('F', { model_item: { direct: value, id: 'x' } }),
}));

const malformed: readonly Attack[] = [5, ['F'], { id: 'F' }, '', null, true, 'A\n', 'A\u0000'].map((model) => ({
  name: `the model ${JSON.stringify(model)}`,
  target: CHAT,
  status: 400,
  body: chat(model),
}));

const attacks: readonly Attack[] = [
  ...HIDDEN.flatMap(([name, more]) =>
    PASSING.map(([target, dialect]) => ({ name: `${name} at ${target}`, target, dialect, body: chat('A', more) })),
  ),
  ...OPAQUE.map(([name, more]) => ({ name, target: CHAT, status: 400, body: chat('A', more) })),
  ...fanOut,
  ...direct,
  ...malformed,
];

const uses: readonly Use[] = [
  {
    name: 'fallbacks to models of their own',
    target: CHAT,
    body: chat('A', { models: ['acme/one'], fallbacks: [{ A: ['A'] }] }),
    runs: ['A', 'acme/one'],
  },
  {
    name: 'custom_params with a model of their own',
    target: CHAT,
    body: chat('A', { params: { custom_params: { model: '"acme/one"', user: 'x', note: 'use model F, or {' } } }),
    runs: ['acme/one'],
  },
  {
    name: 'custom_params with ordinary text and JSON',
    target: CHAT,
    body: chat('A', { params: { custom_params: { note: 'model: F', stop: '["F"]', models: '["acme/one"]' } } }),
    runs: ['A', 'acme/one'],
  },
  {
    name: 'a fan-out to models of their own',
    target: CHAT,
    body: chat('A', {
      chat_id: 'c',
      session_id: 's',
      message_ids: [
        { model_id: 'A', message_id: '1' },
        { model_id: 'acme/one', message_id: '2' },
      ],
    }),
    runs: ['A', 'acme/one'],
  },
  {
    name: 'routing that names providers and no models',
    target: '/openai/chat/completions',
    body: chat('A', {
      provider: { order: ['F'], allow_fallbacks: false },
      plugins: [{ id: 'web' }],
      transforms: ['x'],
    }),
    runs: ['A'],
  },
  {
    name: 'functions with parameters called model',
    target: '/openai/chat/completions',
    body: chat('A', {
      tools: [
        { type: 'function', function: { name: 'f', parameters: { properties: { model: { enum: ['F'] } } } } },
        { type: 'function', name: 'f', parameters: { properties: { model: { type: 'string' } } } },
        { type: 'openrouter:web_search', parameters: { max_results: 3 } },
      ],
    }),
    runs: ['A'],
  },
  {
    name: 'messages that talk about models',
    target: CHAT,
    body: { model: 'A', messages: [{ role: 'assistant', model: 'F', content: '{"model":"F"}' }] },
    runs: ['A'],
  },
];

describeAttacks('inside of a request', { attacks, uses });
