/** What `doctor` finds about the provider door, in the settings that a backend of either era keeps in its file. */
import { describe, expect, test } from 'vitest';
import type { ProviderDoor } from '../../../src/diagnosis/providers.ts';
import { type Era, type TestDatabase, ERAS } from '../../support/database/database.ts';
import { createHealthyDatabase, faults, findingsOf, withName } from '../../support/database/diagnosis.ts';
import { startUpstream } from '../../support/upstream/upstreams.ts';

const DOOR: ProviderDoor = {
  listen: { port: 8081 },
  providers: [new URL('https://openrouter.ai/api/v1'), new URL('http://ollama:11434')].map((url) => ({ url })),
  user: { tokenSecret: undefined },
  accessKeys: [],
  serviceModels: 'auto',
  unattributed: 'refuse',
};
const SIGNED = { ...DOOR, user: { tokenSecret: 'signs-users' } };
const THROUGH = 'http://modelgate:8081/openrouter.ai/api/v1';
const DEFAULT = 'https://api.openai.com/v1';

/** As the backend of this era stores them: one document, or a row for each key. */
function store({ era, run }: Pick<TestDatabase, 'era' | 'run'>, settings: Record<string, unknown>): void {
  if (era !== '0.6.18') {
    for (const [key, value] of Object.entries(settings)) {
      run('INSERT INTO config ("key", value, updated_at) VALUES (?, ?, 1)', key, JSON.stringify(value));
    }
    return;
  }
  const document: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(settings)) {
    const names = key.split('.');
    const last = names.pop() ?? '';
    let place = document;
    for (const name of names) place = (place[name] ??= {}) as Record<string, unknown>;
    place[last] = value;
  }
  run('INSERT INTO config (data, version) VALUES (?, 0)', JSON.stringify(document));
}

async function look(era: Era, settings: Record<string, unknown>, door: ProviderDoor | null = DOOR) {
  using database = createHealthyDatabase({ era });
  store(database, settings);
  // awaited here, before the file goes
  return await findingsOf(database, { quick: true, providerDoor: door ?? undefined });
}
const saysOf = async (name: string, ...asked: Parameters<typeof look>): Promise<string[]> =>
  withName(await look(...asked), name).map(
    ({ status, finding, remedy }) => `${status}: ${finding}${remedy === null ? '' : ` → ${remedy}`}`,
  );

