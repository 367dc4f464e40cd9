/**
 * Who may import whom. A room of `src/` reaches only what stands in its row, one library lives in one room, and the
 * sizes that keep a file readable are kept. The table is the design: change it there first.
 */
import { globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const SRC = fileURLToPath(new URL('../src', import.meta.url));
const TEST = fileURLToPath(new URL('.', import.meta.url));

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
    values: [
      'admin',
      'enforcement',
      'identity',
      'provider-door',
      'limits',
      'openwebui',
      'policy',
      'reading',
      'store',
      'telemetry',
      'transport',
      'usage',
    ],
    types: ['config', 'errors.ts'],
    packages: ['hono', '@hono/node-server'],
  },
  // the decision, and whom and what it is about: pure, no I/O, no clock, no framework
  policy: { values: [], types: [], packages: [] },
  // which models a JSON document names: pure, one reader for requests, presets and saved chats
  references: { values: ['errors.ts', 'policy'], types: [], packages: [] },
  identity: {
    values: ['errors.ts', 'policy', 'references'],
    types: ['stage.ts', 'store', 'transport'],
    packages: ['jose', 'lru-cache'],
  },
  // long bodies in threads: which thread, whose turn, and what ends it
  reading: { values: ['errors.ts', 'references'], types: [], packages: [] },
  store: {
    values: ['errors.ts', 'policy', 'reading', 'references'],
    types: ['config'],
    packages: ['better-sqlite3', 'lru-cache', 'pg'],
  },
  enforcement: {
    values: ['errors.ts', 'identity', 'policy', 'reading', 'references', 'transport'],
    types: ['stage.ts', 'store', 'telemetry'],
    packages: ['hono', '@hono/node-server', 'lru-cache'],
  },
  // everything that is Open WebUI's: its routes, and what each does with models
  openwebui: {
    values: ['enforcement', 'errors.ts', 'policy', 'references'],
    types: ['stage.ts', 'store', 'telemetry', 'transport'],
    packages: [],
  },
  limits: {
    values: ['errors.ts', 'policy', 'transport'],
    types: ['config', 'stage.ts', 'telemetry', 'usage'],
    packages: ['hono', 'ioredis'],
  },
  // one exchange with the upstream: knows nothing of identity or policy
  transport: { values: ['errors.ts'], types: ['config'], packages: ['ipaddr.js', 'undici', 'ws'] },
  telemetry: {
    values: ['errors.ts', 'store'],
    types: ['config', 'policy', 'stage.ts', 'transport'],
    packages: ['pino', 'prom-client'],
  },
  config: { values: ['nearest.ts', 'policy'], types: [], packages: ['ipaddr.js', 'yaml', 'zod'] },
  admin: { values: ['transport'], types: ['config', 'store', 'telemetry'], packages: ['hono', '@hono/node-server'] },
  // between the backend and its providers: the same decision, no route of Open WebUI
  'provider-door': {
    values: [
      'enforcement',
      'errors.ts',
      'identity',
      'policy',
      'reading',
      'references',
      'telemetry',
      'transport',
      'usage',
    ],
    types: ['config', 'stage.ts', 'store'],
    packages: ['hono', '@hono/node-server', 'lru-cache'],
  },
  // what calls have used, what it costs, and how much is left: knows no HTTP
  usage: { values: ['errors.ts', 'policy', 'references', 'store'], types: ['config', 'transport'], packages: [] },
  // one operation on the backend's file; these four know no terminal
  'backend-file': {
    values: ['nearest.ts', 'references', 'store', 'transport'],
    types: ['config'],
    packages: [],
  },
  organizations: {
    values: ['backend-file', 'nearest.ts', 'policy', 'references', 'store', 'upkeep'],
    types: [],
    packages: [],
  },
  upkeep: { values: ['backend-file', 'store'], types: [], packages: [] },
  diagnosis: {
    values: ['backend-file', 'limits', 'policy', 'references', 'store', 'transport', 'upkeep', 'usage'],
    types: ['config'],
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
      'provider-door',
      'store',
      'telemetry',
      'upkeep',
      'usage',
    ],
    types: [],
    packages: ['@commander-js/extra-typings', 'csv-stringify', 'string-width'],
  },
  'errors.ts': { values: [], types: [], packages: [] },
  // a stage by what it needs of the scope, so that no room needs to know the whole of it
  'stage.ts': { values: [], types: [], packages: ['hono'] },
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

