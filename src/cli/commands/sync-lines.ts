/** A plan of `model sync` for eyes, and for programs. */
import { quoted } from '../../backend-file/text.ts';
import type { LeftOut, Owner } from '../../organizations/catalogue.ts';
import type { SyncPlan } from '../../organizations/sync.ts';
import { counted, printable } from '../format.ts';
import type { Emphasis } from '../report.ts';
import { emphasize } from '../report.ts';
import type { Terminal } from '../terminal.ts';

/** What will be written line by line, what stays in counts. */
export function describePlan(terminal: Terminal, plan: SyncPlan): string {
  const changed = (['allow', 'switchOn', 'switchOff'] as const).flatMap((part) =>
    plan[part].map((id) => line(terminal, MARKS[part], id)),
  );
  const staying = [
    ...firstFew(terminal, MARKS.staysOff, plan.staysOff),
    ...byPattern(plan).map(([by, count]) =>
      line(terminal, MARKS.covered, by, `covers ${counted(count, 'model')}: no row needed`),
    ),
    ...firstFew(terminal, MARKS.notInCatalogue, plan.notInCatalogue),
    ...firstFew(terminal, MARKS.uncertain, plan.uncertain),
  ];
  return [...changed, ...staying, `${summary(plan)}\n`].join('');
}

interface Mark {
  readonly sign: string;
  readonly colour: Emphasis;
  readonly meaning: string;
}

const MARKS = {
  allow: { sign: '+', colour: 'green', meaning: '' },
  switchOn: { sign: '~', colour: 'green', meaning: 'switched on again' },
  switchOff: { sign: '-', colour: 'red', meaning: '' },
  staysOff: { sign: '=', colour: 'dim', meaning: 'off, and stays off (--switch-on would switch it on)' },
  covered: { sign: '=', colour: 'dim', meaning: '' },
  notInCatalogue: {
    sign: '=',
    colour: 'dim',
    meaning: 'not in the catalogue; stays on (--remove would switch it off)',
  },
  uncertain: { sign: '=', colour: 'dim', meaning: 'not in the catalogue, which may be incomplete; stays on' },
} as const satisfies Record<string, Mark>;

function line(terminal: Terminal, { sign, colour, meaning }: Mark, id: string, said = meaning): string {
  const text = `${sign} ${printable(id)}${said === '' ? '' : `  ${said}`}`;
  return `${emphasize(terminal, colour, text)}\n`;
}

/** What stays as it is, as far as anybody reads it; JSON has all. */
function firstFew(terminal: Terminal, mark: Mark, ids: readonly string[]): readonly string[] {
  const shown = ids.length > FEW + 1 ? ids.slice(0, FEW) : ids;
  const rest = ids.length - shown.length;
  const more = rest > 0 ? [line(terminal, mark, `… and ${rest.toLocaleString('en')} more`)] : [];
  return [...shown.map((id) => line(terminal, mark, id)), ...more];
}

const FEW = 10;

function byPattern({ covered }: SyncPlan): readonly (readonly [pattern: string, count: number])[] {
  const counts = new Map<string, number>();
  for (const { by } of covered) counts.set(by, (counts.get(by) ?? 0) + 1);
  return [...counts];
}

function summary({ allow, switchOn, switchOff, unchanged, covered, staysOff }: SyncPlan): string {
  const parts = [`${allow.length.toLocaleString('en')} to allow`];
  if (switchOn.length > 0) parts.push(`${switchOn.length.toLocaleString('en')} to switch on again`);
  parts.push(`${switchOff.length.toLocaleString('en')} to switch off`);
  const same = unchanged.length + covered.length;
  parts.push(`${same.toLocaleString('en')} allowed already`);
  if (staysOff.length > 0) parts.push(`${staysOff.length.toLocaleString('en')} off and staying off`);
  return `${parts.join(', ')}.`;
}

export type CatalogueSource = 'table' | 'config' | 'live';

/** What an operator should know about the catalogue itself. */
export function notesOn(source: CatalogueSource, { catalogue, switchOff }: SyncPlan): readonly string[] {
  const { models, leftOut, owners, gaps } = catalogue;
  const left = Object.entries(LEFT_OUT).flatMap(([why, [one, many, remedy]]) => {
    const ids = [...leftOut].filter(([, reason]) => reason === why).map(([id]) => id);
    return ids.length === 0 ? [] : [`Left out: ${counted(ids.length, one, many)} (${some(ids, owners)})${remedy}.`];
  });
  const empty =
    models.length === 0 ? ['The catalogue is empty: --from table, config and live look at different places.'] : [];
  const partial =
    source === 'table' && switchOff.length > 0
      ? [
          'The table has a row for a model only if somebody has edited it in the backend: what is switched off here may be there all the same. --from live knows.',
        ]
      : [];
  return [...empty, ...left, ...new Set(gaps.map(({ why }) => why)), ...partial];
}

const LEFT_OUT: Readonly<Record<LeftOut, readonly [one: string, many: string, remedy: string]>> = {
  preset: ['preset', 'presets', '; a preset works as soon as its base is allowed, and --presets allows it itself'],
  arena: [
    'arena model',
    'arena models',
    ', because an arena picks any of its members; to allow it all the same: `modelgate model allow ID`',
  ],
  switched_off: ['model that is switched off in the backend', 'models that are switched off in the backend', ''],
  unusable: [
    'id that cannot be granted',
    'ids that cannot be granted',
    ', because no request can name it or it would be read as a pattern',
  ],
  of_user: [
    'model that a user who is no admin has made',
    'models that users who are no admins have made',
    '; to allow one all the same: `modelgate model allow ID`',
  ],
  of_organization: [
    'private preset of another organization',
    'private presets of other organizations',
    '; to allow one all the same: `modelgate model allow ID`',
  ],
};

const NAMED = 3;

function some(ids: readonly string[], owners: ReadonlyMap<string, Owner>): string {
  const whose = (id: string): string => {
    const owner = owners.get(id);
    if (owner === undefined) return '';
    return ` of ${quoted('user' in owner ? (owner.user.email ?? owner.user.id) : owner.organization)}`;
  };
  const more = ids.length > NAMED ? `, and ${(ids.length - NAMED).toLocaleString('en')} more` : '';
  return `${ids
    .slice(0, NAMED)
    .map((id) => `${quoted(id)}${whose(id)}`)
    .join(', ')}${more}`;
}

/** @param facts what the plan does not know: what was asked for, and what became of it */
export function planToJson(plan: SyncPlan, facts: object): unknown {
  const { catalogue } = plan;
  const leftOut = (why: LeftOut) => [...catalogue.leftOut].filter(([, reason]) => reason === why).map(([id]) => id);
  return {
    ...facts,
    created: plan.isNew,
    allow: plan.allow,
    switch_on: plan.switchOn,
    switch_off: plan.switchOff,
    stays_off: plan.staysOff,
    covered: plan.covered,
    unchanged: plan.unchanged,
    not_in_catalogue: plan.notInCatalogue,
    uncertain: plan.uncertain,
    left_out: {
      presets: leftOut('preset'),
      arena: leftOut('arena'),
      switched_off: leftOut('switched_off'),
      unusable: leftOut('unusable'),
      of_users: leftOut('of_user'),
      of_organizations: leftOut('of_organization'),
    },
    owners: Object.fromEntries(catalogue.owners),
    gaps: [...new Set(catalogue.gaps.map(({ why }) => why))],
  };
}
