/** No answer names a model that its reader may not use, in whatever coding, shape or state. */
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { afterEach, describe, expect, test } from 'vitest';
import { gateOfSuite } from '../support/gate/gate.ts';
import { rawRequest, requestText } from '../support/gate/raw-connection.ts';

let listeners: RequestListener[];
const gate = gateOfSuite({}, ({ database, backend }) => {
  database.addModel({ id: 'mine', base: 'A', meta: { model_ids: ['F', 'A'] } });
  database.addModel({ id: 'given', base: 'F' });
  database.addModel({ id: 'theirs', base: 'F' });
  database.grant('acme', 'given');
  listeners = backend.server.listeners('request');
});
afterEach(() => answerWith(...listeners));

/** Puts another backend in the sample's place. */
function answerWith(...all: RequestListener[]): void {
  gate.backend.server.removeAllListeners('request');
  for (const one of all) gate.backend.server.on('request', one);
}

const FORBIDDEN = /"F"|F,|,F|theirs|other\/one/;
const LISTS = [
  '/api/models',
  '/api/models?refresh=true',
  '/api/v1/models',
  '/api/v1/models/',
  '/api/v1/models/list',
  '/api/v1/models/list?page=1',
  '/api/v1/models/export',
  '/openai/models',
  '/ollama/api/tags',
  '/ollama/v1/models',
  '/api/usage',
  '/api/v1/tasks/config',
  '/api/config',
];

describe('the pages of the workspace', () => {
  const pageOf = async (query: string, user = 'ann') => {
    const answer = await gate.ask(user, `/api/v1/models/list${query}`);
    const { items, total } = (await answer.json()) as { items: { id: string }[]; total: number };
    return { ids: items.map(({ id }) => id), total };
  };

  test.each(['', '?page=1', '?page=0', '?query=', '?order_by=name&direction=asc'])(
    'count what is shown: %s',
    async (query) => {
      expect(await pageOf(query)).toEqual({ ids: ['mine', 'given'], total: 2 });
    },
  );

  test.each([
    ['of a hidden entry', 'theirs'],
    ['of a base that is not shown', 'F'],
    ['that matches everything in SQL', '%'],
  ])('tell nothing by a search for a name %s', async (_what, text) => {
    for (const page of [1, 2, 7]) {
      expect(await pageOf(`?query=${encodeURIComponent(text)}&page=${page}`)).toEqual({ ids: [], total: 0 });
    }
  });

  test('find what is shown, by name and by base', async () => {
    expect(await pageOf('?query=GIV')).toEqual({ ids: ['given'], total: 1 });
    expect(await pageOf('?query=a&page=2')).toMatchObject({ ids: [] });
    expect((await pageOf('?query=mine')).ids).toEqual(['mine']);
  });

  test('hold what is left of many pages', async () => {
    const { database } = gate;
    for (let count = 0; count < 70; count++) database.addModel({ id: `hidden-${count}`, base: 'F' });
    for (let count = 0; count < 35; count++) database.addModel({ id: `shown-${count}`, base: 'A' });
    const first = await pageOf('?query=shown');
    expect([first.ids.length, first.total]).toEqual([30, 35]);
    const second = await pageOf('?query=shown&page=2');
    expect([second.ids.length, second.total]).toEqual([5, 35]);
    database.run("DELETE FROM model WHERE id LIKE 'hidden-%' OR id LIKE 'shown-%'");
  });

  test('are shown whole to the admins of the backend', async () => {
    expect((await pageOf('?query=F', 'adm')).total).toBeGreaterThan(1);
  });
});

describe('the tags of the workspace', () => {
  test('are those of entries that are shown', async () => {
    const { database } = gate;
    database.addModel({ id: 'tagged-mine', base: 'A', meta: { tags: [{ name: 'ours' }, { name: 'b' }] } });
    database.addModel({ id: 'tagged-theirs', base: 'F', meta: { tags: [{ name: 'secret' }] } });
    const answer = await gate.ask('ann', '/api/v1/models/tags');
    database.run("DELETE FROM model WHERE id LIKE 'tagged-%'");
    expect([answer.status, await answer.json()]).toEqual([200, ['b', 'ours']]);
  });
});

