/** Random policies: what the backend, operators and scripts may have left in the tables. */
import fc from 'fast-check';
import type { ProviderModel } from '../upstream/sample-backend/models.ts';
import { type Era, ERAS } from './database.ts';

/** What stands in `is_active`, before the column makes of it what its type says. */
type Flag = number | string | null;

export interface WorldUser {
  readonly id: string;
  /** Bytes are no text to SQLite, and so no role. */
  readonly role: string | Buffer | null;
  /** Written after the gate has started: nothing has linked the user to anything. */
  readonly late: boolean;
}

/** A row of `model`, with the models that its parameters name, said apart from them. */
export interface WorldRow {
  readonly id: string;
  readonly base: string | null;
  readonly params: unknown;
  readonly names: readonly string[];
  /** What the parameters name is no list of models that could be judged. */
  readonly opaque: boolean;
  readonly active: 0 | 1;
}

/** How the two tables are made: as in the guide, or by hand, where rows may repeat. */
export type Tables =
  { readonly kind: 'guide' } | { readonly kind: 'hand'; readonly flag: FlagColumn; readonly ids: IdColumn };

export interface World {
  readonly era: Era;
  readonly tables: Tables;
  readonly users: readonly WorldUser[];
  readonly members: readonly { readonly organization: string; readonly user: string; readonly active: Flag }[];
  readonly grants: readonly { readonly organization: string; readonly model: string; readonly active: Flag }[];
  /** Rows of mAI's `client_organizations`; without any there is no such table. */
  readonly switches: readonly { readonly organization: string; readonly active: 0 | 1 | null }[];
  /** Of the providers. */
  readonly models: readonly string[];
  /** Ids that presets may have. */
  readonly presets: readonly string[];
  /** The id of nothing. */
  readonly stranger: string;
  readonly rows: readonly WorldRow[];
  /** `prefix_id` of the connections. */
  readonly prefixes: readonly string[];
  /** Ids of the arenas that are configured. */
  readonly arenas: readonly string[];
  readonly adminAccess: 'organization' | 'all';
  /** `OPENROUTER_EXTERNAL_USER`, and whether it enrols. */
  readonly organization: { readonly id: string; readonly autoEnroll: boolean } | undefined;
}

/** Switched off: the store does not read these kinds yet (text `1`, generated columns, numbers and case in ids). */
export const EVERY_KIND_OF_COLUMN = true as boolean;

const FLAG_COLUMNS = ['INTEGER', 'REAL', 'NUMERIC', 'BOOLEAN', 'BLOB', 'absent'] as const;
const FLAG_COLUMNS_TO_COME = ['TEXT', 'generated', 'stored'] as const;
type FlagColumn = (typeof FLAG_COLUMNS)[number] | (typeof FLAG_COLUMNS_TO_COME)[number];

const ID_COLUMNS = ['TEXT', 'NUMERIC'] as const;
const ID_COLUMNS_TO_COME = ['TEXT COLLATE NOCASE'] as const;
type IdColumn = (typeof ID_COLUMNS)[number] | (typeof ID_COLUMNS_TO_COME)[number];

/** The same to a column of numbers, or to one without case: only one of each belongs to anything. */
const ORGANIZATIONS = ['acme', 'Acme', 'globex', '77', '077'];
const USERS = ['ann', 'Ann', 'bob', '42', 'eve', 'fay'];
/** Asked for, listed, granted and built upon. */
const MODELS = [
  ...['A', 'B', '4', 'open/x', 'open/y', 'a b', 'ü', 'x,y', 'open/x?y'],
  ...['open/../B', 'open/./x', '../B', 'open/..', 'open/...', '.../x', '@preset/x'],
  ...['mistral', 'mistral:latest', 'llama:3b', 'eu.A', 'eu.eu.A', 'eu.B', 'eu.open/x'],
  ...['arena-model', 'arena-model:x', 'duel', 'duel:1'],
];
const PRESETS = ['p', 'q', 'r', 'open/p', 'eu.p', 'b*', '*'];
const PATTERNS = ['*', 'open/*', 'o*', 'eu.*', 'mistral*', 'b*', 'arena*', 'p*', '.*', '@*', 'a *', 'Open/*', '**'];
/** Without an owner: granted by a prefix at most. */
const STRANGERS = ['a', 'OPEN/x', 'open/', 'nowhere', ' A', '__proto__', 'constructor'];

const someOf = (ids: readonly string[], count: number) =>
  fc.shuffledSubarray([...ids], { minLength: count, maxLength: count });
const oneOf = <T>(...values: readonly T[]) => fc.constantFrom(...values);

type Parameters = Pick<WorldRow, 'params' | 'names' | 'opaque'>;

const parametersThatName = (models: readonly string[]): fc.Arbitrary<Parameters> =>
  fc.tuple(oneOf(...models, 'p'), oneOf(...models), fc.nat({ max: 25 })).map(([one, other, die]) => {
    const named = (params: unknown, ...names: string[]) => ({ params, names, opaque: false });
    const opaque = (params: unknown) => ({ params, names: [], opaque: true });
    switch (die) {
      case 0:
        return named({ model: one }, one);
      case 1:
        return named({ models: [one, other] }, one, other);
      case 2:
        return named({ fallbacks: [{ model: one }] }, one);
      case 3:
        return named({ custom_params: { model: one } }, one);
      case 4:
        return named({ custom_params: { models: JSON.stringify([one, other]) } }, one, other);
      case 5:
        return named({ extra_body: { models: [one] }, temperature: 0.5 }, one);
      case 6:
        return named({ plugins: [{ id: 'web', model: one }] }, one);
      case 7:
        return opaque({ plugins: [{ id: 'fusion' }] });
      case 8:
        return opaque({ custom_params: { plugins: '[{"id":"auto-router"}]' } });
      case 9:
        return opaque({ provider: 'x' });
      case 10:
        return opaque({ tools: [{ type: 'openrouter:fusion' }] });
      case 11:
        return opaque({ preset: '@preset/x' });
      case 12:
        return named({ plugins: [{ id: 'web' }], provider: { order: ['x'] } });
      case 13:
        return named({ metadata: { model: one }, response_format: { json_schema: { model: other } } });
      case 14:
        return named(null);
      default:
        return named({ temperature: 0.5 });
    }
  });

