import { describe, expect, test } from 'vitest';
import { parseModelId } from '../../../../src/policy/grant.ts';
import { askCommand, commandOn } from '../../../support/process/command.ts';
import type { TestDatabase } from '../../../support/database/database.ts';
import { databaseOfTest } from '../../../support/database/opened-store.ts';
import { HOSTILE, expectHarmless } from '../../../support/gate/hostile-values.ts';

const ORG = ['--org', 'acme'];

function models(): TestDatabase {
  const database = databaseOfTest();
  database.addModel({ id: 'openai/gpt-4o', name: 'GPT-4o' });
  database.addModel({ id: 'llama3:latest', name: 'Llama' });
  database.addUser({ id: 'ada' });
  database.addMember('acme', 'ada');
  return database;
}

const { run: model, ask } = commandOn('model');

describe('model allow', () => {
  test('says of each what has become of it', async () => {
    const database = models();
    database.grant('acme', 'llama3:latest', 0);
    const expected = [
      'MODEL          KIND    ORGANIZATION  RESULT',
      'openai/gpt-4o  exact   acme          added',
      'openai/*       prefix  acme          added',
      'llama3:latest  exact   acme          switched on again',
      '',
    ].join('\n');
    const words = ['allow', 'openai/gpt-4o', 'openai/*', 'llama3:latest', ...ORG];
    expect(await model(database, words)).toEqual({ code: 0, stdout: expected, stderr: '' });
  });

  test('says of a pattern that is the id of a model that it allows more than that model', async () => {
    const database = models();
    database.addModel({ id: 'gpt-*' });
    const { code, stderr } = await model(database, ['allow', 'gpt-*', ...ORG]);
    expect(code).toBe(0);
    expect(stderr).toBe(
      'modelgate: "gpt-*": the id of a model, too, and its grant covers every model with this beginning. No grant can name such a model alone.\n',
    );
    expect(
      await askCommand(['explain', '--user', 'ada', '--model', 'gpt-4o', '--database', database.path]),
    ).toMatchObject({ decision: 'permit', reason: 'prefix_grant' });
  });

  test.each([
    ['gpt-4o', 'openai/gpt-4o'],
    ['OpenAI/GPT-4o', 'openai/gpt-4o'],
    ['llama3', 'llama3:latest'],
    ['openai/gpt4o', 'openai/gpt-4o'],
  ])('stores %j, which the file does not know, and asks whether %j was meant', async (typed, meant) => {
    const { code, stderr } = await model(models(), ['allow', typed, ...ORG]);
    expect(code).toBe(0);
    expect(stderr.split('\n')).toEqual([
      expect.stringMatching(/^modelgate: ".*": not in Open WebUI's model table, which is normal for models of a pro/),
      expect.stringMatching(/^ {2}modelgate model sync --from live --dry-run --org acme --database \//),
      `modelgate: Did you mean ${JSON.stringify(meant)} instead of ${JSON.stringify(typed)}?`,
      '',
    ]);
  });

  test('warns once of many that the file does not know, and guesses nothing that is far away', async () => {
    const ids = Array.from({ length: 8 }, (_, index) => `anthropic/claude-${index}`);
    const { stderr } = await model(models(), ['allow', ...ids, 'mistral/*', ...ORG]);
    expect(stderr.trimEnd().split('\n')).toEqual([
      expect.stringMatching(/^modelgate: "anthropic\/claude-0", .* and 3 more: not in/),
      expect.stringMatching(/^ {2}modelgate model sync --from live/),
      expect.stringMatching(/^modelgate: No id in Open WebUI's model table begins like "mistral\/\*"/),
    ]);
  });

  test('says what a * alone does', async () => {
    expect((await model(models(), ['allow', '*', ...ORG])).stderr).toMatch(/^modelgate: "\*" allows every model/);
  });

  test.each<[patterns: string[], said: RegExp]>([
    [
      ['', 'a\nb'],
      /^modelgate: Nothing was allowed\. 2 names are in the way:\n {2}"" can be the id of no model.*\n {2}"a\\nb" holds a space/,
    ],
    [['x'.repeat(1_025)], /can be the id of no model: an id has 1 to 1024 characters/],
    [[`${'x'.repeat(1_025)}*`], /can be the id of no model: an id has 1 to 1024 characters/],
    ...['open*/gpt', '*mini', 'a**', '*/*'].map((id): [string[], RegExp] => [[id], /Only a \* at the very end/]),
  ])('of %j is refused', async (patterns, said) => {
    const database = models();
    expect(await model(database, ['allow', 'openai/gpt-4o', ...patterns, ...ORG])).toMatchObject({
      code: 2,
      stdout: '',
      stderr: expect.stringMatching(said) as string,
    });
    expect(database.sql.prepare('SELECT count(*) FROM organization_models').pluck().get()).toBe(0);
  });
});

const A_LIST = 'looks like a list, and an id is never split';

describe('model allow of an id that looks like a mistake', () => {
  test.each([
    ['gpt-4o-mini ', 'ends in a space', ['gpt-4o-mini']],
    ['\u00a0gpt-4o', 'begins with a space', ['gpt-4o']],
    ['openai/gpt-4o,openai/gpt-5', A_LIST, ['openai/gpt-4o', 'openai/gpt-5']],
    ['openai/gpt-4o llama3:latest', A_LIST, ['openai/gpt-4o', 'llama3:latest']],
    ['a, b;c', A_LIST, ['a', 'b', 'c']],
    ['gpt-4o,', A_LIST, ['gpt-4o']],
    ['"gpt-4o"', 'stands between quotes', ['gpt-4o']],
    ['\u2018gpt-4o\u2019', 'stands between quotes', ['gpt-4o']],
    ["'gpt-4o", 'has a quote at one end', ['gpt-4o']],
    ['"a, b"', 'stands between quotes', ['a', 'b']],
    ['mistral/ *', 'has a space before its *', ["'mistral/*'"]],
    ['mistral/\\*', 'has a backslash before its *', ["'mistral/*'"]],
    ['openai/.*', 'ends in .*, where only the * stands for anything', ["'openai/*'"]],
    ['openai/', 'ends in a slash', ["'openai/*'"]],
    ['openai%2Fgpt-4o', 'is percent-encoded', ['openai/gpt-4o']],
    ['\ufeffgpt\u200b-4o', 'holds a character that cannot be seen', ['gpt-4o']],
    ['https://openrouter.ai/openai/gpt-4o', 'is an address', []],
    ['  ', 'is nothing but space', []],
  ])('%j is refused with the command that would be right', async (typed, found, right) => {
    const database = models();
    const { code, stdout, stderr } = await model(database, ['allow', 'openai/gpt-4o', typed, ...ORG]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain(`${found}. Nothing was allowed.`);
    const commands = stderr.split('\n').filter((line) => line.startsWith('  '));
    const ids = [...new Set(['openai/gpt-4o', ...right])].join(' ');
    const meant = right.length === 0 ? [] : [`  modelgate model allow ${ids} --org acme --database ${database.path}`];
    expect(commands.slice(0, -1)).toEqual(meant);
    expect(commands.at(-1)).toMatch(/ --org acme --as-is --database \//);
    expect(stderr.includes('What was meant:\n')).toBe(right.length > 0);
    expect(database.sql.prepare('SELECT count(*) FROM organization_models').pluck().get()).toBe(0);
  });

  test('is no mistake in any of these', async () => {
    const ids = [
      ...['openai/gpt-4o:free', 'hf.co/bartowski/Llama-3:Q4_K_M', 'mistral/*', '*', 'eu.*', 'my model', 'gpt-4o gpt-6'],
      ...[
        'Llama 3, tuned',
        'm@x#1',
        '(x)',
        '\u6f22\u5b57\ud83e\udd8a',
        '@preset/x',
        '..',
        'accounts/a/models/b',
        "o'hara",
      ],
    ];
    expect(await model(models(), ['allow', ...ids, ...ORG])).toMatchObject({ code: 0 });
  });

  test('is kept with --as-is, and where the backend has a model of that id', async () => {
    const database = models();
    database.addModel({ id: 'odd ' });
    expect((await model(database, ['allow', 'odd ', ...ORG])).code).toBe(0);
    expect((await model(database, ['allow', 'gpt-4o-mini ', '--as-is', ...ORG])).code).toBe(0);
    const { stdout } = await model(database, ['list', ...ORG]);
    expect(stdout).toContain('"gpt-4o-mini "  exact');
  });

  test.each([
    ['a\u0007', 'a'],
    ['gpt-4o\n', 'gpt-4o'],
  ])('%j is not advised --as-is, which would not help', async (typed, meant) => {
    const { code, stderr } = await model(models(), ['allow', typed, ...ORG]);
    expect(code).toBe(2);
    expect(stderr).toContain(`model allow ${meant} --org acme`);
    expect(stderr).not.toContain('--as-is');
  });
});

describe('model deny', () => {
  test('warns of what still allows the model', async () => {
    const database = models();
    for (const pattern of ['openai/gpt-4o', 'openai/*', '*']) database.grant('acme', pattern);
    expect(await model(database, ['deny', 'openai/gpt-4o', ...ORG])).toEqual({
      code: 0,
      stdout: 'MODEL          ORGANIZATION  RESULT\nopenai/gpt-4o  acme          switched off\n',
      stderr: 'modelgate: "openai/gpt-4o" is still allowed by "*", "openai/*".\n',
    });
    expect((await model(database, ['deny', '*', ...ORG])).stderr).toBe(
      'modelgate: Of what "*" covered, some is still allowed by "openai/*".\n',
    );
  });

  test('of what is no grant fails, and changes nothing', async () => {
    const database = models();
    database.grant('acme', 'openai/*');
    expect(await model(database, ['deny', 'openai/*', 'openai/gpt-4o', ...ORG])).toEqual({
      code: 1,
      stdout: '',
      stderr:
        'modelgate: "acme" has no grant "openai/gpt-4o": "openai/*" covers it, and no single model can be taken out of that. Nothing was denied. Its grants:\n' +
        `  modelgate model list --org acme --database ${database.path}\n`,
    });
    expect(database.sql.prepare('SELECT is_active FROM organization_models').pluck().get()).toBe(1);
  });

  test('--purge of the last grant says that the next start links all models', async () => {
    const database = models();
    database.grant('acme', 'openai/*');
    const configured = { OPENROUTER_EXTERNAL_USER: 'acme', ORGANIZATION_NAME: 'Acme' };
    expect((await model(database, ['deny', 'openai/*', '--purge'], configured)).stderr).toBe(
      'modelgate: No grant is left: the next start of the gate links all models of the backend again.\n',
    );
  });
});

test('model list shows what is granted, and what of it counts', async () => {
  const database = models();
  for (const pattern of ['openai/gpt-4o', 'openai/*', 'of-a-provider']) database.grant('acme', pattern);
  database.grant('acme', 'llama3:latest', 0);
  database.grant('acme', 'line\nbreak', null);
  const { code, stdout, stderr } = await model(database, ['list', ...ORG]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(stdout).toBe(
    [
      'MODEL          KIND    NAME    ACTIVE  IN TABLE  DOES NOT COUNT',
      '"line\\nbreak"  exact   -       yes     no        can match no model',
      'llama3:latest  exact   Llama   no      yes       switched off',
      'of-a-provider  exact   -       yes     no',
      'openai/*       prefix  -       yes     1 model',
      'openai/gpt-4o  exact   GPT-4o  yes     yes',
      '',
    ].join('\n'),
  );
});

describe('hostile values', () => {
  test.each(Object.entries(HOSTILE))('%s are stored exactly, or refused, and shown harmlessly', async (_, value) => {
    const database = models();
    database.addModel({ id: value, name: value });
    // no new organization gets such an id, and one that is there is used as it is
    database.addMember(value, 'ada');
    const isId = parseModelId(value) !== undefined;
    const allowed = await model(database, ['allow', value, '--org', value]);
    expect(allowed.code).toBe(isId ? 0 : 2);
    // what the gate would never match can still have been written by a hand
    if (!isId) database.grant(value, value);
    const shown = [
      allowed,
      await model(database, ['list', '--org', value]),
      await model(database, ['deny', `${value}?`, '--org', value]),
      await model(database, ['deny', value, '--org', value]),
      await model(database, ['allow', `${value}*`, '--org', value, '--as-is']),
    ];
    for (const one of shown) expectHarmless(one);
    expect(shown.slice(1, 4).map(({ code }) => code)).toEqual([0, 1, 0]);
    expect(
      database.sql
        .prepare('SELECT id, organization_id, model_id, is_active FROM organization_models WHERE model_id = ?')
        .get(value),
    ).toEqual({
      id: `orgmod_${value}_${value}`,
      organization_id: value,
      model_id: value,
      is_active: 0,
    });
    const { models: rows } = await ask<{ models: { pattern: string; name: string }[] }>(database, [
      'list',
      '--org',
      value,
    ]);
    expect(rows[0]).toMatchObject({ pattern: value, name: value });
  });
});
