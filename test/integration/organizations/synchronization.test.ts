/** Catalogues of the file, and what becomes of the grants of an organization. */
import { copyFileSync } from 'node:fs';
import Database from 'better-sqlite3';
import { describe, expect, test } from 'vitest';
import {
  type Catalogue,
  type SyncPlan,
  type SyncRequest,
  applySync,
  fromTable,
  planSync,
} from '../../../src/organizations/catalogue.ts';
import { fromConfig } from '../../../src/organizations/provider-catalogue.ts';
import { readSchema } from '../../../src/store/schema.ts';
import { ERAS, type DatabaseOptions, type Era, type TestDatabase } from '../../support/database/database.ts';
import { databaseOfTest } from '../../support/database/opened-store.ts';
import { GUIDE_LINK_MODELS } from '../../support/database/guide-sql.ts';
import { createMaiTables } from '../../support/database/mai-tables.ts';
import { operationOf } from '../../support/database/operation.ts';
import { policyPlaceOf } from '../../support/database/policy-place.ts';

function created(options: DatabaseOptions = {}): TestDatabase {
  const database = databaseOfTest(options);
  return database;
}

/** As the backend of this era stores its settings. */
function configure({ era, run }: TestDatabase, settings: Record<string, unknown>): void {
  if (era === '0.12.4') {
    for (const [key, value] of Object.entries(settings)) {
      run('INSERT INTO config ("key", value, updated_at) VALUES (?, ?, 1)', key, JSON.stringify(value));
    }
    return;
  }
  const document: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(settings)) {
    const parts = key.split('.');
    const last = parts.pop() ?? '';
    let place = document;
    for (const part of parts) place = (place[part] ??= {}) as Record<string, unknown>;
    place[last] = value;
  }
  run('INSERT INTO config (data, version) VALUES (?, 0)', JSON.stringify(document));
}

async function catalogueOf(
  database: TestDatabase,
  read: typeof fromTable,
  { presets = false, ...wishes }: { presets?: boolean; organization?: string } = {},
): Promise<Catalogue> {
  await policyPlaceOf(database);
  const { connection } = database;
  return read({ connection, schema: readSchema(connection), presets, ...wishes });
}

const leftOut = ({ leftOut: map }: Catalogue): Record<string, string> =>
  Object.fromEntries([...map].map(([id, { why }]) => [id, why]));

describe.each(ERAS)('the catalogue of the model table of %s', (era) => {
  test('has the rows without a base, and says what it leaves out', async () => {
    const database = created({ era });
    for (const id of ['a', 'vendor/b:free', 'off', 'arena-model', 'arena-2', 'star*', 'new\nline']) {
      database.addModel({ id, active: id === 'off' ? 0 : 1 });
    }
    database.addModel({ id: 'preset', base: 'a' });
    database.addModel({ id: 'preset-off', base: 'a', active: 0 });
    // mAI writes its own models like this
    database.addModel({ id: 'openai/gpt-4o', base: 'openai/gpt-4o' });
    configure(database, { 'evaluation.arena.models': [{ id: 'arena-2', name: 'Arena' }] });
    const found = await catalogueOf(database, fromTable);
    expect(found.models).toEqual(['a', 'openai/gpt-4o', 'vendor/b:free']);
    expect(leftOut(found)).toEqual({
      off: 'switched_off',
      'arena-model': 'arena',
      'arena-2': 'arena',
      'star*': 'unusable',
      'new\nline': 'unusable',
      preset: 'presets',
      'preset-off': 'presets',
    });
    const withPresets = await catalogueOf(database, fromTable, { presets: true });
    expect(withPresets.models).toEqual(['a', 'openai/gpt-4o', 'preset', 'vendor/b:free']);
    expect(leftOut(withPresets)).toMatchObject({ 'preset-off': 'switched_off' });
  });
});