describe('a row and its versions', () => {
  const row = { id: 'given', base_model_id: 'F', params: { model: 'F', custom_params: { models: '["F"]' } }, meta: {} };
  test.each<[string, string, unknown, unknown]>([
    ['its own answer', '/api/v1/models/model?id=given', undefined, row],
    ['a switch', '/api/v1/models/model/toggle?id=new-one', {}, { ...row, id: 'new-one' }],
    ['its versions', '/api/v1/models/model/history?id=given', undefined, [{ id: 'v', snapshot: row }]],
    ['one version', '/api/v1/models/model/history/v?id=given', undefined, { id: 'v', snapshot: row }],
  ])('name no model that their reader may not use: %s', async (_name, target, body, sent) => {
    if (target.includes('new-one')) gate.database.addModel({ id: 'new-one', base: 'A', owner: 'ann' });
    answerWith(sends(200, JSON_TYPE, JSON.stringify(sent)));
    const answer = await gate.ask('ann', target, body);
    gate.database.run("DELETE FROM model WHERE id = 'new-one'");
    expect(answer.status).toBe(200);
    expect(await answer.text()).not.toMatch(/"F"|F\\/);
  });
});

describe('one row of the workspace', () => {
  test('names no model that its reader may not use', async () => {
    const answer = await gate.ask('ann', '/api/v1/models/model?id=given');
    expect(answer.status).toBe(200);
    expect(await answer.json()).toMatchObject({ id: 'given', base_model_id: null });
  });
});

describe('a list names nothing that its reader may not use', () => {
  test.each(LISTS)('%s', async (target) => {
    const answer = await gate.ask('ann', target);
    expect(answer.status).toBe(200);
    expect(answer.headers.get('cache-control')).toContain('no-store');
    expect(await answer.text()).not.toMatch(FORBIDDEN);
  });

  test.each(LISTS)('%s, to a user without organization', async (target) => {
    expect(await (await gate.ask('dan', target)).text()).not.toMatch(/"(?:A|F|mine|given)"|acme\/one|other\/one/);
  });

  test.each(['gzip', 'br', 'deflate, gzip;q=0.9', '*', 'identity;q=0, gzip'])('coded as %s', async (coding) => {
    const answer = await gate.ask('ann', '/api/models', undefined, { headers: { 'accept-encoding': coding } });
    expect(await answer.text()).not.toMatch(FORBIDDEN);
  });

  test('without a user there is no list, but the sign-in page has its settings', async () => {
    for (const target of LISTS.slice(0, -1)) {
      const answer = await fetch(`${gate.url}${target}`);
      expect([target, answer.status]).toEqual([target, 401]);
      expect(await answer.text()).not.toMatch(FORBIDDEN);
    }
    const config = await fetch(`${gate.url}/api/config`);
    expect([config.status, await config.json()]).toEqual([200, expect.objectContaining({ default_models: '' })]);
  });

  test('it does name what they have', async () => {
    const ids = (list: { id: string }[]) => list.map(({ id }) => id);
    const { data } = (await (await gate.ask('ann', '/api/models')).json()) as { data: { id: string }[] };
    expect(ids(data)).toEqual(['A', 'acme/one', 'mine', 'given']);
    const page = (await (await gate.ask('ann', '/api/v1/models/list')).json()) as {
      items: { id: string; base_model_id: string | null }[];
      total: number;
    };
    expect(page.total).toBe(2);
    expect(page.items.map(({ id, base_model_id: base }) => [id, base])).toEqual([
      ['mine', 'A'],
      ['given', null],
    ]);
    const config = (await (await gate.ask('cyd', '/api/config')).json()) as { default_models: string };
    expect(config.default_models).toBe('A,F,acme/one');
  });
});

