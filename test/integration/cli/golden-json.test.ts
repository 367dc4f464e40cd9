/**
 * What `--json` prints, word for word, for every command. `vitest run -u` on this file writes a deliberate change; read
 * the difference before you commit it.
 */
import { chmodSync, copyFileSync, mkdirSync, readFileSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { describe, expect, onTestFinished, test } from 'vitest';
import { startSampleBackend } from '../../support/upstream/sample-backend/backend.ts';
import { type CommandSurroundings, runCommand } from '../../support/process/command.ts';
import { databaseOfTest } from '../../support/database/opened-store.ts';
import { usageOfTest } from '../../support/database/settled-calls.ts';
import { type DatabaseOptions, type Era, type TestDatabase, ERAS } from '../../support/database/database.ts';
import { serveModelgate } from '../../support/gate/gate-process.ts';
import { createMaiTables } from '../../support/database/mai-tables.ts';
import { TEST_SECRET, mintSession, mintSession06 } from '../../support/gate/session.ts';

/** As typed in a shell, settings first. `DIR` is the folder of the test, `FILE` its database. */
type Line = string | readonly [line: string, surroundings: CommandSurroundings];

const MEMBER_OF_ACME = 'OPENROUTER_EXTERNAL_USER=acme ORGANIZATION_NAME=Acme';

/** Each line runs on what the lines before it have left. */
const STORIES: Readonly<Record<string, readonly string[]>> = {
  organizations: [
    ...['org list', 'org show acme', 'org show globex', 'org show initech'],
    ...['org list', 'org show'].map((line) => `${MEMBER_OF_ACME} ${line}`),
  ],
  members: [
    'member list --org acme',
    'member list --org acme --active',
    'member list --org acme --ids',
    'member add bob dan@example.org --org acme',
    'member add bob --org acme --role admin',
    'member add bob --org new --create',
    'member add --all --org acme',
    'member remove bob ann --org acme',
    'member remove bob --org acme',
    'member remove bob ann --org acme --purge',
    'member list --org acme',
  ],
  models: [
    'model list --org acme',
    'model list --org acme --active',
    'model allow gpt-4o new openai/* vendor/x --org acme',
    'model allow off --org acme',
    'model allow new,other --org acme --as-is',
    'model allow new --org new --create',
    'model deny new gpt-4o vendor/x --org acme',
    'model deny new --org acme',
    'model deny new off --org acme --purge',
    'model list --org acme',
  ],
  budgets: [
    'budget list',
    'budget set acme --usd 50 --user-usd 5 --soft 90 --time-zone Europe/Warsaw',
    'budget set acme --usd 60 --soft-only',
    'budget set acme --requests 9 --period day --model vendor/*',
    'budget set initech --tokens 1000 --period total',
    'budget raise acme --usd 0.5 --until 2999-11-30',
    'budget raise acme --tokens 5 --until 2999-11-30',
    'budget list acme',
    'budget clear acme --user-usd',
    'budget clear acme --user-usd --purge',
    'budget clear acme',
    'budget clear globex',
    'budget list',
  ],
  catalogue: [
    'model sync --org acme --dry-run',
    'model sync --org acme --dry-run --remove --switch-on --presets',
    'model sync --org acme --from config --dry-run --remove',
    'model sync --org acme --yes --presets',
    'model sync --org acme --yes --presets',
    'model sync --org new --from config --create --yes',
  ],
  explain: [
    ...['gpt-4o', 'helper', 'secret', 'lost', 'vendor/any', 'of'].map((model) => `explain --user ann --model ${model}`),
    ...['root', 'cyd', 'dan', 'pen', 'ian'].map((user) => `explain --user ${user}@example.org --model gpt-4o`),
    ...['ann', 'cyd', 'dan', 'pen', 'ian'].map((user) => `explain --user ${user}`),
    'explain --user ann --model secret --exit-code',
    'MODELGATE_MODE=report explain --user ann --model secret',
    'MODELGATE_ADMIN_ACCESS=all explain --user root --model secret',
    'BYPASS_MODEL_ACCESS_CONTROL=true explain --user dan',
    `${MEMBER_OF_ACME} explain --user dan`,
    `${MEMBER_OF_ACME} explain --user dan --model gpt-4o`,
  ],
  reports: [
    ...['report', 'report --org acme', 'report --org initech', `${MEMBER_OF_ACME} report`],
    ...['audit', 'audit --only organizations', 'audit --only admins', 'audit --only outside'],
  ],
  doctor: [
    'doctor --user ann',
    'BYPASS_MODEL_ACCESS_CONTROL=true MODELGATE_PORT=x MODELGATE_PROT=1 doctor --quick --all --user nemo',
  ],
  'bench-queries': ['bench-queries --iterations 20', 'bench-queries --iterations 20 --user ann --org acme'],
  copies: [
    'backup DIR/made',
    'backup DIR/backups --keep 30d',
    'restore DIR/copy.db --yes --database DIR/other.db',
    'restore DIR/copy.db --yes',
    'maintain',
    'maintain --vacuum',
  ],
};

/** On a ledger, which no release of the backend has anything to do with. */
const PRICES: readonly string[] = [
  ...['price list', 'price set ollama:11434 * --free', 'price list'],
  'price set openrouter.ai openai/* --input 2.5 --cached 1.25 --cache-write 3 --output 10 --request 0.01',
  'price set openrouter.ai openai/* --input 3 --from 2999-01-01',
  'price import DIR/prices.json',
  'price list --provider openrouter.ai --model openai/gpt-4o',
  'price list',
  'price remove openrouter.ai openai/*',
  'price remove openrouter.ai openai/*',
  'price set x m --input 1 --per token',
  'price import DIR/absent.json',
].map((line) => `${line} --usage-database DIR/usage.db`);

const USAGE: readonly string[] = [
  ...[
    'usage --month 2026-10',
    'usage --month 2026-10 --by user --org acme',
    'usage --from 2026-10-01 --to 2026-10-31 --by day',
  ],
  ...['usage --month 2026-10 --org acne', 'usage --month 10'],
  'usage invoice --month 2026-10 --markup 1.3 --currency PLN --rate 4.0215',
  'usage close --month 2026-10 --org acme --markup 1.3 --currency PLN --rate 4.0215',
  ...['usage close --month 2026-10 --org acme', 'usage close --month 2026-10', 'usage close --month 2999-01'],
  'usage invoice --month 2026-10 --org acme',
];

const LITELLM = {
  'openrouter/openai/gpt-4o': {
    litellm_provider: 'openrouter',
    input_cost_per_token: 2.5e-6,
    output_cost_per_token: 1e-5,
  },
  'anthropic.claude': { litellm_provider: 'bedrock', input_cost_per_token: 1e-6 },
};

const MIGRATE = 'migrate --org acme --name Acme';

/** On a file that modelgate has never seen. */
const FIRST_STEPS: Readonly<Record<string, readonly string[]>> = {
  init: ['init', 'init', 'init --org acme --name Acme', 'init --org acme --name Acme', 'org list'],
  migrate: [`${MIGRATE} --dry-run`, MIGRATE, MIGRATE, `${MIGRATE} --dry-run`, `${MIGRATE} --backup-dir DIR/none`],
};

const SET = `MODELGATE_UPSTREAM_URL=http://open-webui:8080 DATABASE_URL=sqlite:///webui.db WEBUI_SECRET_KEY=${TEST_SECRET}`;

const SETTINGS: readonly string[] = [
  'serve --settings',
  'serve --check-config',
  'serve --show-config',
  `${SET} MODELGATE_PORT=x MODELGATE_PROT=1 serve --check-config`,
  ...['serve --check-config', 'serve --show-config'].map((line) => `${SET} MODELGATE_MODE=report ${line}`),
];

/** With the settings of a gate that has a provider door: first without a ledger, then with one. */
const CALLS: readonly string[] = [
  ...['init', 'budget set acme --usd 50 --user-usd 5', 'budget set acme --requests 9 --model vendor/* --soft-only'],
  'explain --door provider --provider openrouter.ai --user ann --model gpt-4o',
  'price set openrouter.ai gpt-4o --input 2.5 --output 10',
  ...['gpt-4o', 'vendor/any', 'one.gpt-4o', 'secret --exit-code'].map(
    (model) => `explain --door provider --provider openrouter.ai --user ann --model ${model}`,
  ),
  ...['dan', 'pen', 'root'].map(
    (user) => `explain --door provider --provider openrouter.ai --user ${user} --model gpt-4o`,
  ),
  ...['--user ann --model gpt-4o', '--user ann --provider openrouter.ai', '--user ann --model gpt-4o --provider x'].map(
    (words) => `explain --door provider ${words}`,
  ),
];

const DOOR = {
  MODELGATE_UPSTREAM_URL: 'http://open-webui:8080',
  WEBUI_SECRET_KEY: TEST_SECRET,
  MODELGATE_PROVIDER_PORT: '8081',
  MODELGATE_PROVIDER_ACCESS_KEY: 'an-access-key-of-more-than-32-letters',
  MODELGATE_PROVIDERS: 'https://openrouter.ai/api/v1,http://ollama:11434',
  OPENROUTER_API_KEY: 'sk-or-of-the-provider',
};

/** Standard input, and the secret, of each. None prints a key. */
const KEYS: readonly (readonly [line: string, input?: string, secret?: string])[] = [
  ['key list'],
  ...Array.from({ length: 2 }, () => ['key set acme --provider openrouter.ai', 'sk-or-v1-0123456789abcdef'] as const),
  ['key set acmee --provider openrouter.ai', 'sk-or-v1-0123456789abcdef'],
  ['key set acme --provider openruoter.ai', 'sk-or-v1-0123456789abcdef'],
  ['key set acme --provider openrouter.ai', '\n'],
  ['key set acme --provider openrouter.ai', 'sk-or-v1-0123456789abcdef', ''],
  ['key list'],
  ['key list', '', 'another-secret-of-thirty-two-characters'],
  ['key list --database DIR/mai/webui.db --usage-database DIR/modelgate/usage.db'],
  ['key list --database DIR/absent.db --usage-database DIR/modelgate/usage.db'],
  ...Array.from({ length: 2 }, () => ['key remove acme --provider openrouter.ai'] as const),
  ['key list'],
];

/** Each code that a failure with `--json` can have; `declined` is the answer to a question, and with JSON none is asked. */
const FAILURES: readonly Line[] = [
  'serv',
  'org',
  'report --wait 5 --database FILE',
  'member add --org acme --database FILE',
  'restore DIR/copy.db --database FILE',
  'model sync --org acme --database FILE',
  'model sync --org acme --from live --dry-run --database FILE',
  'migrate --org acme --database FILE',
  'explain',
  'explain --user ann --model m --admin-url http://127.0.0.1:1',
  'member add pen --org acme --role owner --database FILE',
  'model allow new,other --org acme --database FILE',
  // configuration_invalid
  'org list',
  'org list --database DIR',
  'org list --config DIR/absent.yaml --database FILE',
  'MODELGATE_POLICY_MAX_STALE=x ENABLE_MODEL_FILTER=perhaps org list --database FILE',
  'serve',
  // no_such_…
  'org list --database DIR/absent.db',
  'restore DIR/absent.db --yes --database FILE',
  'org show acmee --database FILE',
  'model allow m --org acmee --database FILE',
  'budget set acmee --usd 5 --database FILE',
  'budget set acme --usd -5 --database FILE',
  'bench-queries --org acmee --database FILE',
  'explain --user nemo --model m --database FILE',
  // not_open_webui, damaged, locked, disk_full, not_permitted
  'org list --database DIR/text.db',
  'org list --database DIR/damaged.db',
  'member add bob --org acme --wait 1ms --database DIR/locked/webui.db',
  'restore DIR/vast.db --yes --database FILE',
  'init --database DIR/closed.db',
  // failed
  'org list --database DIR/bare/webui.db',
  'member add nemo --org acme --database FILE',
  'member add pen --org acme --database FILE',
  'model deny absent --org acme --database FILE',
  'explain d-0000000000 --admin-url http://127.0.0.1:1',
  // stopped, bug
  ['org list --database FILE', { stop: AbortSignal.abort() }],
  [
    'org list --database FILE',
    {
      environment: {
        get UNREADABLE(): string {
          throw new Error('something unforeseen');
        },
      },
    },
  ],
];

test('keys of organizations, --json stays word for word', async () => {
  const database = databaseOfTest();
  database.addMember('acme', 'ann');
  mkdirSync(join(database.directory, 'mai'));
  const mai = databaseOfTest({ directory: join(database.directory, 'mai') });
  for (const id of ['acme', 'globex']) mai.addClientOrganization(id, 1);
  const lines = KEYS.map(([line, input = '', secret = 'seals-the-keys-of-organizations-32']): Line => {
    const settings = { DATABASE_URL: `sqlite:///${database.path}`, MODELGATE_KEYS_SECRET: secret };
    const door = { MODELGATE_PROVIDER_PORT: '8081', MODELGATE_PROVIDERS: 'https://openrouter.ai/api/v1' };
    return [line, { environment: { ...settings, ...door }, input: () => Readable.from([input]) }];
  });
  await expectGolden('keys', await transcript(closed(database), lines));
});

describe.each(ERAS)('on a file of %s, --json stays word for word:', (era) => {
  test.each(Object.entries(STORIES))('%s', async (story, lines) => {
    const database = closed(filled({ era }));
    expect(await transcript(database, ['init --database FILE'])).toContain('exit 0');
    await expectGolden(`${era}/${story}`, await transcript(database, lines.map(onFile)));
  });

  test.each(Object.entries(FIRST_STEPS))('%s', async (story, lines) => {
    const database = closed(filled({ era, organizationTables: 'none' }));
    await expectGolden(`${era}/${story}`, await transcript(database, lines.map(onFile)));
  });

  test('on the tables of mAI', async () => {
    const database = filled({ era, organizationTables: 'none' });
    createMaiTables(database);
    database.addClientOrganization('acme', 1);
    const lines = ['doctor --quick', 'init', MIGRATE, 'org show acme', 'member list --org acme'];
    await expectGolden(`${era}/mai`, await transcript(closed(database), lines.map(onFile)));
  });

  test('with a backend that runs', async () => {
    const database = filled({ era });
    const url = await backendOf(database);
    writeFileSync(join(database.directory, 'token'), await MINT[era]('root'));
    const live = 'model sync --org acme --from live --token-file DIR/token';
    const lines = [
      'init',
      `WEBUI_SECRET_KEY=${TEST_SECRET} doctor --quick`,
      'WEBUI_SECRET_KEY=another-key-of-many-characters doctor --quick',
      `${live} --dry-run --remove`,
      `${live} --yes --presets`,
      'restore DIR/copy.db --yes',
    ].map((line) => onFile(`MODELGATE_UPSTREAM_URL=${url} ${line}`));
    await expectGolden(`${era}/backend`, await transcript(closed(database), lines));
  });

  test('with a gate that runs', async () => {
    const database = filled({ era });
    await using gate = await serveModelgate({
      MODELGATE_UPSTREAM_URL: await backendOf(database),
      WEBUI_SECRET_KEY: TEST_SECRET,
      DATABASE_URL: `sqlite:///${database.path}`,
    });
    const refused = async (user: string, model: string): Promise<string> => {
      const answer = await fetch(`${gate.url}/api/chat/completions`, {
        method: 'POST',
        headers: { authorization: `Bearer ${await MINT[era](user)}`, 'content-type': 'application/json' },
        body: JSON.stringify({ model, messages: [] }),
      });
      return /d-[0-9a-z]{10}/.exec(await answer.text())?.[0] ?? 'no decision';
    };
    const ids = [await refused('ann', 'secret'), await refused('ann', 'lost'), await refused('dan', 'gpt-4o')];
    const lines = [...ids, 'd-0000000000', 'd-'].map((id) => `explain ${id} --admin-url ${gate.adminUrl}`);
    const explained = await transcript(database, [...lines, ...lines.slice(0, 1).map(onFile)]);
    await expectGolden(`${era}/gate`, explained);
  });

  test('failures', async () => {
    const database = filled({ era });
    const { directory, path } = closed(database);
    const at = (name: string): string => join(directory, name);
    writeFileSync(at('text.db'), 'nothing that SQLite would read '.repeat(100));
    writeFileSync(at('damaged.db'), readFileSync(path).fill(0xff, 4_096));
    for (const name of ['vast.db', 'closed.db']) copyFileSync(path, at(name));
    truncateSync(at('vast.db'), 8 * 1024 ** 4);
    // root may write into each folder, and no user through a link to itself
    for (const name of ['closed.db-wal', 'closed.db-journal']) symlinkSync(at(name), at(name));
    for (const name of ['bare', 'locked']) mkdirSync(at(name));
    databaseOfTest({ era, directory: at('bare'), organizationTables: 'none' });
    const locked = databaseOfTest({ era, directory: at('locked') });
    locked.addMember('acme', locked.addUser({ id: 'bob' }));
    locked.sql.exec('BEGIN IMMEDIATE');
    await expectGolden(`${era}/failures`, await transcript(database, FAILURES));
  });
});

test('without a file, --json stays word for word', async () => {
  await expectGolden('settings', await transcript(databaseOfTest(), SETTINGS));
});

test('prices, --json stays word for word', async () => {
  const database = databaseOfTest();
  writeFileSync(join(database.directory, 'prices.json'), JSON.stringify(LITELLM));
  await expectGolden('prices', await transcript(database, PRICES));
});

test('calls at the provider door, --json stays word for word', async () => {
  const database = closed(filled({ era: '0.12.4' }));
  const environment = { ...DOOR, DATABASE_URL: `sqlite:///${database.path}` };
  await expectGolden(
    'calls',
    await transcript(
      database,
      CALLS.map((line): Line => [line, { environment }]),
    ),
  );
});

test('usage, --json stays word for word', async () => {
  const [database, ledger] = [databaseOfTest(), usageOfTest()];
  database.addUser({ id: 'ann' });
  const at = '2026-10-05T10:00Z';
  ledger.settle(
    { at, input: 1_000, inputCached: 400, output: 50, outputReasoning: 20, cost: 1_500_000_001 },
    { at, measured: 'interrupted', input: 10, output: 5, cost: 10_000_000 },
    { at, user: 'bob', model: 'new', cost: null },
    { at, organization: 'globex', provider: 'ollama:11434', model: 'llama', kind: 'task' },
    { at: '2999-01-01T00:00Z', cost: 1 },
  );
  ledger.begin({ at, organization: 'globex' });
  const lines = USAGE.map((line) => `${line} --usage-database ${ledger.path}`);
  await expectGolden('usage', (await transcript(database, lines.map(onFile))).replaceAll(ledger.path, 'DIR/usage.db'));
});

const MINT: Readonly<Record<Era, (user: string) => Promise<string>>> = {
  '0.6.18': mintSession06,
  '0.12.4': mintSession,
};

/** Users, models and organizations of every kind that a command tells apart. */
function filled(options: DatabaseOptions): TestDatabase {
  const database = databaseOfTest(options);
  const { addClientOrganization, addMember, addModel, addUser, grant } = database;
  for (const id of ['ann', 'bob', 'cyd', 'dan', 'ian']) addUser({ id });
  for (const id of ['root', 'eve']) addUser({ id, role: 'admin' });
  addUser({ id: 'pen', role: 'pending', name: 'Pen "P"' });
  addUser({ id: 'ban', role: 'banned' });
  for (const id of ['gpt-4o', 'off', 'vendor/x', 'new', 'b*']) addModel({ id });
  addModel({ id: 'asleep', active: 0 });
  addModel({ id: 'own', owner: 'ann' });
  addModel({ id: 'helper', base: 'gpt-4o' });
  addModel({ id: 'lost', base: 'secret' });
  configure(database);
  if (options.organizationTables === 'none') return database;
  addClientOrganization('acme', 1);
  addClientOrganization('globex', null);
  addClientOrganization('initech', 0);
  for (const user of ['root', 'ann', 'pen', 'ban']) addMember('acme', user);
  addMember('acme', 'cyd', 0);
  for (const user of ['ann', 'cyd']) addMember('globex', user);
  addMember('initech', 'ian');
  for (const model of ['gpt-4o', 'vendor/*', 'gone']) grant('acme', model);
  grant('acme', 'off', 0);
  grant('globex', 'gpt-4o');
  grant('globex', 'secret', 0);
  grant('initech', 'gpt-4o');
  return database;
}

/** One connection with a list of its models and one without, as the backend of this era stores them. */
function configure({ era, run }: TestDatabase): void {
  const openai = {
    enable: true,
    api_base_urls: ['https://one.example/v1', 'https://two.example/v1'],
    api_configs: { 0: { model_ids: ['listed', 'gpt-4o'], prefix_id: 'one' }, 1: {} },
  };
  if (era === '0.6.18') return run('INSERT INTO config (data, version) VALUES (?, 0)', JSON.stringify({ openai }));
  for (const [key, value] of Object.entries(openai)) {
    run('INSERT INTO config ("key", value, updated_at) VALUES (?, ?, 1)', `openai.${key}`, JSON.stringify(value));
  }
}

/** @returns where it listens, until the test ends */
async function backendOf({ path }: TestDatabase): Promise<string> {
  const provider = ['gpt-4o', 'off', 'vendor/any', 'fresh'].map((id) => ({ id, name: id, owner: 'openai' as const }));
  const backend = await startSampleBackend({ database: path, secretKey: TEST_SECRET, provider });
  onTestFinished(() => backend.close());
  return backend.url;
}

/** Without the test's own connection, which shares its locks with commands in this process; with a copy and a folder of backups. */
function closed(database: TestDatabase): TestDatabase {
  const { directory, path, sql } = database;
  sql.close();
  chmodSync(path, 0o600);
  copyFileSync(path, join(directory, 'copy.db'));
  mkdirSync(join(directory, 'backups'));
  writeFileSync(join(directory, 'backups/webui_20200101_000000.db.gz'), '');
  return database;
}

const onFile = (line: string): string => (line.includes('--database') ? line : `${line} --database FILE`);

/** @returns each command, its JSON and its exit code, without what differs from run to run */
async function transcript({ directory, path }: TestDatabase, lines: readonly Line[]): Promise<string> {
  const printed: string[] = [];
  for (const line of lines) {
    const [text, surroundings] = typeof line === 'string' ? [line, {}] : line;
    const typed = text.split(' ').map((word) => word.replace('FILE', path).replace('DIR', directory));
    const words = typed.filter((word) => !SETTING.test(word));
    const settings = typed.filter((word) => SETTING.test(word)).map((word) => word.split('=', 2));
    const environment = Object.fromEntries(settings) as Record<string, string>;
    const { code, stdout } = await runCommand([...words, '--json'], { directory, environment, ...surroundings });
    expect(() => void JSON.parse(stdout), stdout).not.toThrow();
    // whether a query is fast enough is a question to the machine
    const ending = stdout.includes('"times_ms"') ? '' : `exit ${code}\n`;
    printed.push(`$ ${text} --json\n${stdout}${ending}`);
  }
  return VARYING.reduce(
    (text, [pattern, placeholder]) => text.replaceAll(pattern, placeholder),
    printed.join('\n').replaceAll(path, 'FILE').replaceAll(directory, 'DIR'),
  );
}

const SETTING = /^[A-Z_]+=/;

/** Times, durations, sizes, ids, ports, users of the system. What the test itself has written stays. */
const VARYING: readonly (readonly [RegExp, string])[] = [
  [/\b20(?!23-11-14)\d\d-\d\d-\d\dT[\d:.]+Z/g, 'TIME'],
  [/20(?!200101)\d{6}_\d{6}/g, 'MOMENT'],
  [/(?<="(?:seconds|duration_ms|\w*bytes)": )[\d.]+/g, '0'],
  [/(?<="(?:min|median|avg|p95|p99|max)":)[\d.]+/g, '0'],
  [/("pass": ?)(?:true|false)/g, '$1"PASS"'],
  [/(?<=FILE \(|file \(|has |up to |to write was |to read )[\d,.]+ (?:ms|[KMG]B)\b/g, 'SOME'],
  [/d-(?!0{10})[0-9a-z]{10}\b/g, 'd-ID'],
  [/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, 'UUID'],
  [/127\.0\.0\.1:\d{2,}/g, '127.0.0.1:PORT'],
  [/(?<=\buser )\d+(?: \([\w.-]+\))?|(?<=\bowner )[\w.-]+(?=\))/g, 'UID'],
];

/** Compares; `-u` writes. */
const expectGolden = (name: string, text: string): Promise<void> =>
  expect(text).toMatchFileSnapshot(`./golden/${name}.txt`);