const textOf = (path: string) => readFileSync(path, 'utf8');
const linesOf = (file: string) => textOf(join(SRC, file)).split('\n').length - 1;

const EXPORT =
  /^export\s+(?:declare\s+)?(?:abstract\s+)?(?:async\s+)?(?:const|let|function\*?|class|interface|type|enum)\s+(\w+)/gm;
const VALUE_EXPORT = /^export\s+(?:abstract\s+)?(?:async\s+)?(?:const|function\*?|class)\s+(\w+)/gm;
/** Where a thread begins, and what is loaded only when it is called. */
const ENTRIES = /-thread\.ts$|^cli\/commands\//;

/** Who takes what: static and dynamic imports of `src/` and `test/`. */
const uses = [SRC, TEST].flatMap((root) =>
  globSync('**/*.ts', { cwd: root }).flatMap((name) => {
    const path = join(root, name);
    const to = (from = '') => relative(SRC, normalize(join(dirname(path), from)));
    const fixed = textOf(path).matchAll(
      /(?:import|export)\s+(?:type\s+)?(?:\{([^}]*)\}|\*\s+as\s+\w+)\s+from\s+'(\.[^']+)'/g,
    );
    const late = textOf(path).matchAll(
      /(?:const\s+\{([^}]*)\}\s*=\s*await\s+)?import\(\s*'(\.[^']+)'\s*\)(?:\)\.(\w+))?/g,
    );
    return [...fixed, ...late].map(([, list, from, only]) => ({
      file: relative(SRC, path),
      isTest: root === TEST,
      target: to(from),
      names: list === undefined ? (only === undefined ? ('all' as const) : [only]) : namesIn(list),
    }));
  }),
);

function namesIn(list: string): string[] {
  return list.split(',').map(
    (one) =>
      one
        .trim()
        .replace(/^type /, '')
        .split(/ as |:/)[0]
        ?.trim() ?? '',
  );
}

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

describe('every export', () => {
  const declared = files.flatMap((file) =>
    [...textOf(join(SRC, file)).matchAll(EXPORT)].map(([, name = '']) => ({ file, name })),
  );
  const users = (file: string, name: string) =>
    uses.filter(({ target, names }) => target === file && (names === 'all' || names.includes(name)));

  test('has a user in src: tests go through the doors that the product uses', () => {
    const unused = declared.filter(({ file, name }) => users(file, name).every(({ isTest }) => isTest));
    expect(unused.map(({ file, name }) => `${file} ${name}`)).toEqual([]);
  });
});

test('a file of one function that one other file of its room uses is part of that file, where it fits', () => {
  const lone = files.filter((file) => {
    const exports = [...textOf(join(SRC, file)).matchAll(VALUE_EXPORT)];
    const [user, ...others] = [
      ...new Set(uses.filter((use) => use.target === file && !use.isTest).map((use) => use.file)),
    ];
    if (exports.length !== 1 || user === undefined || others.length > 0 || roomOf(user) !== roomOf(file)) return false;
    return linesOf(file) + linesOf(user) <= 250 && !ENTRIES.test(file);
  });
  expect(lone).toEqual([]);
});

describe('no circle', () => {
  // types, too: what two files know of each other is read together
  const local = imports.filter(isLocal);
  const circles = (edges: readonly (readonly [from: string, to: string])[]) => {
    const reached = new Map<string, Set<string>>();
    for (const [from, to] of edges) reached.set(from, (reached.get(from) ?? new Set()).add(to));
    const reaches = (from: string, goal: string, seen = new Set<string>()): boolean =>
      [...(reached.get(from) ?? [])].some(
        (next) => next === goal || (!seen.has(next) && reaches(next, goal, seen.add(next))),
      );
    return [...reached.keys()].filter((one) => reaches(one, one));
  };
  test('of files', () => {
    expect(circles(local.map(({ file, target }) => [file, target]))).toEqual([]);
  });
  test('of rooms', () => {
    const between = local.map(({ room, target }) => [room, roomOf(target)] as const);
    expect(circles(between.filter(([from, to]) => from !== to))).toEqual([]);
  });
});

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
