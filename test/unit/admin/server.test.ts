import { describe, expect, onTestFinished, test } from 'vitest';
import { createAdminServer, createReadiness } from '../../../src/admin/server.ts';
import { createRecentDecisions } from '../../../src/telemetry/recent-decisions.ts';

type ReadinessParts = Parameters<typeof createReadiness>[0];

const parts: ReadinessParts = {
  version: '1.2.3',
  mode: () => 'enforce',
  bypass: undefined,
  storeHealth: () =>
    Promise.resolve({ readable: true, ageMs: 12.4, missing: [], problem: undefined, writeProblem: undefined }),
  ledger: undefined,
  redis: undefined,
  upstreamProblem: () => Promise.resolve(undefined),
  identityProblem: () => undefined,
  isDraining: () => false,
};

const adminParts = (more: Partial<ReadinessParts>, errors: Error[]) => ({
  readiness: createReadiness({ ...parts, ...more }),
  decisions: createRecentDecisions((text) => text),
  metrics: { exposition: () => Promise.resolve({ contentType: 'text/plain; version=0.0.4', text: 'x 1\n' }) },
  reportError: (error: Error) => errors.push(error),
});

/** A listener for one request at a time, closed after each. */
function appOf(more: Partial<ReadinessParts> = {}, errors: Error[] = []) {
  return {
    async request(path: string, init: RequestInit = {}): Promise<Response> {
      const server = createAdminServer({ ...adminParts(more, errors), address: { host: '127.0.0.1', port: 0 } });
      try {
        const { url } = await server.listen();
        const answer = await fetch(url + path, init);
        return new Response(await answer.text(), answer);
      } finally {
        await server.close();
      }
    },
  };
}

describe('a decision', () => {
  test('that is not kept is a 404 that says since when they are, and no id is a 400', async () => {
    const gone = await appOf().request('/decisions/d-0123456789');
    expect(gone.status).toBe(404);
    expect(await gone.json()).toMatchObject({ why: 'gone', kept: 0, since: expect.stringMatching(/Z$/) as string });
    const malformed = await appOf().request('/decisions/nonsense');
    expect(malformed.status).toBe(400);
    expect(await malformed.json()).toMatchObject({ why: 'malformed' });
  });
});

