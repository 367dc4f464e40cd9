import { describe, expect, test } from 'vitest';
import { collectReferences } from '../../../src/enforcement/model-references.ts';

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

describe('a request is refused as unreadable that', () => {
  const unreadable: [sentence: string, body: unknown, where: string][] = [
    ['names a model by a number', { model: 5 }, 'model'],
    ['names a model by an empty string', { model: '' }, 'model'],
    ['names a model with a control character', { model: 'A\n' }, 'model'],
    ['names a provider preset, which stands for models of somebody else', { preset: 'cheap' }, 'preset'],
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
