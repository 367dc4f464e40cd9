import { describe, expect, test } from 'vitest';
import { collectParameters, collectReferences } from '../../../src/references/references.ts';

const models = (body: unknown) => [...collectReferences(body).models].sort();

describe('a request names', () => {
  const named: [sentence: string, body: unknown, expected: string[]][] = [
    ['its own model', { model: 'A' }, ['A']],
    ['nothing, if it is no object', ['A'], []],
    ['the models of a provider fallback list', { model: 'A', models: ['F', 'G'], route: 'fallback' }, ['A', 'F', 'G']],
    [
      'LiteLLM fallbacks in each of their forms',
      { fallbacks: ['F', { model: 'G' }, { H: ['I'] }] },
      ['F', 'G', 'H', 'I'],
    ],
    ['what params put over the model', { model: 'A', params: { model: 'F' } }, ['A', 'F']],
    ['what custom_params hide in a JSON string', { params: { custom_params: { model: '"F"' } } }, ['F']],
    [
      'what custom_params hide two levels deep',
      { params: { custom_params: { extra_body: '{"models":["F"]}' } } },
      ['F'],
    ],
    ['a plain string in custom_params', { params: { custom_params: { model: 'F' } } }, ['F']],
    [
      'every run of a fan-out',
      {
        message_ids: [
          { model_id: 'A', message_id: '1' },
          { model_id: 'F', message_id: '2' },
        ],
      },
      ['A', 'F'],
    ],
    ['every key of the older fan-out', { message_ids: { A: '1', F: '2' } }, ['A', 'F']],
    ['a base model', { base_model_id: 'F' }, ['F']],
    [
      'models inside provider extensions',
      { extra_body: { models: ['F'] }, plugins: [{ id: 'x', model: 'G' }] },
      ['F', 'G'],
    ],
    ['the model of a tool that runs one', { tools: [{ type: 'image_generation', model: 'F' }] }, ['F']],
  ];
  test.each(named)('%s', (_sentence, body, expected) => {
    expect(collectReferences(body).unreadable).toBeUndefined();
    expect(models(body)).toEqual(expected);
  });
});

describe('a request does not name', () => {
  const silent: [sentence: string, body: unknown][] = [
    [
      'what earlier messages were answered by',
      { messages: [{ role: 'assistant', model: 'F', content: '{"model":"F"}' }] },
    ],
    ['what a stored history names', { chat: { history: { messages: { 1: { model: 'F' } } } } }],
    [
      'a parameter called model in a tool schema',
      { tools: [{ function: { parameters: { properties: { model: { type: 'string' } } } } }] },
    ],
    ['attached files', { files: [{ type: 'file', file: { meta: { model: 'F' } } }] }],
    ['the picture of the model that the page sends along', { model_item: { id: 'A', info: { base_model_id: 'F' } } }],
    ['the choices a user once made for other models', { params: { model_controls: { F: { speed: 'high' } } } }],
    ['null, which Python reads as absent', { models: null }],
    ['text in custom_params that only talks about models', { params: { custom_params: { note: 'model: F' } } }],
  ];
  test.each(silent)('%s', (_sentence, body) => {
    const references = collectReferences(body);
    expect([...references.models]).toEqual([]);
    expect(references.unreadable).toBeUndefined();
  });
});

/** What expects a schema, or the caller's own labels, at each place from which the backend takes parameters. */
const SCHEMA = {
  type: 'object',
  properties: { model: { type: 'string' }, models: { type: 'array' }, preset: { type: 'string' } },
  $defs: { Model: { type: 'object', properties: { model_name: {}, fallback: {} } } },
  model: 'F',
};
const CONTENT_OF_PARAMETERS: readonly (readonly [name: string, parameters: object])[] = [
  ["Ollama's format", { format: SCHEMA }],
  ['guided_json', { guided_json: SCHEMA }],
  ['structured_outputs', { structured_outputs: { json: SCHEMA } }],
  ['response_format with a schema', { response_format: { type: 'json_object', schema: SCHEMA } }],
  [
    'response_format with a named schema',
    { response_format: { type: 'json_schema', json_schema: { schema: SCHEMA } } },
  ],
  ['text.format', { text: { format: { type: 'json_schema', schema: SCHEMA } } }],
  ['output_config.format', { output_config: { format: { type: 'json_schema', schema: SCHEMA } } }],
  ['metadata', { metadata: { model: 'v2' } }],
];

describe.each([
  ['a request', (parameters: object) => parameters],
  ['its params', (parameters: object) => ({ params: parameters })],
  ['its custom_params', (parameters: object) => ({ params: { custom_params: parameters } })],
  [
    'its custom_params, as texts',
    (parameters: object) => ({
      params: {
        custom_params: Object.fromEntries(
          Object.entries(parameters).map(([key, value]) => [key, JSON.stringify(value)]),
        ),
      },
    }),
  ],
  ['its extra_body', (parameters: object) => ({ extra_body: parameters })],
])('%s takes as content', (_place, within) => {
  test.each(CONTENT_OF_PARAMETERS)('%s', (_name, parameters) => {
    const { models: named, unreadable } = collectReferences(within(parameters));
    expect([[...named], unreadable]).toEqual([[], undefined]);
  });
});

