import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { createPriceBook } from '../../../../src/usage/price-book.ts';
import { databaseOfTest } from '../../../support/database/opened-store.ts';
import { ledgerOfTest } from '../../../support/database/ledger.ts';
import { askCommand, runCommand } from '../../../support/process/command.ts';
import { HOSTILE, expectHarmless } from '../../../support/gate/hostile-values.ts';

type Ledger = ReturnType<typeof ledgerOfTest>;

const price = ({ path }: Pick<Ledger, 'path'>, ...words: readonly string[]) =>
  runCommand(['price', ...words, '--usage-database', path]);
const ask = <T>({ path }: Ledger, ...words: readonly string[]) =>
  askCommand<T>(['price', ...words, '--usage-database', path]);

const MINI = ['set', 'api.openai.com', 'gpt-4o-mini', '--input', '0.15', '--cached', '0.075', '--output', '0.60'];

describe('price set', () => {
  test('sets a price by the million tokens, which the ledger finds', async () => {
    const ledger = ledgerOfTest();
    expect(await price(ledger, ...MINI)).toEqual({
      code: 0,
      stdout: 'PROVIDER        MODEL        RESULT\napi.openai.com  gpt-4o-mini  set\n',
      stderr: '',
    });
    const found = createPriceBook(ledger.connection).find('api.openai.com', 'gpt-4o-mini', Date.now());
    expect(found?.price).toEqual({ input: 1.5e-7, cached: 7.5e-8, output: 6e-7, free: false });
  });

  test.each([
    [['--per', 'thousand', '--input', '0.00015']],
    [['--per', 'token', '--input', '0.00000015']],
    [['--per', 'token', '--input', '1.5e-7']],
    [['--per', 'million', '--input', '.15']],
  ])('takes %j as the same price', async (words) => {
    const ledger = ledgerOfTest();
    await price(ledger, 'set', 'x', 'm', ...words);
    expect(createPriceBook(ledger.connection).find('x', 'm', Date.now())?.price.input).toBe(1.5e-7);
  });

  test('says that no provider has this host, and which one was meant', async () => {
    const environment = {
      MODELGATE_PROVIDER_PORT: '8081',
      MODELGATE_PROVIDERS: 'https://api.openai.com/v1 http://ollama:11434',
    };
    const set = async (host: string) => {
      const words = ['price', 'set', host, 'm', '--free', '--usage-database', ledgerOfTest().path];
      return (await runCommand(words, { environment })).stderr;
    };
    expect(await set('api.openai.com')).toBe('');
    expect(await set('api.openai.co')).toBe(
      'modelgate: "api.openai.co" is the host of none of MODELGATE_PROVIDERS: no call has this price now. Did you mean "api.openai.com"?\n',
    );
    expect(await set('example.org')).toContain('They are "api.openai.com", "ollama:11434".');
  });

  test('says whether the price was another before', async () => {
    const ledger = ledgerOfTest();
    const set = async (input: string) =>
      (await ask<{ outcome: string }>(ledger, 'set', 'x', 'm', '--input', input)).outcome;
    expect([await set('1'), await set('1.0'), await set('2')]).toEqual(['new', 'same', 'changed']);
  });

  test('keeps the cost of a request as it is typed, whatever the unit of tokens', async () => {
    const ledger = ledgerOfTest();
    await price(ledger, 'set', 'x', 'm', '--request', '0.01', '--per', 'million');
    expect(createPriceBook(ledger.connection).find('x', 'm', Date.now())?.price).toEqual({
      request: 0.01,
      free: false,
    });
  });

  test('makes a ledger that is not there, for this user alone', async () => {
    const path = join(ledgerOfTest().directory, 'new.db');
    expect(await price({ path }, ...MINI)).toMatchObject({
      code: 0,
      stderr: `modelgate: There was no ledger at ${path}: made a new one.\n`,
    });
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  test.each<[words: string, said: string]>([
    [
      '--input 0.15 --per token',
      '--input was understood as 0.15 USD a token, which is 150000.00 USD a million tokens: no model costs that. Was it meant --per million? Nothing was changed.',
    ],
    [
      '--input 1 --output 0.00000015',
      '--output was understood as 0.00000000000015 USD a token, which is 0.00000015 USD a million tokens: no model costs that. Was it meant --per token? Nothing was changed.',
    ],
    ['--input -1', '--input "-1": a price is 0 or more.'],
    ['--input 0,15', '--input "0,15": a decimal point is expected, as in 0.15.'],
    ['--output 1e999', '--output "1e999": expected a price in USD, such as 0.15.'],
    ['--request $1', '--request "$1": expected a price in USD, such as 0.15.'],
    ['--input 1 --per kilo', '--per "kilo": expected one of million, thousand, token.'],
    [
      '--input 1 --from 2026-02-30',
      '--from "2026-02-30": expected a date in UTC, such as 2026-12-01 or 2026-12-01T09:30Z.',
    ],
    [
      '--input 1 --from tomorrow',
      '--from "tomorrow": expected a date in UTC, such as 2026-12-01 or 2026-12-01T09:30Z.',
    ],
    ['--free --input 1', 'Either --free or --input, not both.'],
    ['--cached 1', 'What does it cost? Give --input and --output, or --request, or --free.'],
    ['--cached 1 --output 1', '--cached and --cache-write are parts of the input. Give --input too.'],
  ])('refuses %s', async (words, said) => {
    const ledger = ledgerOfTest();
    const refused = await price(ledger, 'set', 'x', 'm', ...words.split(' '));
    expect(refused).toEqual({ code: 2, stdout: '', stderr: `modelgate: ${said}\n` });
    expect((await ask<{ prices: unknown[] }>(ledger, 'list')).prices).toEqual([]);
  });

  test.each([
    [
      'https://openrouter.ai/api/v1',
      'm',
      '<provider> "https://openrouter.ai/api/v1": expected the host of a provider: openrouter.ai.',
    ],
    ['ollama:80', 'm', '<provider> "ollama:80": expected the host of a provider: ollama.'],
    ['a b', 'm', '<provider> "a b": expected the host of a provider, such as openrouter.ai.'],
    ['x', 'a*b', '<model> "a*b": only a * at the very end stands for anything.'],
    ['x', '', '<model> "": it can be the id of no model.'],
  ])('refuses the provider %j with the model %j', async (provider, model, said) => {
    const { code, stderr } = await price(ledgerOfTest(), 'set', provider, model, '--free');
    expect({ code, stderr }).toEqual({ code: 2, stderr: `modelgate: ${said}\n` });
  });

  test('takes a host in any letter case, as the address rule does', async () => {
    const ledger = ledgerOfTest();
    await price(ledger, 'set', 'OpenRouter.AI', 'm', '--free');
    expect(createPriceBook(ledger.connection).find('openrouter.ai', 'm', Date.now())?.price.free).toBe(true);
  });

  test("leaves the backend's file as it is", async () => {
    const { path } = databaseOfTest({ era: '0.6.18' });
    const before = readFileSync(path);
    expect(await price({ path }, ...MINI)).toEqual({
      code: 1,
      stdout: '',
      stderr: `modelgate: ${path} is no ledger of modelgate: it has no table usage_request. Nothing was changed. Name the usage.db of modelgate with --usage-database.\n`,
    });
    expect(readFileSync(path).equals(before)).toBe(true);
    expect(existsSync(`${path}-wal`)).toBe(false);
  });

  test('waits for a lock, and says so', async () => {
    const { path, connection } = ledgerOfTest();
    connection.exec('BEGIN IMMEDIATE');
    const onError = (): void => void (connection.inTransaction && connection.exec('COMMIT'));
    const { code, stderr } = await runCommand(['price', ...MINI, '--usage-database', path], { onError });
    expect({ code, stderr }).toEqual({
      code: 0,
      stderr: `modelgate: Another process holds the lock of ${path}: waiting for it.\n`,
    });
  });
});

describe('price list', () => {
  test('has what holds and what is to come, in USD by the million', async () => {
    const ledger = ledgerOfTest();
    for (const words of [MINI, ['set', 'ollama:11434', '*', '--free']])
      await price(ledger, ...words, '--from', '2026-01-01');
    await price(ledger, ...MINI.slice(0, 3), '--input', '0.1', '--output', '0.4', '--from', '2999-01-01');
    expect((await price(ledger, 'list')).stdout).toBe(
      [
        'PROVIDER        MODEL        INPUT  CACHED  OUTPUT  SOURCE    FROM',
        'api.openai.com  gpt-4o-mini  0.15    0.075    0.60  operator  2026-01-01',
        'api.openai.com  gpt-4o-mini  0.10        -    0.40  operator  2999-01-01',
        'ollama:11434    *            free        -       -  operator  2026-01-01',
        '',
        'In USD by the million tokens, a request in USD.',
        '',
      ].join('\n'),
    );
  });

  test('of an empty ledger says how a price is set', async () => {
    expect((await price(ledgerOfTest(), 'list')).stderr).toMatch(/^modelgate: There is no such price\. To set one:\n/);
  });

  test('names the ledger that it does not find, and makes none', async () => {
    const path = join(ledgerOfTest().directory, 'absent.db');
    for (const words of [['list'], ['remove', 'x', 'm']]) {
      expect(await price({ path }, ...words)).toEqual({
        code: 2,
        stdout: '',
        stderr: `modelgate: There is no ledger at ${path}. The gate makes it when it starts with a provider door. Nothing was changed. Name the usage.db of modelgate with --usage-database.\n`,
      });
    }
    expect(existsSync(path)).toBe(false);
    expect(await runCommand(['price', 'list'])).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/^modelgate: Which ledger\?/) as string,
    });
  });

  test('cannot be steered by what a list has taught', async () => {
    const ledger = ledgerOfTest();
    const models = Object.values(HOSTILE).map((model) => ({ model, price: { free: true } }));
    createPriceBook(ledger.connection).learn('x', models, 1);
    const listed = await price(ledger, 'list');
    expect(listed.stdout.split('\n').length).toBe(models.length + 4);
    expectHarmless(listed);
  });
});