describe('one model by its id', () => {
  test.each([
    '/api/v1/models/model?id=theirs',
    '/api/v1/models/model?%69d=F',
    '/api/v1/models/model/history?id=theirs',
  ])('%s is refused', async (target) => {
    const before = gate.backend.received.length;
    expect((await gate.ask('ann', target)).status).toBe(403);
    expect(gate.backend.received.length).toBe(before);
  });
  test('the same id twice is refused', async () => {
    expect((await gate.ask('ann', '/api/v1/models/model?id=mine&id=theirs')).status).toBe(400);
  });
  test('their own arrives', async () => {
    expect((await gate.ask('ann', '/api/v1/models/model?id=mine')).status).toBe(200);
  });
  test.each(['theirs', 'nothing'])('the picture of %s is the default one', async (id) => {
    const target = `/api/v1/models/model/profile/image?id=${id}&lang=en`;
    const answer = await gate.ask('ann', target, undefined, { redirect: 'manual' });
    expect([answer.status, answer.headers.get('location')]).toEqual([302, '/static/favicon.png']);
  });
});

const WHOLE = '{"data":[{"id":"A"},{"id":"F"},{"id":"other/one"}]}';
const sends =
  (status: number, headers: Record<string, string>, body: string | Buffer): RequestListener =>
  (_request: IncomingMessage, response: ServerResponse) =>
    void response.writeHead(status, headers).end(body);
const JSON_TYPE = { 'content-type': 'application/json' };

async function unreadable(): Promise<number> {
  const figure = /^modelgate_unreadable_answers_total\{shape="models"\} (\d+)$/;
  return Number((await gate.figures()).map((line) => figure.exec(line)?.[1]).find((count) => count !== undefined) ?? 0);
}

