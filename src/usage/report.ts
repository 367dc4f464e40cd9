/** What organizations have used in a time, from the slots: the record that `modelgate usage` prints, the dearest row first. */
import { type Span, daysIn } from '../policy/period.ts';
import type { Connection } from '../store/database.ts';
import { correctionDue } from './closings.ts';
import { inUsd } from './money.ts';
import { type Sums, add, noSums, organizationsIn, sumSlots, unresolvedIn } from './slots.ts';

type Grouping = 'organization' | 'user' | 'model' | 'day' | 'kind' | 'provider';

interface UsageQuestion extends Span {
  /** All, where it is left out. */
  readonly organization?: string | undefined;
  readonly by: Grouping;
  /** IANA. Where days begin; `from` and `to` are moments. */
  readonly timeZone: string;
}

/** Tokens and money; `cost_usd` is exact, `cost_nano` up to nine million USD. Requests without a price are no part of the cost. */
export type UsageFigures = ReturnType<typeof figuresOf>;

/** With the field that the rows are by: an id or a day; null where the calls name no user, or no organization pays. */
export type UsageRow = UsageFigures & Readonly<Partial<Record<Grouping, string | null>>>;

export interface UsageReport {
  readonly from: string;
  readonly to: string;
  readonly time_zone: string;
  readonly by: Grouping;
  readonly rows: readonly UsageRow[];
  readonly total: UsageFigures;
  /** Calls of this time whose figures are not known yet: they are in no row. */
  readonly unresolved: number;
  /** What closed months have become more, or less, since: on the next invoice. */
  readonly corrections: readonly Correction[];
}

/** `since` is the first closed month whose difference no later one has billed. */
export interface Correction {
  readonly organization: string;
  readonly since: string;
  readonly cost_usd: string;
  readonly cost_nano: number;
}

interface Group {
  readonly all: Sums;
  readonly estimated: Sums;
  readonly interrupted: Sums;
}

/** @param connection may be one for reading alone @throws SqliteError */
export function readUsage(connection: Connection, question: UsageQuestion): UsageReport {
  const { organization, from, to, by, timeZone } = question;
  const organizations = organization === undefined ? organizationsIn(connection) : [organization];
  const groups = new Map<string, Group>();
  const total = newGroup();
  const take = (name: string, measured: string, sums: Sums): void => {
    const group = groups.get(name) ?? newGroup();
    groups.set(name, group);
    for (const one of [group, total]) addTo(one, measured, sums);
  };
  if (by === 'day') {
    for (const [day, span] of daysIn(question, timeZone)) {
      for (const row of sumSlots(connection, organizations, span, ['measured'])) take(day, row.measured, row);
    }
  } else {
    for (const row of sumSlots(connection, organizations, question, [by, 'measured'])) take(row[by], row.measured, row);
  }
  const rows = [...groups].map(([name, group]) => ({ [by]: name === '' ? null : name, ...figuresOf(group) }));
  if (by !== 'day') rows.sort((left, right) => right.cost_nano - left.cost_nano);
  const unresolved = unresolvedIn(connection, organizations, { from, to });
  return {
    ...{ from: new Date(from).toISOString(), to: new Date(to).toISOString(), time_zone: timeZone, by, rows },
    total: figuresOf(total),
    unresolved: [...unresolved.values()].reduce((sum, count) => sum + count, 0),
    corrections: organizations.flatMap((id) => {
      const due = correctionDue(connection, id);
      return due === undefined ? [] : [{ organization: id, since: due.since, ...costFields(due.nano) }];
    }),
  };
}

export const newGroup = (): Group => ({ all: noSums(), estimated: noSums(), interrupted: noSums() });

export function addTo(group: Group, measured: string, sums: Sums): void {
  add(group.all, sums);
  if (measured === 'estimated' || measured === 'interrupted') add(group[measured], sums);
}

/** The estimated and the interrupted part are in the whole, too. */
export const figuresOf = ({ all, estimated, interrupted }: Group) => ({
  ...partOf(all),
  ...{ input: all.input, cached: all.cached, output: all.output, reasoning: all.reasoning },
  unpriced: all.unpriced,
  estimated: partOf(estimated),
  interrupted: partOf(interrupted),
});

const partOf = ({ requests, costNano }: Sums) => ({ requests, ...costFields(costNano) });

export const costFields = (nano: bigint) => ({ cost_usd: inUsd(nano), cost_nano: Number(nano) });