describe.each(ERAS)('what a user owns, on %s,', (era) => {
  const GONE = '3f2b8c1e-9a4d-4c7b-8e5f-0123456789ab';

  function owned(): TestDatabase {
    const database = created({ era });
    database.addUser({ id: 'root', role: 'admin' });
    database.addUser({ id: 'ann' });
    for (const [id, owner] of [
      ['of root', 'root'],
      ['of ann', 'ann'],
      ['of unknown user', GONE],
      ['all*', 'ann'],
    ] as const) {
      database.addModel({ id, owner });
      database.addModel({ id: `preset ${id}`, base: 'of root', owner });
    }
    return database;
  }

  test('is left out of the table, with its owner, and presets as well', async () => {
    const database = owned();
    expect((await catalogueOf(database, fromTable)).models).toEqual(['of root']);
    const { models, ...found } = await catalogueOf(database, fromTable, { presets: true });
    expect(models).toEqual(['of root', 'preset of root']);
    expect(leftOut({ models, ...found })).toEqual({
      'of ann': 'of_users',
      'preset of ann': 'of_users',
      'of unknown user': 'of_users',
      'preset of unknown user': 'of_users',
      // no report may advise to allow it: that would allow all that begins like it
      'all*': 'unusable',
      'preset all*': 'unusable',
    });
    expect(found.leftOut.get('of ann')?.owner).toEqual({ user: { id: 'ann', email: 'ann@example.org' } });
    expect(found.leftOut.get('preset of unknown user')?.owner).toEqual({ user: { id: GONE, email: null } });
  });

  test('is left out of the configuration, whose own models have no owner', async () => {
    const database = owned();
    configure(database, {
      'openai.api_base_urls': ['https://one.example/v1'],
      'openai.api_configs': { '0': { model_ids: ['of ann'] } },
      'ollama.enable': false,
    });
    const { models, ...found } = await catalogueOf(database, fromConfig, { presets: true });
    expect(models).toEqual(['of ann', 'preset of root']);
    expect([...found.leftOut].flatMap(([id, { owner }]) => (owner === undefined ? [] : [id])).toSorted()).toEqual([
      'preset all*',
      'preset of ann',
      'preset of unknown user',
    ]);
  });

  test('is a private preset that another organization was granted, until it is named', async () => {
    const database = created({ era });
    database.addUser({ id: 'root', role: 'admin' });
    database.addModel({ id: 'a', owner: 'root' });
    for (const id of ['private', 'public', 'withdrawn', 'shared', 'new']) {
      database.addModel({ id, base: 'a', owner: 'root' });
      if (era === '0.6.18') database.run('UPDATE model SET access_control = ? WHERE id = ?', '{}', id);
    }
    if (era === '0.6.18') database.run(`UPDATE model SET access_control = 'null' WHERE id = 'public'`);
    else {
      database.run(
        `INSERT INTO access_grant (id, resource_type, resource_id, principal_type, principal_id, permission, created_at)
         VALUES ('1', 'model', 'public', 'user', '*', 'read', 1)`,
      );
    }
    for (const id of ['private', 'public', 'shared']) database.grant('globex', id);
    database.grant('globex', 'withdrawn', 0);
    database.grant('acme', 'shared');
    const read = (organization: string) => catalogueOf(database, fromTable, { presets: true, organization });
    const found = await read('acme');
    expect(found.models).toEqual(['a', 'new', 'public', 'shared', 'withdrawn']);
    expect(leftOut(found)).toEqual({ private: 'of_organizations' });
    expect(found.leftOut.get('private')?.owner).toEqual({ organization: 'globex' });
    expect(leftOut(await read('globex'))).toEqual({});
    database.grant('acme', 'private');
    expect((await read('acme')).models).toContain('private');
  });

  test('is not switched on again, and not switched off', async () => {
    const database = owned();
    database.grant('acme', 'of ann', 0);
    database.grant('acme', 'of unknown user');
    await sync(database, { switchOn: true, remove: true });
    expect(states(database)).toEqual({ 'of ann': 0, 'of root': 1, 'of unknown user': 1 });
  });
});