describe.each(ERAS)('the connections of a backend of %s', (era) => {
  const rag = era === '0.6.18' ? 'rag.openai_api_base_url' : 'rag.openai.api_base_url';
  const ragOllama = era === '0.6.18' ? 'rag.ollama.url' : 'rag.ollama.base_url';

  test('are looked at only where there is a door', async () => {
    const names = new Set((await look(era, { 'openai.api_base_urls': [DEFAULT] }, null)).map(({ name }) => name));
    for (const name of ['connections', 'signed users', 'service models', 'environment']) {
      expect(names.has(name)).toBe(false);
    }
  });

  test('that all go through the door are named in one line', async () => {
    const settings = {
      'openai.api_base_urls': [THROUGH, `${THROUGH}/`, 'http://modelgate:8081/ollama:11434/v1'],
      'ollama.base_urls': ['https://door.internal/ollama:11434'],
      'rag.embedding_engine': 'openai',
      [rag]: THROUGH,
    };
    expect(await saysOf('connections', era, settings)).toEqual([
      `ok: Every connection that the backend's database names goes through the door: openai.api_base_urls[0], openai.api_base_urls[1], openai.api_base_urls[2], ollama.base_urls[0], ${rag}.`,
    ]);
  });

  test('that do not are problems, each with the setting to change and its new value', async () => {
    const settings = {
      'openai.api_base_urls': [
        THROUGH,
        'https://openrouter.ai/api/v1/',
        'https://user:hunter2@api.groq.com/openai/v1?k=x',
      ],
      'ollama.base_urls': ['http://ollama:11434'],
    };
    const found = await saysOf('connections', era, settings);
    expect(found).toEqual([
      `problem: openai.api_base_urls[1] is https://openrouter.ai/api/v1, which does not go through the provider door. → Set the URL to ${THROUGH} and its key to the access key: Admin Panel, Settings, Connections. OPENAI_API_BASE_URLS counts at the backend's first start only.`,
      "problem: openai.api_base_urls[2] is https://api.groq.com/openai/v1, which does not go through the provider door. → Switch it off if it is not needed. Else add https://api.groq.com/openai/v1 to MODELGATE_PROVIDERS, and its key to MODELGATE_PROVIDER_KEYS_FILE. Set the URL to http://modelgate:8081/api.groq.com/openai/v1 and its key to the access key: Admin Panel, Settings, Connections. OPENAI_API_BASE_URLS counts at the backend's first start only.",
      "problem: ollama.base_urls[0] is http://ollama:11434, which does not go through the provider door. → Set the URL to http://modelgate:8081/ollama:11434 and its key to the access key: Admin Panel, Settings, Connections. OLLAMA_BASE_URLS counts at the backend's first start only.",
    ]);
    expect(found.join()).not.toContain('hunter2');
  });

  test('of the door to a provider that it does not know', async () => {
    const settings = {
      'openai.api_base_urls': [
        'http://modelgate:8081/api.groq.com/openai/v1',
        'http://modelgate:8081/openrouter.ai/v2',
      ],
    };
    const [groq, openrouter] = await saysOf('connections', era, settings);
    expect(groq).toBe(
      'problem: openai.api_base_urls[0] leads through the provider door to api.groq.com/openai/v1, which is below no address of MODELGATE_PROVIDERS: every call is refused. → Add the address of that provider to MODELGATE_PROVIDERS, and its key to MODELGATE_PROVIDER_KEYS_FILE.',
    );
    expect(openrouter).toContain('openrouter.ai/v2, which is below no address');
  });

  test('are led to the door by the address that the others have', async () => {
    const settings = {
      'openai.api_base_urls': ['https://gate.internal/ollama:11434', DEFAULT, 'https://gate.internal/api.groq.com/v1'],
    };
    const [past, unknown] = await saysOf('connections', era, settings);
    expect(past).toContain('Set the URL to https://gate.internal/api.openai.com/v1 and');
    expect(unknown).toContain('leads through the provider door to api.groq.com/v1');
  });

  test('to what runs beside the backend need a name that the gate can reach', async () => {
    // the default of the backend, whether there is an Ollama or not
    const [found] = await saysOf('connections', era, { 'ollama.base_urls': ['http://localhost:11434'] });
    expect(found).toContain(
      'Switch it off if it is not needed. Else add the provider, by a name that the gate can reach,',
    );
    expect(found).toContain('Set the URL to http://modelgate:8081/NAME:11434 and');
  });

  const engines = [
    ['rag.embedding_engine', rag, 'RAG_OPENAI_API_BASE_URL'],
    ['audio.stt.engine', 'audio.stt.openai.api_base_url', 'AUDIO_STT_OPENAI_API_BASE_URL'],
    ['audio.tts.engine', 'audio.tts.openai.api_base_url', 'AUDIO_TTS_OPENAI_API_BASE_URL'],
    ['image_generation.engine', 'image_generation.openai.api_base_url', 'IMAGES_OPENAI_API_BASE_URL'],
  ] as const;

  test.each(engines)('with %s count only where it is openai', async (engine, setting, variable) => {
    const through = { 'openai.api_base_urls': [THROUGH] };
    for (const other of ['', 'web', 'ollama', undefined]) {
      const unused = { ...through, [setting]: DEFAULT, ...(other !== undefined && { [engine]: other }) };
      expect(await saysOf('connections', era, unused)).toEqual([expect.stringContaining('ok: ')]);
    }
    const [found] = await saysOf('connections', era, { ...through, [setting]: DEFAULT, [engine]: 'openai' });
    expect(found).toContain(`problem: ${setting} is ${DEFAULT}`);
    expect(found).toContain('Set the URL to http://modelgate:8081/api.openai.com/v1 and');
    expect(found).toContain(`${variable} counts at`);
  });

  test('that are switched off do not count', async () => {
    const settings = {
      'openai.enable': false,
      'openai.api_base_urls': [DEFAULT],
      'ollama.base_urls': ['http://ollama:11434'],
      'ollama.api_configs': { 0: { enable: false } },
      'image_generation.enable': false,
      'image_generation.engine': 'openai',
      'image_generation.openai.api_base_url': DEFAULT,
    };
    expect(await saysOf('connections', era, settings)).toEqual([
      "ok: The backend's database names no connection to a provider.",
    ]);
  });

  test('to Ollama and Azure for embeddings, and to a reranker, count where they are used', async () => {
    const address = 'http://elsewhere:1/v1';
    const all = { [ragOllama]: address, 'rag.azure_openai.base_url': address, 'rag.external_reranker_url': address };
    const namedWith = async (engines: Record<string, string>) =>
      (await saysOf('connections', era, { ...all, ...engines })).map((text) => /^problem: (\S+)/.exec(text)?.[1]);
    expect(await namedWith({ 'rag.embedding_engine': 'ollama' })).toEqual([ragOllama]);
    expect(await namedWith({ 'rag.embedding_engine': 'azure_openai', 'rag.reranking_engine': 'external' })).toEqual([
      'rag.azure_openai.base_url',
      'rag.external_reranker_url',
    ]);
  });

  test('with hostile addresses are shown in one harmless line', async () => {
    const found = await saysOf('connections', era, {
      'openai.api_base_urls': ['https://evil/\u001b[2J\n`modelgate restore x`', 'no address', '', 7, null],
    });
    expect(found).toHaveLength(1);
    expect(found.join()).not.toMatch(/[\u0000-\u001f`]/);
  });
});

test('realtime calls have no way through the door', async () => {
  const settings = { 'audio.realtime.enabled': true, 'audio.realtime.openai.api_base_url': DEFAULT };
  expect((await saysOf('connections', '0.12.4', settings)).join()).toContain('problem: audio.realtime.enabled is true');
  expect(await saysOf('connections', '0.12.4', { ...settings, 'audio.realtime.enabled': false })).toEqual([
    expect.stringContaining('ok: '),
  ]);
});

describe('whether users are signed', () => {
  test('on 0.12.4, which can: a warning where they are not', async () => {
    const [found] = await saysOf('signed users', '0.12.4', {});
    expect(found).toContain('warning: The users of the calls are not signed, which Open WebUI 0.12.1 to 0.12.4 can do');
    expect(found).toContain('FORWARD_USER_INFO_HEADER_JWT_SECRET (openssl rand -hex 32)');
    expect(await saysOf('signed users', '0.12.4', {}, SIGNED)).toEqual([expect.stringMatching(/^ok: /)]);
  });

  test('on 0.6.18, which cannot: a problem where only signed ones count', async () => {
    expect(await saysOf('signed users', '0.6.18', {})).toEqual([expect.stringMatching(/^ok: .* cannot do\.$/)]);
    const [found] = await saysOf('signed users', '0.6.18', {}, SIGNED);
    expect(found).toContain('problem: FORWARD_USER_INFO_HEADER_JWT_SECRET is set');
    expect(found).toContain('every call for a user is refused');
  });

  test.each([
    ['a0b1c2d3e4f5', 'ok', 'problem'],
    ['3c9b0ca343fd', 'warning', 'ok'],
    ['461111b60977', 'warning', 'ok'],
    ['ffff00000000', 'unknown', 'ok'],
  ])('after the migration %s', async (revision, unsigned, signed) => {
    for (const [door, status] of [
      [DOOR, unsigned],
      [SIGNED, signed],
    ] as const) {
      using database = createHealthyDatabase();
      database.run('UPDATE alembic_version SET version_num = ?', revision);
      const found = withName(await findingsOf(database, { quick: true, providerDoor: door }), 'signed users');
      expect(found).toMatchObject([{ status }]);
    }
  });
});

describe.each(ERAS)('the service models of %s', (era) => {
  test('that auto has found are named', async () => {
    const settings = {
      'task.model.default': '',
      'task.model.external': 'gpt-4o-mini',
      'rag.embedding_model': 'text-embedding-3-small',
    };
    expect(await saysOf('service models', era, settings)).toEqual([
      'ok: The settings of the backend name "gpt-4o-mini", "text-embedding-3-small": every user of an organization may reach them through the backend.',
    ]);
    expect(await saysOf('service models', era, {})).toEqual([expect.stringContaining('names none')]);
  });

  test('are those of the setting where there is one, and an unknown organization is told', async () => {
    const door = { ...DOOR, serviceModels: new Set(['a']), unattributed: 'acne' };
    const [models, organization] = await saysOf('service models', era, { 'task.model.external': 'b' }, door);
    expect(models).toContain('MODELGATE_PROVIDER_SERVICE_MODELS names "a":');
    expect(organization).toContain('warning: MODELGATE_PROVIDER_UNATTRIBUTED is "acne"');
    expect(await saysOf('service models', era, {}, { ...door, unattributed: 'acme' })).toHaveLength(1);
  });
});

describe('the environment of the backend', () => {
  test('is said once, with the variables that decide where the file is silent', async () => {
    const findings = await look('0.6.18', {
      'openai.api_base_urls': [THROUGH],
      'audio.stt.openai.api_base_url': DEFAULT,
    });
    expect(faults(findings)).toEqual(['unknown environment']);
    expect(withName(findings, 'environment')[0]?.finding).toBe(
      "The backend's environment cannot be seen from here. It needs: ENABLE_FORWARD_USER_INFO_HEADERS=true; the gate's name in NO_PROXY where it has an HTTP_PROXY; no ENABLE_PERSISTENT_CONFIG=false, with which its database does not count; an address of the door in OLLAMA_BASE_URLS, RAG_OPENAI_API_BASE_URL, AUDIO_TTS_OPENAI_API_BASE_URL, IMAGES_OPENAI_API_BASE_URL, as far as these are used.",
    );
  });

  test('needs the secret of the signed users where it is set here, which is not shown', async () => {
    const [found] = withName(await look('0.12.4', {}, SIGNED), 'environment');
    expect(found?.finding).toContain('FORWARD_USER_INFO_HEADER_JWT_SECRET as it is here');
    expect(JSON.stringify(found)).not.toContain('signs-users');
  });
});

describe.each(ERAS)('the arenas of a backend of %s', (era) => {
  const arena = (meta: object) => ({ 'evaluation.arena.models': [{ id: 'duel', name: 'Duel', meta }] });

  async function lookAt(settings: Record<string, unknown>, ...granted: readonly string[]): Promise<string[]> {
    using database = createHealthyDatabase({ era });
    database.addModel({ id: 'helper', base: 'gpt-4o' });
    for (const model of granted) database.grant('acme', model);
    store(database, settings);
    const found = await findingsOf(database, { quick: true, providerDoor: DOOR });
    return withName(found, 'arenas').map(({ status, finding }) => `${status}: ${finding}`);
  }

  test('that are granted with their members, by id, prefix or base, are in order', async () => {
    const settings = arena({ model_ids: ['gpt-4o', 'mistral/large', 'helper'], filter_mode: 'include' });
    const fine = ['ok: Each arena that is granted picks only models that are granted beside it.'];
    expect(await lookAt(settings, 'duel')).toEqual(fine);
    expect(await lookAt({})).toEqual(fine);
    // no organization has it
    expect(await lookAt(arena({ model_ids: ['o3'] }))).toEqual(fine);
  });

  test('whose members are not granted are named with the members', async () => {
    expect(await lookAt(arena({ model_ids: ['gpt-4o', 'o3', 'o4'] }), 'duel')).toEqual([
      'warning: The arena "duel", granted to acme, picks models that are not: "o3", "o4".',
    ]);
  });

  test('that pick among all models are a warning', async () => {
    const all = ['warning: The arena "duel", granted to acme, picks among all models of the backend.'];
    expect(await lookAt(arena({ model_ids: null }), 'duel')).toEqual(all);
    expect(await lookAt(arena({ model_ids: ['gpt-4o'], filter_mode: 'exclude' }), 'duel')).toEqual(all);
    expect(await lookAt({}, 'arena-model')).toEqual([all[0]?.replace('duel', 'arena-model')]);
  });
});

describe('the keys that mAI has for organizations', () => {
  async function lookAt(door: Partial<ProviderDoor> = {}): Promise<string[]> {
    using database = createHealthyDatabase({ mai: true });
    database.addClientOrganization('globex', 1);
    database.addClientOrganization('initech', 1);
    database.run("UPDATE client_organizations SET openrouter_api_key = ' ' WHERE id = 'initech'");
    const found = await findingsOf(database, { quick: true, providerDoor: { ...DOOR, ...door } });
    return withName(found, 'organization keys').map(({ status, finding }) => `${status}: ${finding}`);
  }

  test('are a warning: the door refuses them as access keys', async () => {
    const said = await lookAt();
    expect(said).toEqual([
      'warning: client_organizations.openrouter_api_key has a key of OpenRouter for "acme", "globex". Calls for which mAI sends it to the provider door are refused (401).',
    ]);
    expect(said.join()).not.toContain('provider-key-of');
  });

  test('are in order where they are access keys, or where no call goes to OpenRouter', async () => {
    expect(await lookAt({ accessKeys: ['provider-key-of-globex', 'provider-key-of-acme'] })).toEqual([]);
    expect(await lookAt({ providers: [{ url: new URL('http://ollama:11434') }] })).toEqual([]);
  });
});

describe('the clocks of the providers', () => {
  const clockOff = (seconds: number) =>
    startUpstream((_incoming, outgoing) => {
      outgoing.setHeader('date', new Date(Date.now() + seconds * 1_000).toUTCString());
      outgoing.writeHead(401).end();
    });
  const lookAt = async (origins: readonly string[], quick = false): Promise<string[]> => {
    using database = createHealthyDatabase();
    const door = { ...DOOR, providers: origins.map((origin) => ({ url: new URL('/api/v1', origin) })) };
    const found = withName(await findingsOf(database, { quick, providerDoor: door }), 'provider clock');
    return found.map(({ status, finding }) => `${status}: ${finding}`);
  };

  test('are compared with this one, each of them', async () => {
    await using right = await clockOff(0);
    await using late = await clockOff(-300);
    const [first, second, third, ...more] = await lookAt([right.origin, late.origin, 'http://127.0.0.1:9']);
    expect(first).toBe(`ok: ${right.origin} and this machine agree on the time.`);
    expect(second).toMatch(
      new RegExp(`^warning: The clock of ${late.origin} is (?:299|300) s behind this machine's: budgets begin`),
    );
    expect(third).toBe('unknown: The clock of http://127.0.0.1:9 was not compared: it does not answer.');
    expect(more).toEqual([]);
  });

  test('are not asked for with --quick', async () => {
    await using late = await clockOff(-300);
    expect(await lookAt([late.origin], true)).toEqual([]);
  });
});