describe('an answer that cannot be read becomes an empty list', () => {
  test.each([
    ['coded though the client did not ask', JSON_TYPE, gzipSync(WHOLE), { 'content-encoding': 'gzip' }],
    ['coded twice', JSON_TYPE, brotliCompressSync(WHOLE), { 'content-encoding': 'gzip, br' }],
    ['coded without saying so', JSON_TYPE, gzipSync(WHOLE), {}],
    ['cut', JSON_TYPE, WHOLE.slice(0, -3), {}],
    ['a page', { 'content-type': 'text/html' }, `<script>${WHOLE}</script>`, {}],
    ['a list of another shape', JSON_TYPE, '[{"id":"F"}]', {}],
    ['an object where the list should be', JSON_TYPE, '{"data":{"F":{"id":"F"}}}', {}],
    ['a list under another key', JSON_TYPE, '{"models":[{"id":"F"}]}', {}],
    ['UTF-16', JSON_TYPE, Buffer.from(WHOLE, 'utf16le'), {}],
    ['JSON behind a mark', JSON_TYPE, `\ufeff${WHOLE}`, {}],
    ['NaN', JSON_TYPE, WHOLE.replace('{"id":"A"}', '{"id":"A","x":NaN}'), {}],
  ])('%s', async (_sentence, type, body, coding) => {
    answerWith(sends(200, { ...type, ...coding }, body));
    const before = await unreadable();
    const answer = await gate.ask('ann', '/api/models');
    expect([answer.status, await answer.json()]).toEqual([200, { object: 'list', data: [] }]);
    expect(await unreadable()).toBe(before + 1);
  });

  test('and fills no log: one line for each cause, without a stack, however often a client asks', async () => {
    answerWith(sends(200, JSON_TYPE, '"a text that is no list"'));
    const from = gate.lines.length;
    for (let time = 0; time < 20; time += 1) await (await gate.ask('ann', '/api/models')).arrayBuffer();
    const told = gate.lines.slice(from).filter(({ msg }) => msg !== 'request');
    expect(told).toMatchObject([
      { level: 'warn', list: 'models', path: '/api/models', cause: 'the answer is no object and no array' },
    ]);
    expect(JSON.stringify(told)).not.toMatch(/stack|no list"/);
  });

  test('entries in odd forms are dropped', async () => {
    answerWith(
      sends(
        200,
        JSON_TYPE,
        '{"data":["F","A",{"id":["F"]},{"id":"A","id":"F"},{"id":"\\u0046"},{"name":"F"},{"id":"A"},null]}',
      ),
    );
    expect(await (await gate.ask('ann', '/api/models')).json()).toEqual({ data: ['A', { id: 'A' }] });
  });

  test('a repeated list is filtered twice', async () => {
    answerWith(sends(200, JSON_TYPE, '{"data":[{"id":"A"}],"d\\u0061ta":[{"id":"F"}]}'));
    expect(await (await gate.ask('ann', '/api/models')).text()).toBe('{"data":[{"id":"A"}],"d\\u0061ta":[]}');
  });

  test('a part of an answer', async () => {
    answerWith(sends(206, { ...JSON_TYPE, 'content-range': 'bytes 10-49/50' }, WHOLE.slice(10)));
    const answer = await gate.ask('ann', '/api/models', undefined, { headers: { range: 'bytes=10-' } });
    expect(await answer.text()).not.toMatch(FORBIDDEN);
  });
});

describe('functions and groups', () => {
  const rows = [
    { id: 'F', type: 'pipe', name: 'x' },
    { id: 'A', type: 'pipe', name: 'x' },
    { id: 'tidy', type: 'filter', name: 'x' },
  ];
  const groups = [{ id: 'g', data: { config: { default_models: ['A', 'F'] } } }];
  test.each([
    ['/api/v1/functions/', rows, rows.slice(1)],
    ['/api/v1/groups/', groups, [{ id: 'g', data: { config: { default_models: ['A'] } } }]],
  ])('%s', async (target, all, left) => {
    answerWith(sends(200, JSON_TYPE, JSON.stringify(all)));
    expect(await (await gate.ask('ann', target)).json()).toEqual(left);
    expect(await (await gate.ask('adm', target)).json()).toEqual(all);
  });
});

describe('conditions and methods', () => {
  const ETAG = '"whole-list"';
  const conditional: RequestListener = (request, response) => {
    const matches = request.headers['if-none-match'] === ETAG;
    response.writeHead(matches ? 304 : 200, { ...JSON_TYPE, etag: ETAG }).end(matches ? undefined : WHOLE);
  };

  test("the backend's tag of the whole list is no tag of the filtered one", async () => {
    answerWith(conditional);
    const first = await gate.ask('ann', '/api/models');
    expect(await first.json()).toEqual({ data: [{ id: 'A' }] });
    expect(first.headers.get('etag')).toBeNull();
    const again = await gate.ask('ann', '/api/models', undefined, { headers: { 'if-none-match': ETAG } });
    expect([again.status, await again.json()]).toEqual([200, { data: [{ id: 'A' }] }]);
  });

  test('HEAD says no length that tells how long the list is', async () => {
    answerWith((_request, response) => void response.writeHead(200, { ...JSON_TYPE, 'content-length': 4711 }).end());
    const text = requestText('HEAD /api/models', [await gate.authorization('ann')]);
    const answer = await rawRequest(gate.port, text);
    expect([answer.status, answer.body]).toEqual([200, '']);
    expect(answer.field('content-length')).not.toBe('4711');
  });

  test.each([404, 500, 503])('an error %i of the backend passes as it is', async (status) => {
    answerWith(sends(status, JSON_TYPE, '{"detail":"no"}'));
    const answer = await gate.ask('ann', '/api/models');
    expect([answer.status, await answer.json()]).toEqual([status, { detail: 'no' }]);
  });
});

test('a refusal names what was asked for, and nothing else', async () => {
  const answer = await gate.ask('ann', '/api/chat/completions', { model: 'nothing-like-it', messages: [] });
  expect(await answer.text()).not.toMatch(/"F"|theirs|other\/one|acme|globex|\bA\b/);
});

test("the backend's own page passes where a release knows no such list", async () => {
  const page = '<!doctype html>\n<html><body>Open WebUI</body></html>';
  answerWith((_request, response) => void response.writeHead(200, { 'content-type': 'text/html' }).end(page));
  const answer = await gate.ask('ann', '/api/v1/models');
  expect([answer.status, await answer.text()]).toEqual([200, page]);
});