describe.each(ERAS)('the catalogue of the configuration of %s', (era) => {
  const OPENAI = {
    'openai.enable': true,
    'openai.api_base_urls': ['https://one.example/v1', 'https://two.example/v1', 'https://three.example/v1'],
    'ollama.enable': false,
  };

  test('has the ids of each connection, with its prefix', async () => {
    const database = created({ era });
    configure(database, {
      ...OPENAI,
      'openai.api_configs': {
        '0': { enable: true, model_ids: ['gpt-4o', 'o3'], prefix_id: '' },
        // by address, as it was before 0.5
        'https://two.example/v1': { model_ids: ['gpt-4o', 'vendor/x:free'], prefix_id: 'eu' },
        '2': { enable: false, model_ids: ['disabled'] },
        '7': { model_ids: ['of no connection'] },
      },
    });
    const found = await catalogueOf(database, fromConfig);
    expect(found.models).toEqual(['gpt-4o', 'o3', 'eu.gpt-4o', 'eu.vendor/x:free']);
    expect(found.gaps).toEqual([]);
    expect(leftOut(found)).toEqual({});
    expect([...found.beside]).toEqual(['arena-model']);
  });

  test('says which connections do not list their models, and which model may be theirs', async () => {
    const database = created({ era });
    configure(database, {
      ...OPENAI,
      'openai.api_base_urls': ['https://user:pass@one.example/v1?key=secret', 'https://two.example/v1'],
      'openai.api_configs': { '0': { prefix_id: 'or' }, '1': { model_ids: ['listed'] } },
      'ollama.enable': true,
      'ollama.base_urls': ['http://ollama:11434'],
    });
    const { models, gaps } = await catalogueOf(database, fromConfig);
    expect(models).toEqual(['listed']);
    expect(gaps.map(({ why }) => why)).toEqual([
      expect.stringContaining('OpenAI connection 1 ("https://one.example/v1")'),
      expect.stringContaining('Ollama connection 1 ("http://ollama:11434/")'),
    ]);
    const owners = (id: string) => gaps.map((gap) => gap.mayHave(id));
    expect(owners('or.gpt-4o')).toEqual([true, false]);
    expect(owners('llama3:latest')).toEqual([false, true]);
    expect(owners('gpt-4o')).toEqual([false, false]);
  });

  test('leaves out what a row of the table switches off, and what OpenAI has that cannot chat', async () => {
    const database = created({ era });
    database.addModel({ id: 'off', active: 0 });
    database.addModel({ id: 'llama3', active: 0 });
    database.addModel({ id: 'helper', base: 'gpt-4o' });
    configure(database, {
      'openai.api_base_urls': ['https://api.openai.com/v1'],
      'openai.api_configs': { '0': { model_ids: ['gpt-4o', 'off', 'tts-1', 'text-embedding-3'] } },
      'ollama.base_urls': ['http://ollama:11434'],
      'ollama.api_configs': { '0': { model_ids: ['llama3:latest', 'mistral:7b'] } },
      'evaluation.arena.models': [{ id: 'duel', name: 'Duel' }],
    });
    const found = await catalogueOf(database, fromConfig);
    expect(found.models).toEqual(['gpt-4o', 'mistral:7b']);
    expect(leftOut(found)).toEqual({
      off: 'switched_off',
      'llama3:latest': 'switched_off',
      helper: 'presets',
      duel: 'arena',
    });
    expect((await catalogueOf(database, fromConfig, { presets: true })).models).toContain('helper');
  });

  test('knows that connections of the environment and functions have models of their own', async () => {
    const database = created({ era });
    const active = (id: string, flag: number) =>
      database.run(
        `INSERT INTO function (id, user_id, name, type, content, meta, valves, is_active, is_global, created_at, updated_at)
         VALUES (?, 'u', ?, 'pipe', '', '{}', '{}', ?, ?, 1, 1)`,
        ...[id, id, flag, 0],
      );
    active('manifold', 1);
    active('asleep', 0);
    const { models, gaps } = await catalogueOf(database, fromConfig);
    expect(models).toEqual([]);
    expect(gaps.map(({ why }) => why)).toEqual([
      expect.stringContaining('connections of OpenAI are not in the file'),
      expect.stringContaining('connections of Ollama are not in the file'),
      expect.stringContaining('function "manifold"'),
    ]);
    expect(gaps.at(-1)?.mayHave('manifold.one')).toBe(true);
    expect(gaps.at(-1)?.mayHave('manifolds')).toBe(false);
  });

  test.each([
    ['null', null],
    ['a text', 'x'],
    ['a list', [1, { a: 1 }]],
    ['a number', 7],
  ])('is empty and not broken where an administrator has stored %s', async (_name, value) => {
    const database = created({ era });
    const keys = ['openai.enable', 'openai.api_base_urls', 'openai.api_configs', 'ollama.base_urls'];
    configure(database, Object.fromEntries(keys.map((key) => [key, value])));
    expect((await catalogueOf(database, fromConfig)).models).toEqual([]);
  });
});

const ACME = { id: 'acme', isConfigured: true, mayBeNew: false };

const requestFor = (more: Partial<SyncRequest> = {}): SyncRequest => ({
  chosen: ACME,
  catalogue: fromTable,
  presets: false,
  remove: false,
  switchOn: false,
  ...more,
});