describe('the admin listener', () => {
  test('says that the process is alive, whatever else is not', async () => {
    const response = await appOf({ upstreamProblem: () => Promise.resolve('it is away') }).request('/healthz');
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({ alive: true });
  });

  test('answers a browser that has 60 KB of cookies for the host', async () => {
    const server = createAdminServer({ ...adminParts({}, []), address: { host: '127.0.0.1', port: 0 } });
    onTestFinished(() => server.close());
    const { url } = await server.listen();
    const response = await fetch(`${url}/healthz`, { headers: { cookie: `a=${'a'.repeat(60_000)}` } });
    expect(response.status).toBe(200);
  });

  test('says that it is ready, and how it is switched', async () => {
    const response = await appOf().request('/readyz');
    expect(response.status).toBe(200);
    expect(response.headers.get('cache-control')).toBe('no-store');
    expect(await response.json()).toEqual({
      ready: true,
      draining: false,
      mode: 'enforce',
      bypass: null,
      database: { readable: true, age_ms: 12, missing: [], problem: null, write_problem: null },
      upstream: { reachable: true, problem: null },
      ledger: null,
      redis: null,
      identity: { problem: null },
      version: '1.2.3',
    });
  });

  test.each(['/healthz', '/readyz', '/metrics', '/nothing'])(
    'sends %s as no page, and to no other site',
    async (path) => {
      const { headers } = await appOf().request(path);
      expect(headers.get('x-content-type-options')).toBe('nosniff');
      expect(headers.get('x-frame-options')).toBe('DENY');
      expect(headers.get('content-security-policy')).toBe("default-src 'none'; frame-ancestors 'none'");
      expect(headers.get('cross-origin-resource-policy')).toBe('same-origin');
      expect(headers.has('server')).toBe(false);
    },
  );

  test.each<[string, Partial<ReadinessParts>, object]>([
    [
      'the database cannot be read',
      {
        storeHealth: () =>
          Promise.resolve({
            readable: false,
            ageMs: 40_000,
            missing: [],
            problem: 'SQLITE_BUSY: locked',
            writeProblem: undefined,
          }),
      },
      { database: { readable: false, age_ms: 40_000, problem: 'SQLITE_BUSY: locked' } },
    ],
    [
      'the backend is away',
      { upstreamProblem: () => Promise.resolve('it is away') },
      { upstream: { reachable: false, problem: 'it is away' } },
    ],
    ['it is shutting down', { isDraining: () => true }, { draining: true }],
  ])('answers 503 while %s', async (_name, more, state) => {
    const response = await appOf(more).request('/readyz');
    expect(response.status).toBe(503);
    expect(await response.json()).toMatchObject({ ready: false, ...state });
  });

  test('is ready with things missing in the database, and names them', async () => {
    const missing = ['table organization_models'];
    const response = await appOf({
      storeHealth: () =>
        Promise.resolve({ readable: true, ageMs: 0, missing, problem: undefined, writeProblem: undefined }),
    }).request('/readyz');
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({ database: { missing } });
  });

  test('is ready where nothing can be written, and where no user who signs in is known, and says so', async () => {
    const response = await appOf({
      storeHealth: () =>
        Promise.resolve({ readable: true, ageMs: 0, missing: [], problem: undefined, writeProblem: 'full' }),
      identityProblem: () => 'another key',
    }).request('/readyz');
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({
      database: { problem: null, write_problem: 'full' },
      identity: { problem: 'another key' },
    });
  });

  test.each([
    ['refuse', 'What runs a model is refused (503). Make room.'],
    ['pass', 'What runs a model goes on, and what it uses is in the log alone. Make room.'],
  ] as const)(
    'is ready while no usage can be written (%s), and says since when and what to do',
    async (whenDown, remedy) => {
      const problem = { problem: 'SQLITE_FULL: the disk is full', remedy: 'Make room.', forMs: 60_000 };
      const response = await appOf({ ledger: { state: () => ({ problem, whenDown }) } }).request('/readyz');
      expect(response.status).toBe(200);
      const { ledger } = (await response.json()) as { ledger: Record<string, unknown> };
      expect(ledger).toMatchObject({ writable: false, problem: 'SQLITE_FULL: the disk is full' });
      expect(ledger['remedy']).toBe(remedy);
      expect(Math.abs(Date.now() - 60_000 - Date.parse(String(ledger['since'])))).toBeLessThan(10_000);
    },
  );

  test('has nothing to say of usage that can be written', async () => {
    const response = await appOf({ ledger: { state: () => ({ problem: undefined, whenDown: 'refuse' }) } }).request(
      '/readyz',
    );
    expect(await response.json()).toMatchObject({
      ledger: { writable: true, problem: null, since: null, remedy: null },
    });
  });

  test('names the switch that turns the gate off', async () => {
    const response = await appOf({ bypass: 'ENABLE_MODEL_FILTER' }).request('/readyz');
    expect(await response.json()).toMatchObject({ bypass: 'ENABLE_MODEL_FILTER' });
  });

  test('serves the metrics with their content type', async () => {
    const response = await appOf().request('/metrics');
    expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4');
    expect(await response.text()).toBe('x 1\n');
  });

  test.each([
    ['POST', '/'],
    ['GET', '/api/models'],
    ['POST', '/readyz'],
  ])('has nothing else: %s %s is 404', async (method, path) => {
    const response = await appOf().request(path, { method });
    expect(response.status).toBe(404);
    expect(await response.json()).toHaveProperty('error');
  });

  const BROWSER = 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8';

  test('shows a browser the state in words, with links and nothing that runs or loads', async () => {
    const problem = 'SQLITE_BUSY: locked by <pid 8>';
    const response = await appOf({
      storeHealth: () =>
        Promise.resolve({ readable: false, ageMs: 40_000, missing: [], problem, writeProblem: undefined }),
    }).request('/', { headers: { accept: BROWSER } });
    const page = await response.text();
    expect([response.status, response.headers.get('content-type')]).toEqual([200, 'text/html; charset=UTF-8']);
    for (const path of ['/healthz', '/readyz', '/metrics']) expect(page).toContain(`<a href="${path}">`);
    expect(page).toContain('Not ready');
    expect(page).toContain('SQLITE_BUSY: locked by &lt;pid 8&gt;');
    expect(page).not.toMatch(/<script|<style|<img|<link| on\w+=/i);
    const { headers } = response;
    expect([headers.get('content-security-policy'), headers.get('x-frame-options'), headers.get('vary')]).toEqual([
      "default-src 'none'; frame-ancestors 'none'",
      'DENY',
      'Accept',
    ]);
  });

  test.each([
    ['enforces', {}, 'Ready', 'enforcing'],
    ['only reports', { mode: () => 'report' as const }, 'Ready', 'MODELGATE_MODE=report'],
    ['is bypassed', { bypass: 'ENABLE_MODEL_FILTER' as const }, 'Ready', 'let through (ENABLE_MODEL_FILTER)'],
    ['knows no user who signs in', { identityProblem: () => 'The key is another.' }, 'Ready', 'The key is another.'],
    ['shuts down', { isDraining: () => true }, 'Not ready: it is shutting down', 'modelgate doctor'],
  ])('shows a browser that the gate %s', async (_name, more, state, detail) => {
    const response = await appOf(more).request('/', { headers: { accept: BROWSER } });
    const page = await response.text();
    expect(page).toContain(`<strong>${state}</strong>`);
    expect(page).toContain(detail);
  });

  test.each(['*/*', 'application/json', ''])('gives its paths as JSON to who accepts "%s"', async (accept) => {
    const response = await appOf().request('/', accept === '' ? {} : { headers: { accept } });
    expect(response.status).toBe(200);
    expect(Object.keys(((await response.json()) as { paths: object }).paths)).toEqual([
      '/healthz',
      '/readyz',
      '/metrics',
    ]);
  });

  test('tells the log, not the caller, what went wrong', async () => {
    const errors: Error[] = [];
    const response = await appOf(
      {
        storeHealth: () => {
          throw new Error('inner detail');
        },
      },
      errors,
    ).request('/readyz');
    expect(response.status).toBe(500);
    expect(await response.text()).not.toContain('inner detail');
    expect(errors.map((error) => error.message)).toEqual(['inner detail']);
  });
});

describe('readiness', () => {
  test('asks the backend at most once a second', async () => {
    let asked = 0;
    let time = 0;
    const readiness = createReadiness(
      {
        ...parts,
        upstreamProblem: () => {
          asked += 1;
          return Promise.resolve(undefined);
        },
      },
      () => time,
    );
    await Promise.all([readiness(), readiness()]);
    time = 999;
    await readiness();
    expect(asked).toBe(1);
    time = 1_000;
    await readiness();
    expect(asked).toBe(2);
  });
});
