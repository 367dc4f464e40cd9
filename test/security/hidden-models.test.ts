/** A request names a permitted model where everyone looks, and another one inside. */
import { type AnswerDialect, type Attack, type Use, at, chat, describeAttacks } from '../support/gate/attacks.ts';

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

const attacks: readonly Attack[] = [
  ...HIDDEN.flatMap(([name, more]) =>
    PASSING.flatMap(([target, dialect]) => at(target, { [`${name} at ${target}`]: chat('A', more) }, { dialect })),
  ),
  ...OPAQUE.flatMap(([name, more]) => at(CHAT, { [name]: chat('A', more) }, { status: 400 })),
  ...[
    [
      { model_id: 'A', message_id: '1' },
      { model_id: 'F', message_id: '2' },
    ],
    { A: '1', F: '2' },
    { F: '2' },
    [{ model_id: 'F', message_id: '' }],
  ].flatMap((message_ids) => {
    const name = `a fan-out to ${JSON.stringify(message_ids)}`;
    return at(CHAT, { [name]: chat('A', { chat_id: 'c', session_id: 's', message_ids }) });
  }),
  ...[true, 'no', 1, [0], { a: 1 }].flatMap((value) => {
    const name = `a direct connection, switched on by ${JSON.stringify(value)}`;
    return at(CHAT, { [name]: chat('F', { model_item: { direct: value, id: 'x' } }) });
  }),
  ...[5, ['F'], { id: 'F' }, '', null, true, 'A\n', 'A\u0000'].flatMap((model) =>
    at(CHAT, { [`the model ${JSON.stringify(model)}`]: chat(model) }, { status: 400 }),
  ),
];

const custom = (params: object) => chat('A', { params: { custom_params: params } });
const BOTH = { runs: ['A', 'acme/one'] };

const uses: readonly Use[] = [
  ...at(
    CHAT,
    {
      'fallbacks to models of their own': chat('A', { models: ['acme/one'], fallbacks: [{ A: ['A'] }] }),
      'custom_params with ordinary text and JSON': custom({ note: 'model: F', stop: '["F"]', models: '["acme/one"]' }),
      'a fan-out to models of their own': chat('A', {
        chat_id: 'c',
        session_id: 's',
        message_ids: [
          { model_id: 'A', message_id: '1' },
          { model_id: 'acme/one', message_id: '2' },
        ],
      }),
    },
    BOTH,
  ),
  ...at(
    CHAT,
    {
      'custom_params with a model of their own': custom({
        model: '"acme/one"',
        user: 'x',
        note: 'use model F, or {',
      }),
    },
    { runs: ['acme/one'] },
  ),
  ...at(
    '/openai/chat/completions',
    {
      'routing that names providers and no models': chat('A', {
        provider: { order: ['F'], allow_fallbacks: false },
        plugins: [{ id: 'web' }],
        transforms: ['x'],
      }),
      'functions with parameters called model': chat('A', {
        tools: [
          { type: 'function', function: { name: 'f', parameters: { properties: { model: { enum: ['F'] } } } } },
          { type: 'function', name: 'f', parameters: { properties: { model: { type: 'string' } } } },
          { type: 'openrouter:web_search', parameters: { max_results: 3 } },
        ],
      }),
    },
    { runs: ['A'] },
  ),
  ...at(
    CHAT,
    {
      'messages that talk about models': {
        model: 'A',
        messages: [{ role: 'assistant', model: 'F', content: '{"model":"F"}' }],
      },
    },
    { runs: ['A'] },
  ),
];

describeAttacks('inside of a request', { attacks, uses });
