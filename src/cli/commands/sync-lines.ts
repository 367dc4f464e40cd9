/** A plan of `model sync` for eyes. */
import { quoted } from '../../backend-file/text.ts';
import { type LeftOut, LEFT_OUT } from '../../organizations/catalogue.ts';
import type { SyncPlan } from '../../organizations/sync.ts';
import { type Emphasis, printable, counted, emphasize } from '../report.ts';
import type { Terminal } from '../terminal.ts';

/** @returns a line for each change, the first of those that stay, and a summary */
export function describePlan(terminal: Terminal, { record }: SyncPlan): string {
  const changed = (['allow', 'switch_on', 'switch_off'] as const).flatMap((part) =>
    record[part].map((id) => line(terminal, MARKS[part], id)),
  );
  const staying = [
    ...firstFew(terminal, MARKS.stays_off, record.stays_off),
    ...byPattern(record).map(([by, count]) =>
      line(terminal, MARKS.covered, by, `covers ${counted(count, 'model')}: no row needed`),
    ),
    ...firstFew(terminal, MARKS.not_in_catalogue, record.not_in_catalogue),
    ...firstFew(terminal, MARKS.uncertain, record.uncertain),
  ];
  return [...changed, ...staying, `${summary(record)}\n`].join('');
}

interface Mark {
  readonly sign: string;
  readonly colour: Emphasis;
  readonly meaning: string;
}

const MARKS = {
  allow: { sign: '+', colour: 'green', meaning: '' },
  switch_on: { sign: '~', colour: 'green', meaning: 'switched on again' },
  switch_off: { sign: '-', colour: 'red', meaning: '' },
  stays_off: { sign: '=', colour: 'dim', meaning: 'off, and stays off (--switch-on would switch it on)' },
  covered: { sign: '=', colour: 'dim', meaning: '' },
  not_in_catalogue: {
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

/** The first of those that stay as they are; JSON has all. */
function firstFew(terminal: Terminal, mark: Mark, ids: readonly string[]): readonly string[] {
  const shown = ids.length > FEW + 1 ? ids.slice(0, FEW) : ids;
  const rest = ids.length - shown.length;
  const more = rest > 0 ? [line(terminal, mark, `… and ${rest.toLocaleString('en')} more`)] : [];
  return [...shown.map((id) => line(terminal, mark, id)), ...more];
}

const FEW = 10;

function byPattern({ covered }: Differences): readonly (readonly [pattern: string, count: number])[] {
  const counts = new Map<string, number>();
  for (const { by } of covered) counts.set(by, (counts.get(by) ?? 0) + 1);
  return [...counts];
}

function summary({ allow, switch_on, switch_off, unchanged, covered, stays_off }: Differences): string {
  const parts = [`${allow.length.toLocaleString('en')} to allow`];
  if (switch_on.length > 0) parts.push(`${switch_on.length.toLocaleString('en')} to switch on again`);
  parts.push(`${switch_off.length.toLocaleString('en')} to switch off`);
  parts.push(`${(unchanged.length + covered.length).toLocaleString('en')} allowed already`);
  if (stays_off.length > 0) parts.push(`${stays_off.length.toLocaleString('en')} off and staying off`);
  return `${parts.join(', ')}.`;
}

type Differences = SyncPlan['record'];

/** Where a catalogue is read. */
export const SOURCES = ['table', 'config', 'live'] as const;

export type CatalogueSource = (typeof SOURCES)[number];

/** @returns sentences on the catalogue itself: what was left out of it, and what it may lack */
export function notesOn(source: CatalogueSource, { record, isEmpty }: SyncPlan): readonly string[] {
  const { left_out: leftOut, owners, gaps, switch_off } = record;
  const left = LEFT_OUT.flatMap((why) => {
    const [ids, [one, many, remedy]] = [leftOut[why] ?? [], WHY_LEFT_OUT[why]];
    return ids.length === 0 ? [] : [`Left out: ${counted(ids.length, one, many)} (${some(ids, owners)})${remedy}.`];
  });
  const empty = isEmpty ? ['The catalogue is empty: --from table, config and live look at different places.'] : [];
  const partial =
    source === 'table' && switch_off.length > 0
      ? [
          'The table has a row for a model only if it was edited in the backend: what is switched off here may be there all the same. --from live knows.',
        ]
      : [];
  return [...empty, ...left, ...gaps, ...partial];
}

const WHY_LEFT_OUT: Readonly<Record<LeftOut, readonly [one: string, many: string, remedy: string]>> = {
  presets: ['preset', 'presets', '; a preset works as soon as its base is allowed, and --presets allows it itself'],
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
  of_users: [
    'model that a user who is no admin has made',
    'models that users who are no admins have made',
    '; to allow one all the same: `modelgate model allow ID`',
  ],
  of_organizations: [
    'private preset of another organization',
    'private presets of other organizations',
    '; to allow one all the same: `modelgate model allow ID`',
  ],
};

const NAMED = 3;

function some(ids: readonly string[], owners: Differences['owners']): string {
  const whose = (id: string): string => {
    const owner = owners[id];
    if (owner === undefined) return '';
    return ` of ${quoted('user' in owner ? (owner.user.email ?? owner.user.id) : owner.organization)}`;
  };
  const more = ids.length > NAMED ? `, and ${(ids.length - NAMED).toLocaleString('en')} more` : '';
  return `${ids
    .slice(0, NAMED)
    .map((id) => `${quoted(id)}${whose(id)}`)
    .join(', ')}${more}`;
}