async function sync(database: TestDatabase, more: Partial<SyncRequest> = {}): Promise<SyncPlan['record']> {
  const operation = await operationOf(database);
  const plan = await planSync(operation, requestFor(more));
  await applySync(operation, requestFor(more), plan);
  return plan.record;
}

const grantsOf = ({ connection }: Pick<TestDatabase, 'connection'>): Record<string, unknown>[] =>
  connection.prepare<[], Record<string, unknown>>('SELECT * FROM organization_models ORDER BY model_id').all();
const states = (database: TestDatabase) =>
  Object.fromEntries(
    grantsOf(database)
      .filter((row) => row['organization_id'] === 'acme')
      .map((row) => [String(row['model_id']), row['is_active']]),
  );

const KINDS: readonly (Era | 'mAI')[] = ['0.6.18', '0.12.4', 'mAI'];

describe.each(KINDS)('a synchronization on %s', (kind) => {
  function filled(): TestDatabase {
    const database = kind === 'mAI' ? created({ era: '0.6.18', organizationTables: 'none' }) : created({ era: kind });
    if (kind === 'mAI') createMaiTables(database);
    for (const id of ['a', 'b', 'vendor/one:free', "o'hara"]) database.addModel({ id });
    database.addModel({ id: 'preset', base: 'a' });
    return database;
  }

  test("writes the rows of the guide's migration", async () => {
    const database = filled();
    database.sql.pragma('wal_checkpoint(TRUNCATE)');
    const copy = `${database.path}.copy`;
    copyFileSync(database.path, copy);
    const sql = new Database(copy);
    // as in Python, where the guide runs it
    sql.pragma('foreign_keys = off');
    sql.prepare(GUIDE_LINK_MODELS).run('acme', 'acme', 1, 1);
    const expected = grantsOf({ connection: sql });
    sql.close();
    await sync(database);
    const seconds = Math.floor(Date.now() / 1000);
    const written = grantsOf(database);
    for (const { created_at: made, updated_at: changed } of written) {
      expect(Number.isInteger(made)).toBe(true);
      expect(seconds - Number(made)).toBeLessThan(60);
      expect(changed).toBe(made);
    }
    expect(written.map((row) => ({ ...row, created_at: 1, updated_at: 1 }))).toEqual(expected);
    expect(expected).toHaveLength(4);
  });

  test('a second time finds nothing to do', async () => {
    const database = filled();
    await sync(database);
    const before = grantsOf(database);
    const plan = await sync(database, { remove: true, switchOn: true });
    expect([plan.allow, plan.switch_on, plan.switch_off]).toEqual([[], [], []]);
    expect(plan.unchanged).toHaveLength(4);
    expect(grantsOf(database)).toEqual(before);
  });
});

