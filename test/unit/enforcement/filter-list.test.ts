import { describe, expect, test } from 'vitest';
import { type ListShape, filterList, indexList } from '../../../src/enforcement/list.ts';
import { SHAPES } from '../../../src/openwebui/lists.ts';

const only =
  (...ids: string[]) =>
  (id: string) =>
    ids.includes(id);

function filtered(text: string, shape: ListShape, permits: (id: string) => boolean): string {
  const body = Buffer.from(text);
  return filterList(body, indexList(body, shape), permits).body.toString();
}

describe('a list loses what its reader may not use, and nothing else', () => {
  const data = (...entries: string[]) => `{"object":"list","data":[${entries.join(',')}],"x":1.0}`;
  const [a, b, c] = ['A', 'B', 'C'].map((id) => `{"id":"${id}","created":12345678901234567890,"n":1.50}`) as [
    string,
    string,
    string,
  ];

  test.each([
    ['nothing', only('A', 'B', 'C'), data(a, b, c)],
    ['the first', only('B', 'C'), data(b, c)],
    ['the middle', only('A', 'C'), data(a, c)],
    ['the last', only('A', 'B'), data(a, b)],
    ['all', only(), data()],
    ['all but one', only('B'), data(b)],
  ])('%s removed', (_sentence, permits, expected) => {
    expect(filtered(data(a, b, c), SHAPES.models, permits)).toBe(expected);
  });

  test('every second one of very many', () => {
    const ids = Array.from({ length: 150_000 }, (_, number) => `{"id":"${number}"}`);
    const kept = ids.filter((_, number) => number % 2 === 0);
    const isEven = (id: string) => Number(id) % 2 === 0;
    expect(filtered(data(ids.join(',')), SHAPES.models, isEven)).toBe(data(kept.join(',')));
  });

  test('with white space between the entries', () => {
    expect(filtered('{ "data" : [ {"id":"A"} , {"id":"B"} ] }', SHAPES.models, only('B'))).toBe(
      '{ "data" : [{"id":"B"}] }',
    );
  });
  test('with ids that are escaped or not ASCII', () => {
    expect(filtered('{"data":[{"id":"\\u0041é"},{"id":"日本"}]}', SHAPES.models, only('Aé'))).toBe(
      '{"data":[{"id":"\\u0041é"}]}',
    );
  });
  test('with entries that are plain strings', () => {
    expect(filtered('{"model_ids":["A","B"]}', SHAPES.usage, only('B'))).toBe('{"model_ids":["B"]}');
  });
  test('with entries that name no readable id', () => {
    expect(filtered('{"data":[{"name":"A"},{"id":5},{"id":null},5,null,[]]}', SHAPES.models, () => true)).toBe(
      '{"data":[]}',
    );
  });
  test('with an id that stands there twice: both must be permitted', () => {
    expect(filtered('{"data":[{"id":"A","id":"B"}]}', SHAPES.models, only('A'))).toBe('{"data":[]}');
  });
  test('with two lists under a repeated key', () => {
    expect(filtered('{"data":[{"id":"B"}],"data":[{"id":"B"}]}', SHAPES.models, only('A'))).toBe(
      '{"data":[],"data":[]}',
    );
  });
  test('with the total of all pages', () => {
    expect(filtered('{"items":[{"id":"A"},{"id":"B"}],"total":41}', SHAPES.modelPage, only('A'))).toBe(
      '{"items":[{"id":"A"}],"total":40}',
    );
  });
  test('with nested ids that their reader may not use', () => {
    const entry = '{"id":"P","info":{"base_model_id":"B","meta":{"model_ids":["A","B"]}}}';
    expect(filtered(`{"data":[${entry}]}`, SHAPES.models, only('P', 'A'))).toBe(
      '{"data":[{"id":"P","info":{"base_model_id":null,"meta":{"model_ids":["A"]}}}]}',
    );
  });
  test('with entries of which only some are models', () => {
    const rows = ['{"id":"f","type":"filter"}', '{"id":"p","type":"pipe"}', '{"type":"pipe","id":"q"}'];
    expect(filtered(`[${rows.join(',')}]`, SHAPES.functions, only('q'))).toBe(`[${rows[0]},${rows[2]}]`);
  });
  test('with names of models in rows that are no models', () => {
    const group = (names: string) => `[{"id":"g","data":{"config":{"default_models":[${names}]}}}]`;
    expect(filtered(group('"A","B"'), SHAPES.groups, only('B'))).toBe(group('"B"'));
  });
  test('with ids in one string', () => {
    const config = '{"default_models":"A,B,C","default_pinned_models":"","name":"A,B"}';
    expect(filtered(config, SHAPES.config, only('A', 'C'))).toBe(
      '{"default_models":"A,C","default_pinned_models":"","name":"A,B"}',
    );
  });
  test('with model names outside of any list', () => {
    expect(filtered('{"TASK_MODEL":"A","TASK_MODEL_EXTERNAL":"B"}', SHAPES.taskConfig, only('A'))).toBe(
      '{"TASK_MODEL":"A","TASK_MODEL_EXTERNAL":null}',
    );
  });
  test('with brackets and quotes inside strings', () => {
    const entry = '{"name":"]}\\"[{\\\\","id":"A","tags":["[",{"a":"]"}]}';
    expect(filtered(`[${entry},{"id":"B"}]`, SHAPES.modelRows, only('A'))).toBe(`[${entry}]`);
  });
});

describe('an answer is unreadable that', () => {
  test.each([
    ['is no JSON', '<html>', SHAPES.models],
    ['is cut', '{"data":[{"id":"A"}', SHAPES.models],
    ['is a string', '"A"', SHAPES.models],
    ['holds no list', '{"detail":"x"}', SHAPES.models],
    ['has an object where the list should be', '{"data":{"A":{}}}', SHAPES.models],
  ])('%s', (_sentence, text, shape) => {
    expect(() => indexList(Buffer.from(text), shape)).toThrow();
  });
});