describe('price remove', () => {
  test('ends a price, and what the list has holds again', async () => {
    const ledger = ledgerOfTest();
    const book = createPriceBook(ledger.connection);
    book.learn('api.openai.com', [{ model: 'gpt-4o-mini', price: { input: 1, free: false } }], 1);
    await price(ledger, ...MINI);
    const removed = await price(ledger, 'remove', 'api.openai.com', 'gpt-4o-mini');
    expect(removed).toMatchObject({ code: 0, stdout: expect.stringContaining('ended') as string });
    expect(book.find('api.openai.com', 'gpt-4o-mini', Date.now() + 1)?.price.input).toBe(1);
  });

  test('of what was never set asks what was meant', async () => {
    const ledger = ledgerOfTest();
    await price(ledger, ...MINI);
    expect(await price(ledger, 'remove', 'api.openai.com', 'gpt4o-mini')).toEqual({
      code: 1,
      stdout: '',
      stderr:
        'modelgate: No price was set for "gpt4o-mini" of "api.openai.com". Nothing was changed. Did you mean "gpt-4o-mini"?\n',
    });
  });
});

describe('price import', () => {
  const LITELLM = {
    'gpt-4o': {
      litellm_provider: 'openai',
      input_cost_per_token: 2.5e-6,
      output_cost_per_token: 1e-5,
      max_input_tokens: 9,
    },
    'gemini/free': { litellm_provider: 'gemini', input_cost_per_token: 0, output_cost_per_token: 0 },
    'anthropic.claude': { litellm_provider: 'bedrock', input_cost_per_token: 1e-6, output_cost_per_token: 1e-6 },
  };
  const written = ({ directory }: Ledger, content: unknown): string => {
    const file = join(directory, 'prices.json');
    writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content));
    return file;
  };

  test('says what was read, new, changed and left out', async () => {
    const ledger = ledgerOfTest();
    const first = await price(ledger, 'import', written(ledger, LITELLM));
    expect(first).toEqual({
      code: 0,
      stdout: [
        'read      3 models, as LiteLLM has them',
        'prices    1 new, 0 changed, 0 as they were',
        'left out  1 with nothing but zeros, which may be a subscription, or not known',
        '          1 of providers whose address is not known here',
        '',
      ].join('\n'),
      stderr: '',
    });
    const cheaper = { ...LITELLM, 'gpt-4o': { ...LITELLM['gpt-4o'], input_cost_per_token: 2e-6 } };
    const second = await ask<Record<string, unknown>>(ledger, 'import', written(ledger, cheaper));
    expect(second).toMatchObject({ new: 0, changed: 1, same: 0, skipped: { zero: 1, unknown_provider: 1 } });
    const book = createPriceBook(ledger.connection);
    expect(book.find('api.openai.com', 'gpt-4o', Date.now())?.price.input).toBe(2e-6);
    expect(book.limitsOf('api.openai.com', 'gpt-4o').context).toBe(9);
  });

  test('knows models.dev by its shape', async () => {
    const ledger = ledgerOfTest();
    const file = written(ledger, { mistral: { models: { small: { cost: { input: 0.1, output: 0.3 } } } } });
    expect(await ask(ledger, 'import', file)).toMatchObject({ format: 'models.dev', read: 1, new: 1 });
    const found = createPriceBook(ledger.connection).find('api.mistral.ai', 'small', Date.now());
    expect(found?.price).toEqual({ input: 1e-7, output: 3e-7, free: false });
  });

  test("takes OpenRouter's list as a file, for OpenRouter alone", async () => {
    const ledger = ledgerOfTest();
    const pricing = { prompt: '0.0000025', completion: '0.00001' };
    const file = written(ledger, {
      data: [
        { id: 'openai/gpt-4o', pricing },
        { id: 'old', context_length: 4096 },
      ],
    });
    expect(await ask(ledger, 'import', file)).toMatchObject({
      ...{ format: 'openrouter', read: 2, new: 1 },
      skipped: { no_price: 1 },
    });
    const book = createPriceBook(ledger.connection);
    const hosts = ['openrouter.ai', 'api.openai.com'];
    const found = hosts.map((host) => book.find(host, 'openai/gpt-4o', Date.now())?.price.output);
    expect(found).toEqual([1e-5, undefined]);
  });

  test('takes all of a file that is longer than one statement', async () => {
    const ledger = ledgerOfTest();
    const many = Object.fromEntries(Array.from({ length: 2_500 }, (_, index) => [`m${index}`, LITELLM['gpt-4o']]));
    const file = written(ledger, many);
    expect(await ask(ledger, 'import', file)).toMatchObject({ new: 2_500, changed: 0, same: 0 });
    expect(await ask(ledger, 'import', file)).toMatchObject({ new: 0, changed: 0, same: 2_500 });
    expect(ledger.connection.prepare('SELECT count(DISTINCT model) FROM usage_price').pluck().get()).toBe(2_500);
  });

  test('takes nothing after Ctrl-C while it waits for the lock', async () => {
    const ledger = ledgerOfTest();
    const stop = new AbortController();
    const words = ['price', 'import', written(ledger, LITELLM), '--usage-database', ledger.path];
    ledger.connection.exec('BEGIN IMMEDIATE');
    const result = await runCommand(words, { stop: stop.signal, onError: () => stop.abort() });
    ledger.connection.exec('ROLLBACK');
    expect(result.code).toBe(130);
    expect(ledger.connection.prepare('SELECT count(*) FROM usage_price').pluck().get()).toBe(0);
  });

  test.each<[what: string, content: unknown, said: string]>([
    ['no JSON', '{"a', 'is no JSON.'],
    ['something else', { data: [{ id: 'm' }] }, 'holds no prices in a known form.'],
  ])('refuses %s', async (_, content, said) => {
    const ledger = ledgerOfTest();
    const file = written(ledger, content);
    expect((await price(ledger, 'import', file)).stderr).toBe(
      `modelgate: ${file} ${said} Nothing was changed. Expected is LiteLLM's model_prices_and_context_window.json, the api.json of models.dev, or the answer of OpenRouter's /models.\n`,
    );
  });

  test('names a folder in the place of a file', async () => {
    const ledger = ledgerOfTest();
    const folder = dirname(ledger.path);
    const stderr = `modelgate: ${folder} is a folder (EISDIR). Nothing was changed. Name a file in it.\n`;
    expect(await price(ledger, 'import', folder)).toEqual({ code: 2, stdout: '', stderr });
  });

  test('names a file that is not there', async () => {
    expect(await price(ledgerOfTest(), 'import', '/absent.json')).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/^modelgate: \/absent\.json is not there \(ENOENT\)/) as string,
    });
  });
});
