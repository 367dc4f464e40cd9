/** Two organizations share one real backend: each sees and uses its own models, and ordinary life goes on. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type PostgresServer, startPostgres } from '../support/postgres.ts';
import { rawRequest, requestText } from '../support/gate/raw-connection.ts';
import { type Account, call, listModelIds, send, signIn, signUp, through } from './backend-client.ts';
import { createChat, createPreset, presetBody } from './backend-content.ts';
import { startRealGate } from './gate.ts';
import { RELEASES } from './release.ts';
import { type Tenants, PROVIDER_MODELS, askPermitted, question, startTenants } from './tenants.ts';

const ACME = ['alpha', 'alpha-2', 'vendor/one', 'vendor/two'];
const GLOBEX = ['beta', 'beta-2'];
const CHAT = '/api/chat/completions';

const PLACES = RELEASES.flatMap((version) =>
  (['SQLite', 'PostgreSQL'] as const).map((engine) => [version, engine] as const),
);

describe.each(PLACES)('two organizations on Open WebUI %s with %s', (version, engine) => {
  const isNew = version === '0.12.4';
  let server: PostgresServer | undefined;
  let tenants: Tenants;
  let ann: Account;
  let bob: Account;
  let ada: Account;
  /** The backend's admin, past the gate. */
  let root: Account;

  beforeAll(async () => {
    server = engine === 'PostgreSQL' ? await startPostgres() : undefined;
    tenants = await startTenants({ version, postgres: server });
    ({ ann, bob, ada } = tenants);
    root = through(ada, tenants.backend.url);
    await call(root, 'POST', '/api/v1/configs/models', {
      ...((await call(root, 'GET', '/api/v1/configs/models')) as object),
      DEFAULT_MODELS: 'beta,alpha,gamma',
    });
    await createPreset(root, { id: 'acme-helper', base_model_id: 'alpha' });
    await createPreset(root, { id: 'globex-helper', base_model_id: 'beta' });
    await createPreset(root, { id: 'gamma-helper', base_model_id: 'gamma' });
    tenants.grant('acme', 'gamma-helper');
  });

  afterAll(async () => {
    await tenants.close();
    await server?.[Symbol.asyncDispose]();
  });

  const usable = async (account: Account, model: string): Promise<boolean> => {
    const response = await send(account, 'POST', CHAT, question(model));
    await response.text();
    return response.ok;
  };

  describe('what is listed is what can be used:', () => {
    const everything = [...PROVIDER_MODELS, 'acme-helper', 'globex-helper', 'gamma-helper', 'arena-model'];
    const cases = [
      ['ann', [...ACME, 'acme-helper', 'gamma-helper']],
      ['bob', [...GLOBEX, 'globex-helper']],
      // the backend's admin is a member of acme as others are
      ['ada', [...ACME, 'acme-helper', 'gamma-helper']],
    ] as const;
    it.each(cases)('%s', async (name, expected) => {
      const account = tenants[name];
      expect((await listModelIds(account)).sort()).toEqual([...expected].sort());
      for (const model of everything) {
        expect([model, await usable(account, model)]).toEqual([model, (expected as readonly string[]).includes(model)]);
      }
    });
  });

  it('lists the same on every other route', async () => {
    const ids = (rows: unknown): string[] => (rows as { id: string }[]).map(({ id }) => id).sort();
    expect((await listModelIds(ann, '/openai/models')).sort()).toEqual(ACME);
    const presets = ['acme-helper', 'gamma-helper'];
    if (isNew) {
      expect((await listModelIds(ann, '/api/v1/models')).sort()).toEqual([...presets, ...ACME].sort());
      const page = (await call(ann, 'GET', '/api/v1/models/list')) as { items: unknown; total: number };
      expect(ids(page.items)).toEqual(presets);
      expect(page.total).toBe(2);
      expect(ids(await call(ann, 'GET', '/api/v1/models/export'))).toEqual(presets);
    } else {
      // this release shows users only rows that they may change
      expect(ids(await call(ada, 'GET', '/api/v1/models/'))).toEqual(presets);
    }
  });

  it.each([
    '/api/models',
    '/api/models?refresh=true',
    '/api/v1/models',
    '/api/v1/models/',
    '/api/v1/models/list',
    '/api/v1/models/export',
    '/api/v1/models/base',
    '/api/models/base',
    '/api/v1/models/model?id=globex-helper',
    '/api/v1/models/model/history?id=globex-helper',
    '/api/v1/models/model/profile/image?id=globex-helper',
    '/openai/models',
    '/openai/models/',
    '/openai/models/0',
    '/openai/config',
    '/api/config',
    '/api/usage',
    '/api/v1/configs/models',
    '/api/v1/tasks/config',
    '/api/v1/functions/',
    '/api/v1/groups/',
    '/api/v1/users/user/settings',
    '/api/v1/evaluations/config',
    '/api/v1/channels/',
    '/api/v1/prompts/',
    '/api/v1/folders/',
    '/api/v1/users/usage',
  ])('says nothing of what others have at %s', async (path) => {
    for (const encoding of ['identity', 'gzip, br, zstd']) {
      const headers = {
        authorization: `Bearer ${ann.token}`,
        cookie: `token=${ann.token}`,
        'accept-encoding': encoding,
      };
      const response = await fetch(`${ann.url}${path}`, { headers, redirect: 'follow' });
      // a refusal repeats what was asked for
      const text = (await response.text()).replaceAll('globex-helper', '');
      expect(text).not.toMatch(/beta|globex|"gamma"/);
    }
  });

  it('keeps the permitted ones of the default models', async () => {
    // 0.6.18 reads the cookie only, and so does the page
    const response = await fetch(`${ann.url}/api/config`, { headers: { cookie: `token=${ann.token}` } });
    expect(await response.json()).toMatchObject({ default_models: 'alpha' });
  });

  describe('credentials of two users name no user:', () => {
    const forms: readonly [name: string, lines: (one: string, other: string) => string[]][] = [
      ['two cookies in a line', (one, other) => [`Cookie: token=${one}; token=${other}`]],
      ['two cookie lines', (one, other) => [`Cookie: token=${one}`, `Cookie: token=${other}`]],
      ['a bearer and a cookie', (one, other) => [`Authorization: Bearer ${one}`, `Cookie: token=${other}`]],
      ['a Token scheme and a cookie', (one, other) => [`Authorization: Token ${one}`, `Cookie: token=${other}`]],
      ['two bearers', (one, other) => [`Authorization: Bearer ${one}`, `Authorization: Bearer ${other}`]],
      ['a cookie and x-api-key', (one, other) => [`Cookie: token=${one}`, `x-api-key: ${other}`]],
    ];
    const sent = async (lines: string[], model: string): Promise<number> => {
      const body = JSON.stringify(question(model));
      const headers = ['Content-Type: application/json', `Content-Length: ${body.length}`, ...lines];
      return (await rawRequest(tenants.gate.port, requestText(`POST ${CHAT}`, headers, body), 20_000)).status;
    };

    it.each(forms)('%s', async (_name, lines) => {
      tenants.forget();
      for (const model of ['alpha', 'beta']) {
        expect(await sent(lines(ann.token, bob.token), model)).toBeGreaterThanOrEqual(400);
        expect(await sent(lines(bob.token, ann.token), model)).toBeGreaterThanOrEqual(400);
      }
      expect(tenants.provider.asked()).toEqual([]);
    });

    it('but one user may say it twice', async () => {
      expect(await sent([`Authorization: Bearer ${ann.token}`, `Cookie: token=${ann.token}`], 'alpha')).toBe(200);
    });
  });

  describe('grants and memberships change under a running backend:', () => {
    /** The backend writes all the time, as it does when people work. */
    async function whileTheBackendWrites(work: () => Promise<void>): Promise<void> {
      const ended = new AbortController();
      const writing = (async () => {
        let written = 0;
        for (; !ended.signal.aborted; written += 1) await createChat(bob, 'beta');
        return written;
      })();
      await work().finally(() => ended.abort());
      expect(await writing).toBeGreaterThan(0);
    }

    it('a grant that is withdrawn by hand bites on the next request, and one that is given too', async () => {
      await whileTheBackendWrites(async () => {
        for (let round = 0; round < 5; round += 1) {
          tenants.withdraw('acme', 'alpha-2');
          tenants.forget();
          expect(await usable(ann, 'alpha-2')).toBe(false);
          expect(await listModelIds(ann)).not.toContain('alpha-2');
          expect(tenants.provider.asked()).not.toContain('alpha-2');
          tenants.grant('acme', 'alpha-2');
          await askPermitted(ann, 'alpha-2');
          expect(await listModelIds(ann)).toContain('alpha-2');
        }
      });
    });

    it('a membership too', async () => {
      await whileTheBackendWrites(async () => {
        tenants.leave('acme', ann);
        expect(await usable(ann, 'alpha')).toBe(false);
        expect(await listModelIds(ann)).toEqual([]);
        tenants.join('globex', ann);
        await askPermitted(ann, 'beta');
        tenants.join('acme', ann);
        expect(await listModelIds(ann)).toEqual(expect.arrayContaining([...ACME, ...GLOBEX]));
        tenants.leave('globex', ann);
        expect(await usable(ann, 'beta')).toBe(false);
      });
    });

    it('a role that is taken away by the admin too', async () => {
      const eve = await signUp(tenants.gate.url, { name: 'Eve', email: 'eve@acme.example' });
      tenants.join('acme', eve);
      await askPermitted(eve, 'alpha');
      tenants.query('UPDATE "user" SET role = ? WHERE id = ?', 'pending', eve.id);
      tenants.forget();
      expect(await usable(eve, 'alpha')).toBe(false);
      expect(tenants.provider.asked()).toEqual([]);
    });
  });

  describe('the admin of the backend', () => {
    it('manages everything that there is', async () => {
      const base = JSON.stringify(await call(ada, 'GET', isNew ? '/api/v1/models/base' : '/api/models/base'));
      const own = JSON.stringify(await call(ada, 'GET', isNew ? '/api/v1/models/list' : '/openai/models/0'));
      expect(base + own).toContain(isNew ? 'globex-helper' : 'beta');
      await call(ada, 'POST', '/api/v1/models/create', presetBody({ id: 'for-globex', base_model_id: 'beta' }));
      await listModelIds(root);
      await askPermittedPreset(bob, 'for-globex', 'beta');
      expect(await usable(ann, 'for-globex')).toBe(false);
    });

    it('uses every model where the operator says so', async () => {
      const other = await startRealGate(tenants.backend, { MODELGATE_ADMIN_ACCESS: 'all' });
      try {
        await askPermitted(through(ada, other.url), 'beta');
        expect(await listModelIds(through(ada, other.url))).toEqual(expect.arrayContaining(PROVIDER_MODELS));
        expect(await usable(through(ann, other.url), 'beta')).toBe(false);
      } finally {
        await other.close();
      }
    });
  });

  /** The answer of a preset is in the name of its base. */
  async function askPermittedPreset(account: Account, preset: string, base: string): Promise<void> {
    tenants.forget();
    expect(JSON.stringify(await call(account, 'POST', CHAT, question(preset)))).toContain(`I am ${base}`);
    expect(tenants.provider.asked()).toEqual([base]);
  }

  describe('ordinary life goes on:', () => {
    it('presets run: on a granted base, and granted themselves', async () => {
      await askPermittedPreset(ann, 'acme-helper', 'alpha');
      await askPermittedPreset(ann, 'gamma-helper', 'gamma');
      await askPermittedPreset(bob, 'globex-helper', 'beta');
    });

    it("a user makes, changes and uses a preset of one's own", async () => {
      await createPreset(ann, { id: 'own', base_model_id: 'alpha', params: { temperature: 0.1 } });
      await askPermittedPreset(ann, 'own', 'alpha');
      await call(
        ann,
        'POST',
        '/api/v1/models/model/update?id=own',
        presetBody({ id: 'own', base_model_id: 'vendor/one' }),
      );
      await listModelIds(ann);
      await askPermittedPreset(ann, 'own', 'vendor/one');
    });

    it('a user signs in, changes settings and uploads a file', async () => {
      const again = await signIn(tenants.gate.url, { name: ann.name, email: ann.email });
      expect(again.id).toBe(ann.id);
      // pinned models are of the past: settings may name what the user has no more
      const settings = { ui: { models: ['beta'], pinnedModels: ['beta', 'alpha'], theme: 'dark' } };
      await call(again, 'POST', '/api/v1/users/user/settings/update', settings);
      expect(await call(again, 'GET', '/api/v1/users/user/settings')).toMatchObject({ ui: { theme: 'dark' } });
      const form = new FormData();
      form.set('file', new Blob(['{"model": "beta"}'], { type: 'text/plain' }), 'model.txt');
      const uploaded = await fetch(`${again.url}/api/v1/files/?process=false`, {
        method: 'POST',
        headers: { authorization: `Bearer ${again.token}` },
        body: form,
      });
      expect(uploaded.status).toBe(200);
    });

    it('an old chat with a lost model is opened, saved and continued with another model', async () => {
      // From the time when acme had the model
      const { chatId, assistantMessageId } = await createChat(through(ann, tenants.backend.url), 'beta');
      const { chat } = (await call(ann, 'GET', `/api/v1/chats/${chatId}`)) as { chat: object };
      expect(JSON.stringify(chat)).toContain('beta');
      await call(ann, 'POST', `/api/v1/chats/${chatId}`, { chat: { ...chat, title: 'Renamed' } });
      tenants.forget();
      const response = await send(
        ann,
        'POST',
        CHAT,
        spaBody('alpha', chatId, assistantMessageId, await itemOf('alpha'), ['alpha', 'beta']),
      );
      expect(response.status).toBe(200);
      await response.text();
      await tenants.provider.arrival(({ models }) => models.includes('alpha'), 20_000);
      await tenants.quiet();
      expect(tenants.provider.asked()).toEqual(['alpha']);
    });

    it("the page's whole body runs a preset, with the preset's own object beside it", async () => {
      const { chatId, assistantMessageId } = await createChat(ann, 'acme-helper');
      tenants.forget();
      const item = await itemOf('acme-helper');
      expect(JSON.stringify(item)).toContain('base_model_id');
      const response = await send(ann, 'POST', CHAT, spaBody('acme-helper', chatId, assistantMessageId, item));
      expect(response.status).toBe(200);
      await response.text();
      await tenants.provider.arrival(({ models }) => models.includes('alpha'), 20_000);
      await tenants.quiet();
      expect(tenants.provider.asked()).toEqual(['alpha']);
    });

    async function itemOf(id: string): Promise<unknown> {
      const { data } = (await call(ann, 'GET', '/api/models')) as { data: { id: string }[] };
      return data.find((model) => model.id === id);
    }

    /** The keys that the web page of the release sends (surfaces of both releases), old names included. */
    function spaBody(
      model: string,
      chatId: string,
      parent: string,
      item: unknown,
      selected: readonly string[] = [model],
    ): Record<string, unknown> {
      const message = {
        id: 'n1',
        parentId: parent,
        childrenIds: ['n2'],
        role: 'user',
        content: 'Go on.',
        models: selected,
      };
      const both = {
        stream: true,
        model,
        messages: [
          { role: 'user', content: 'Who?', model: 'beta' },
          { role: 'assistant', content: 'I am beta.' },
          { role: 'user', content: 'Go on.' },
        ],
        params: isNew ? { model_controls: { beta: { effort: 'high' } }, temperature: 0.5 } : { temperature: 0.5 },
        files: [],
        filter_ids: [],
        tool_ids: [],
        tool_servers: [],
        features: { image_generation: false, code_interpreter: false, web_search: false, memory: false },
        variables: { '{{USER_NAME}}': 'Ann', '{{USER_LANGUAGE}}': 'en-US' },
        model_item: item,
        session_id: 'a-socket',
        chat_id: chatId,
        id: 'n2',
        background_tasks: { title_generation: true, tags_generation: true, follow_up_generation: true },
      };
      if (!isNew) return { ...both, stream_options: { include_usage: true } };
      return {
        ...both,
        skill_ids: [],
        chat_variables: {},
        folder_id: null,
        message_ids: [{ model_id: model, message_id: 'n2', modelIdx: 0 }],
        parent_id: parent,
        user_message: message,
      };
    }
  });
});
