import { describe, expect, test } from 'vitest';
import { doubtOf } from '../../../src/organizations/known-models.ts';

describe('an id that looks like a mistake', () => {
  test.each([
    ['gpt-4o-mini ', ['gpt-4o-mini']],
    ['\u00a0gpt-4o', ['gpt-4o']],
    ['gpt-4o\n', ['gpt-4o']],
    ['a,b', ['a', 'b']],
    ['a, b;c', ['a', 'b', 'c']],
    ['gpt-4o,', ['gpt-4o']],
    ['"gpt-4o"', ['gpt-4o']],
    ['\u2018gpt-4o\u2019', ['gpt-4o']],
    ["'gpt-4o", ['gpt-4o']],
    ['"a, b"', ['a', 'b']],
    ['mistral/ *', ['mistral/*']],
    ['mistral/\\*', ['mistral/*']],
    ['openai/.*', ['openai/*']],
    ['openai/', ['openai/*']],
    ['openai%2Fgpt-4o', ['openai/gpt-4o']],
    ['\ufeffgpt\u200b-4o', ['gpt-4o']],
    ['https://openrouter.ai/openai/gpt-4o', []],
    ['  ', []],
  ])('%j is answered with %j', (typed, meant) => expect(doubtOf(typed)?.meant).toEqual(meant));

  test('is none where there is such a model, and a list where each part is one', () => {
    const known = new Set(['odd ', 'gpt-4o', 'gpt-5']);
    expect(doubtOf('odd ', known)).toBeUndefined();
    expect(doubtOf('gpt-4o gpt-5', known)?.meant).toEqual(['gpt-4o', 'gpt-5']);
    expect(doubtOf('gpt-4o gpt-6', known)).toBeUndefined();
  });

  test.each([
    ...['openai/gpt-4o:free', 'hf.co/bartowski/Llama-3:Q4_K_M', 'mistral/*', '*', 'eu.*', 'my model', 'Llama 3, tuned'],
    ...['m@x#1', '(x)', '\u6f22\u5b57\ud83e\udd8a', '@preset/x', '..', 'accounts/a/models/b', "o'hara"],
  ])('%j is an id', (id) => expect(doubtOf(id)).toBeUndefined());
});
