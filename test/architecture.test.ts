/**
 * Who may import whom. A room of `src/` reaches only what stands in its row, one library lives in one room, and the
 * sizes that keep a file readable are kept. The table is the design: change it there first.
 */
import { globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const SRC = fileURLToPath(new URL('../src', import.meta.url));

interface Row {
  /** Rooms whose values it may import, besides its own. */
  readonly values: readonly string[];
  /** Rooms of which it may know the types alone. */
  readonly types: readonly string[];
  readonly packages: readonly string[];
}

const TABLE: Record<string, Row> = {
  // the request, in order: which parts there are, and the one place where the order of the stages stands
  gate: {
    values: ['admin', 'enforcement', 'identity', 'limits', 'openwebui', 'reading', 'store', 'telemetry', 'transport'],
    types: ['config', 'errors.ts', 'policy'],
    packages: ['hono', '@hono/node-server'],
  },
  // the decision: pure, no I/O, no clock, no framework
  policy: { values: [], types: ['identity'], packages: [] },
  // which models a JSON document names: pure, one reader for requests, presets and saved chats
  references: { values: ['errors.ts', 'policy'], types: [], packages: [] },
  identity: {
    values: ['errors.ts', 'references'],
    types: ['gate', 'store', 'transport'],
    packages: ['hono', 'jose', 'lru-cache'],
  },
  // long bodies in threads: which thread, whose turn, and what ends it
  reading: { values: ['errors.ts', 'references'], types: [], packages: [] },
  store: {
    values: ['errors.ts', 'identity', 'policy', 'reading', 'references'],
    types: [],
    packages: ['better-sqlite3', 'lru-cache'],
  },
  enforcement: {
    values: ['errors.ts', 'identity', 'policy', 'reading', 'references', 'transport'],
    types: ['gate', 'store', 'telemetry'],
    packages: ['hono', '@hono/node-server', 'lru-cache'],
  },
  // everything that is Open WebUI's: its routes, and what each does with models
  openwebui: {
    values: ['enforcement', 'errors.ts', 'policy', 'references'],
    types: ['gate', 'identity', 'store', 'telemetry', 'transport'],
    packages: ['hono'],
  },
  limits: {
    values: ['errors.ts', 'transport'],
    types: ['config', 'gate', 'identity', 'policy', 'telemetry'],
    packages: ['hono'],
  },
  // one exchange with the upstream: knows nothing of identity or policy
  transport: { values: ['errors.ts'], types: ['config'], packages: ['ipaddr.js', 'undici', 'ws'] },
  telemetry: {
    values: ['errors.ts', 'store'],
    types: ['config', 'gate', 'identity', 'policy', 'transport'],
    packages: ['hono', 'pino', 'prom-client'],
  },
  config: { values: ['nearest.ts'], types: [], packages: ['ipaddr.js', 'yaml', 'zod'] },
  admin: { values: ['transport'], types: ['config', 'store', 'telemetry'], packages: ['hono', '@hono/node-server'] },
  // one operation on the backend's file; these four know no terminal
  'backend-file': {
    values: ['nearest.ts', 'references', 'store', 'transport'],
    types: [],
    packages: [],
  },
  organizations: {
    values: ['backend-file', 'identity', 'nearest.ts', 'policy', 'store', 'upkeep'],
    types: [],
    packages: [],
  },
  upkeep: { values: ['backend-file', 'store'], types: [], packages: [] },
  diagnosis: {
    values: ['backend-file', 'identity', 'policy', 'references', 'store', 'transport', 'upkeep'],
    types: [],
    packages: [],
  },
  demo: { values: ['backend-file', 'store'], types: [], packages: ['@hono/node-server', 'hono'] },
  cli: {
    values: [
      'backend-file',
      'config',
      'demo',
      'diagnosis',
      'gate',
      'nearest.ts',
      'organizations',
      'policy',
      'store',
      'telemetry',
      'upkeep',
    ],
    types: [],
    packages: ['@commander-js/extra-typings', 'csv-stringify', 'string-width'],
  },
  'errors.ts': { values: [], types: [], packages: [] },
  'nearest.ts': { values: [], types: [], packages: ['fastest-levenshtein'] },
  'main.ts': { values: ['cli'], types: [], packages: [] },
};

/** A library that more than one room may use: the language of the stages, of listeners, of caches, of addresses. */
const SHARED_PACKAGES = ['@hono/node-server', 'hono', 'ipaddr.js', 'lru-cache'];

interface Import {
  readonly file: string;
  readonly room: string;
  readonly target: string;
  readonly typeOnly: boolean;
}

const roomOf = (file: string) => file.split('/')[0] ?? file;
const files = globSync('**/*.ts', { cwd: SRC });
const imports = files.flatMap(readImports);

function readImports(file: string): Import[] {
  const text = readFileSync(join(SRC, file), 'utf8');
  const statements = text.matchAll(/^(?:import|export)\s+(type\s+)?[^;']*?from\s+'([^']+)'|\bimport\('([^']+)'\)/gm);
  return [...statements].map(([, type, from, dynamic]) => {
    const target = from ?? dynamic ?? '';
    const local = target.startsWith('.') ? relative(SRC, join(SRC, normalize(join(dirname(file), target)))) : target;
    return { file, room: roomOf(file), target: local, typeOnly: type !== undefined };
  });
}

/** Without its comments. */
const codeOf = (file: string) => readFileSync(join(SRC, file), 'utf8').replace(/\/\*[^]*?\*\/|\/\/.*$/gm, '');

const isLocal = ({ target }: Import) => target.endsWith('.ts');
const isPackage = (one: Import) => !isLocal(one) && !one.target.startsWith('node:') && !one.target.startsWith('..');
const packageOf = (target: string) => target.split('/', target.startsWith('@') ? 2 : 1).join('/');

test('the reader of import statements finds them', () => {
  expect(files.length).toBeGreaterThan(40);
  expect(imports.filter(isLocal).length).toBeGreaterThan(files.length);
});

test.each(Object.keys(TABLE))('%s imports only what its row allows', (room) => {
  const { values, types, packages } = TABLE[room]!;
  const strangers = imports
    .filter((one) => one.room === room)
    .filter((one) => {
      if (isPackage(one)) return !packages.includes(packageOf(one.target));
      if (!isLocal(one) || roomOf(one.target) === room) return false;
      const allowed = one.typeOnly ? [...values, ...types] : values;
      return !allowed.includes(roomOf(one.target));
    })
    .map(({ file, target, typeOnly }) => `${file} imports ${typeOnly ? 'the type of ' : ''}${target}`);
  expect(strangers).toEqual([]);
});

test('every file of src stands in a room of the table', () => {
  expect([...new Set(files.map(roomOf))].filter((room) => !(room in TABLE))).toEqual([]);
});

test.each(['enforcement', 'identity', 'limits', 'policy', 'references', 'transport'])(
  '%s knows no route of Open WebUI and no file of the room that does',
  (room) => {
    const own = files.filter((file) => roomOf(file) === room);
    const routes = own.flatMap((file) => codeOf(file).match(/['"`/](?:\\?\/)(?:api|ollama|openai|v1)\b[^'"`]*/g) ?? []);
    expect(routes).toEqual([]);
    expect(imports.filter((one) => one.room === room && roomOf(one.target) === 'openwebui')).toEqual([]);
  },
);

test('a library lives in one room', () => {
  const rooms = new Map<string, Set<string>>();
  for (const one of imports.filter(isPackage)) {
    const name = packageOf(one.target);
    if (!SHARED_PACKAGES.includes(name)) rooms.set(name, (rooms.get(name) ?? new Set()).add(one.room));
  }
  expect([...rooms].filter(([, where]) => where.size > 1).map(([name]) => name)).toEqual([]);
});

test('only the edge of the process touches its environment, its words and its end', () => {
  const users = files.filter((file) => /\bprocess\.(?:env|argv|exit)\b/.test(codeOf(file)));
  expect(users).toEqual(['main.ts']);
});

describe('names', () => {
  test('say what is inside', () => {
    expect(
      files.filter((file) => /(?:^|\/)(?:utils?|helpers?|common|manager|service|handler|misc|index)\b/.test(file)),
    ).toEqual([]);
  });
  test('are nouns or verbs in kebab case', () => {
    expect(files.filter((file) => !/^(?:[a-z0-9-]+\/)*[a-z0-9-]+\.ts$/.test(file))).toEqual([]);
  });
});