describe('a model is named all the same', () => {
  test.each<[string, unknown]>([
    ['beside a schema', { model: 'F', format: SCHEMA }],
    ['by a text where a schema could be', { models: ['F'], format: 'json' }],
    ['by the settings of a plugin that are called as a schema', { plugins: [{ format: { model: 'F' } }] }],
    ['by the same keys outside of parameters', { tools: [{ type: 'x', metadata: { model: 'F' } }] }],
    ['by a list under metadata, which is no label', { metadata: [{ model: 'F' }] }],
    ['beside text.format', { text: { format: {}, model: 'F' } }],
  ])('%s', (_name, body) => {
    expect(models(body)).toContain('F');
  });
});

/** What a preset or a chat stores is read as what a request sends: one reader, the same answer. */
describe.each([
  ['in a request', (params: unknown) => collectReferences({ params })],
  ['stored with a preset', (params: unknown) => collectParameters(params, 'defined')],
  ['stored with a chat', (params: unknown) => collectParameters(params, 'chosen')],
])('parameters %s', (_where, read) => {
  test.each<[string, unknown, string[], boolean]>([
    ['a plugin that chooses models', { plugins: [{ id: 'fusion' }] }, [], true],
    ['the same as text in custom_params', { custom_params: { plugins: '[{"id":"fusion"}]' } }, [], true],
    ['a provider by its name', { provider: 'x' }, [], true],
    ['a tool that chooses models', { tools: [{ type: 'openrouter:fusion' }] }, [], true],
    ['text that only Python reads', { custom_params: { extra: '{"model": "F", "x": NaN}' } }, [], true],
    ['earlier messages', { messages: [{ model: 'F' }] }, [], false],
    ['a preset that is switched on', { preset: true }, [], false],
    ['a preset by its name', { preset: 'cheap' }, [], true],
    ['a model', { model: 'F' }, ['F'], false],
    ['fallbacks', { custom_params: { models: '["F"]' } }, ['F'], false],
  ])('%s', (_name, params, expected, isUnreadable) => {
    const { models: named, unreadable } = read(params);
    expect([[...named], unreadable !== undefined]).toEqual([expected, isUnreadable]);
  });
});

test('options that a preset defines become parameters, and options that a user has chosen name models of the past', () => {
  const options = { fast: { params: { models: '["F"]', model: 'G' } } };
  const params = { model_controls: { speed: { default: 'fast', options } } };
  expect([...collectParameters(params, 'defined').models].sort()).toEqual(['F', 'G']);
  expect([...collectParameters(params, 'chosen').models]).toEqual([]);
});

test('a name that the backend looks up itself differs from one that it sends to a connection', () => {
  const { models: all, routed } = collectReferences({
    model: 'A',
    message_ids: [{ model_id: 'B', message_id: '1' }],
    params: { model: 'C', custom_params: { model: 'D', models: '["E"]' } },
    fallbacks: ['F'],
  });
  expect([...all].sort()).toEqual(['A', 'B', 'C', 'D', 'E', 'F']);
  expect([...routed].sort()).toEqual(['E', 'F']);
});

describe('a request is refused as unreadable that', () => {
  const unreadable: [sentence: string, body: unknown, where: string][] = [
    ['names a model by a number', { model: 5 }, 'model'],
    ['names a model by an empty string', { model: '' }, 'model'],
    ['names a model with a control character', { model: 'A\n' }, 'model'],
    ['names a provider preset, which stands for models of another account', { preset: 'cheap' }, 'preset'],
    ['routes by a provider string', { provider: 'x' }, 'provider'],
    [
      'hides JSON that only Python reads',
      { params: { custom_params: { extra_body: '{"model":"F","x":NaN}' } } },
      'params.custom_params.extra_body',
    ],
    [
      'hides JSON with a repeated key',
      { params: { custom_params: { x: '{"model":"A","model":"F"}' } } },
      'params.custom_params.x',
    ],
  ];
  test.each(unreadable)('%s', (_sentence, body, where) => {
    expect(collectReferences(body).unreadable).toBe(where);
  });
});

test.each([true, 1, 'yes', [0], { a: 1 }])('model_item.direct counts as Python reads it: %j is set', (direct) => {
  expect(collectReferences({ model_item: { direct } }).direct).toBe(true);
});

test.each([false, 0, '', null, [], {}])('model_item.direct counts as Python reads it: %j is not set', (direct) => {
  expect(collectReferences({ model_item: { direct } }).direct).toBe(false);
});

test.each([
  ['model', 'model'],
  ['model', 'id'],
  ['id', 'model'],
  ['models', 'fallbacks'],
])('names nested 190 levels deep under %s and %s are read once each', (outer, inner) => {
  let value: unknown = 'deep';
  for (let level = 0; level < 95; level++) value = { [outer]: { [inner]: value } };
  expect([...collectReferences({ model: value }).models]).toEqual(['deep']);
});