describe('a synchronization', () => {
  function filled(): TestDatabase {
    const database = created();
    for (const id of ['new', 'on', 'off', 'null', 'vendor/x', 'vendor/y', 'backend-off']) {
      database.addModel({ id, active: id === 'backend-off' ? 0 : 1 });
    }
    database.addModel({ id: 'preset', base: 'on' });
    const grants = { on: 1, off: 0, null: null, 'vendor/*': 1, 'vendor/y': 0, preset: 1, gone: 1, 'arena-model': 1 };
    for (const [model, active] of Object.entries({ ...grants, 'backend-off': 1, 'gone-off': 0 })) {
      database.grant('acme', model, active as 0 | 1 | null);
    }
    database.grant('globex', 'gone');
    return database;
  }

  test('allows what is new, and leaves the rest as it is', async () => {
    const database = filled();
    const before = states(database);
    const plan = await sync(database);
    expect(plan).toMatchObject({
      allow: ['new'],
      switch_on: [],
      switch_off: [],
      stays_off: ['off'],
      covered: [
        { model: 'vendor/x', by: 'vendor/*' },
        { model: 'vendor/y', by: 'vendor/*' },
      ],
      unchanged: ['null', 'on'],
      not_in_catalogue: ['gone'],
    });
    expect(states(database)).toEqual({ ...before, new: 1 });
  });

  test('switches on again only where that is asked for', async () => {
    const database = filled();
    const plan = await sync(database, { switchOn: true });
    expect(plan).toMatchObject({ allow: ['new'], switch_on: ['off'], stays_off: [] });
    expect(states(database)).toMatchObject({ off: 1, 'vendor/y': 0, 'gone-off': 0 });
  });

  test('--remove switches off what is gone: no pattern, no preset, no arena, nothing that sleeps in the backend', async () => {
    const database = filled();
    const before = states(database);
    expect((await sync(database, { remove: true })).switch_off).toEqual(['gone']);
    expect(states(database)).toEqual({ ...before, new: 1, gone: 0 });
    const other = "SELECT is_active FROM organization_models WHERE organization_id = 'globex'";
    expect(database.rows(other)).toEqual([{ is_active: 1 }]);
  });

  test('--remove does not touch what a source that is not whole may have', async () => {
    const database = filled();
    const catalogue: SyncRequest['catalogue'] = (source) => ({
      ...fromTable(source),
      gaps: [{ why: 'One provider is silent.', mayHave: (id) => id.startsWith('go') }],
    });
    expect(await sync(database, { remove: true, catalogue })).toMatchObject({ switch_off: [], uncertain: ['gone'] });
    expect(states(database)).toMatchObject({ gone: 1 });
  });

  test('--remove with an empty catalogue is refused', async () => {
    const database = created();
    database.grant('acme', 'on');
    await expect(sync(database, { remove: true })).rejects.toThrow(/The catalogue is empty/);
    expect(await sync(database)).toMatchObject({ allow: [], not_in_catalogue: ['on'] });
    expect(states(database)).toEqual({ on: 1 });
  });

  test.each([
    ['another process allows the same', (database: TestDatabase) => database.grant('acme', 'new')],
    ['the backend gets another model', (database: TestDatabase) => void database.addModel({ id: 'newer' })],
    ['a pattern covers it', (database: TestDatabase) => database.grant('acme', '*')],
    ['another process switches off', (database: TestDatabase) => database.withdraw('acme', 'gone')],
  ])('writes nothing but what was shown, where meanwhile %s', async (_name, change) => {
    const database = filled();
    const operation = await operationOf(database);
    const request = requestFor({ remove: true });
    const shown = await planSync(operation, request);
    change(database);
    const before = grantsOf(database);
    await expect(applySync(operation, request, shown)).rejects.toThrow(/has changed the file meanwhile\. Nothing was/);
    expect(grantsOf(database)).toEqual(before);
    await applySync(operation, request, await planSync(operation, request));
    expect((await planSync(operation, request)).record.allow).toEqual([]);
  });

  test('keeps the id of a row that another process has made, and gives twins one state', async () => {
    const database = created({ organizationTables: 'none' });
    database.sql.exec(`
      CREATE TABLE organization_members (organization_id TEXT, user_id TEXT);
      CREATE TABLE organization_models (id TEXT, organization_id TEXT, model_id TEXT, is_active INTEGER);
      INSERT INTO organization_models VALUES ('x1', 'acme', 'on', 0), ('x2', 'acme', 'on', 0), ('x3', 'acme', 'gone', 1);`);
    database.addModel({ id: 'on' });
    await sync(database, { remove: true, switchOn: true });
    expect(grantsOf(database)).toEqual([
      { id: 'x3', organization_id: 'acme', model_id: 'gone', is_active: 0 },
      { id: 'x1', organization_id: 'acme', model_id: 'on', is_active: 1 },
      { id: 'x2', organization_id: 'acme', model_id: 'on', is_active: 1 },
    ]);
  });

  test('into a table without a switch is refused before it writes', async () => {
    const database = created({ organizationTables: 'none' });
    database.sql.exec(`
      CREATE TABLE organization_members (organization_id TEXT, user_id TEXT);
      CREATE TABLE organization_models (organization_id TEXT, model_id TEXT);
      INSERT INTO organization_models VALUES ('acme', 'gone');`);
    database.addModel({ id: 'new' });
    await expect(sync(database, { remove: true })).rejects.toThrow(/has no column is_active/);
    expect(grantsOf(database)).toEqual([{ organization_id: 'acme', model_id: 'gone' }]);
  });

  test('of a new organization needs --create', async () => {
    const database = filled();
    const chosen = { id: 'initech', isConfigured: false, mayBeNew: false };
    await expect(sync(database, { chosen })).rejects.toThrow(/Known: "acme", "globex"/);
    expect(await sync(database, { chosen: { ...chosen, mayBeNew: true } })).toMatchObject({ created: true });
  });
});