type Row = readonly [id: string, base: string | null, parameters: Parameters, active: 0 | 1];
const toRow = ([id, base, parameters, active]: Row): WorldRow => ({ id, base, ...parameters, active });
const NAMES_NOTHING: Parameters = { params: {}, names: [], opaque: false };
const actives = oneOf<0 | 1>(1, 1, 0);

/** Mostly presets on what there is; some on each other, on themselves, and rows that only override a provider's model. */
function rowsOn(models: readonly string[], presets: readonly string[]): fc.Arbitrary<readonly WorldRow[]> {
  const parameters = parametersThatName(models);
  const bases = oneOf<string | null>(...models, ...models, ...presets);
  const overridden = oneOf<string | null>(null, null, null, models[0] ?? null);
  return fc
    .tuple(
      fc.array(fc.tuple(oneOf(...presets), bases, parameters, actives), { maxLength: 6 }),
      fc.array(fc.tuple(oneOf(...models), overridden, parameters, actives), { maxLength: 3 }),
      fc.array(oneOf(...models, ...presets), { maxLength: 1 }),
    )
    .map(([onOthers, overrides, onThemselves]) => [
      ...[...onOthers, ...overrides].map(toRow),
      ...onThemselves.map((id) => toRow([id, id, NAMES_NOTHING, 1])),
    ])
    .map((all) => [...new Map(all.map((row) => [row.id, row])).values()]);
}

const flags: fc.Arbitrary<Flag> = fc.oneof(
  { weight: 6, arbitrary: oneOf<Flag>(1) },
  {
    weight: 4,
    arbitrary: oneOf<Flag>(0, null, 2, -1, 0.5, 'true', 'yes', '', ...(EVERY_KIND_OF_COLUMN ? ['1', '0', ' 1'] : [])),
  },
);
const tables: fc.Arbitrary<Tables> = fc.oneof(
  fc.constant({ kind: 'guide' } as const),
  fc.record({
    kind: fc.constant('hand' as const),
    flag: oneOf(...FLAG_COLUMNS, ...(EVERY_KIND_OF_COLUMN ? FLAG_COLUMNS_TO_COME : [])),
    ids: oneOf(...ID_COLUMNS, ...(EVERY_KIND_OF_COLUMN ? ID_COLUMNS_TO_COME : [])),
  }),
);
const roles = fc.oneof(
  { weight: 5, arbitrary: oneOf<WorldUser['role']>('user', 'user', 'user', 'admin') },
  {
    weight: 2,
    arbitrary: oneOf<WorldUser['role']>('pending', 'banned', null, '', 'Pending', 'manager', Buffer.from('user')),
  },
);
const organization = oneOf('acme', 'acme', 'globex', 'globex', ...ORGANIZATIONS);

const worldOf = ([models, presets]: readonly [readonly string[], readonly string[]]): fc.Arbitrary<World> =>
  fc.record({
    era: oneOf(...ERAS),
    tables,
    users: fc
      .tuple(...USERS.map(() => roles))
      .map((all) => USERS.map((user, at) => ({ id: user, role: all[at] ?? 'user', late: at >= USERS.length - 2 }))),
    members: fc.array(fc.record({ organization, user: oneOf(...USERS), active: flags }), { maxLength: 9 }),
    grants: fc.array(
      fc.record({
        organization,
        model: fc.oneof(
          { weight: 3, arbitrary: oneOf(...models, ...presets) },
          { weight: 2, arbitrary: oneOf(...PATTERNS) },
        ),
        active: flags,
      }),
      { maxLength: 14 },
    ),
    switches: fc.uniqueArray(fc.record({ organization, active: oneOf<0 | 1 | null>(1, 1, null, 0) }), {
      selector: (one) => one.organization,
      maxLength: 3,
    }),
    models: fc.constant(models),
    presets: fc.constant(presets),
    stranger: oneOf(...STRANGERS),
    rows: rowsOn(models, presets),
    prefixes: oneOf<readonly string[]>([], ['eu'], ['eu', 'eu.eu']),
    arenas: oneOf<readonly string[]>([], ['duel'], ['duel:1']),
    adminAccess: oneOf<World['adminAccess']>('organization', 'organization', 'all'),
    organization: fc.option(fc.record({ id: oneOf('acme', 'globex', 'newcomers'), autoEnroll: fc.boolean() }), {
      nil: undefined,
    }),
  });

/** A few models each, so that grants, presets and parameters meet. */
export const worlds: fc.Arbitrary<World> = fc.tuple(someOf(MODELS, 6), someOf(PRESETS, 5)).chain(worldOf);

/** Every model that is asked for. */
export const askedIn = ({ models, presets, stranger }: World): readonly string[] => [...models, ...presets, stranger];

/** What the providers of a world list: Ollama's have tags, the arenas pick by chance. */
export const providerOf = ({ models, arenas }: World): readonly ProviderModel[] =>
  models.map((model) => ({
    id: model,
    name: model,
    owner: ['arena-model', ...arenas].includes(model) ? 'arena' : model.includes(':') ? 'ollama' : 'openai',
  }));
