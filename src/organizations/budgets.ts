/** How much organizations may use: set, raised, switched off, listed. Each change is one transaction, done whole or not at all. */
import { randomUUID } from 'node:crypto';
import { refuseAll, unchanged } from '../backend-file/failure.ts';
import { quoted, shellCommand, toDate } from '../backend-file/text.ts';
import { type Operation, changing, reading } from '../backend-file/transaction.ts';
import { type Budget, budgetsAt } from '../policy/budget.ts';
import { daySpan, periodOf } from '../policy/period.ts';
import { type BudgetEntry, missingBudgetColumns, readBudgetEntries } from '../store/budgets.ts';
import type { Connection } from '../store/database.ts';
import { type ChosenOrganization, explaining, requireOrganization } from './organizations.ts';

/** What makes two budgets of an organization one; the scope as its column has it. */
type Key = Readonly<{ measure: Budget['measure']; period: Budget['period']; scope: string }>;
export type Wanted = Key & Readonly<{ amount: number }>;

const NAME = 'organization_budgets';

/**
 * @param chosen undefined for all organizations
 * @param defaultZone of budgets without a time zone
 * @returns each with the budget as it counts now, where it does
 */
export const listBudgets = (operation: Operation, chosen: ChosenOrganization | undefined, defaultZone: string) =>
  reading(operation, 'organizations', (connection, schema) => {
    if (chosen !== undefined) requireOrganization(connection, schema, chosen, 'read');
    const now = Date.now();
    return readBudgetEntries(connection, chosen?.id).map((entry) => {
      const { budget, isActive } = entry;
      const [counting] = budget !== undefined && isActive ? budgetsAt([budget], now) : [];
      return { counting, record: recordOf(entry, counting, now, defaultZone) };
    });
  });

function recordOf(entry: BudgetEntry, counting: Budget | undefined, now: number, defaultZone: string) {
  const { organization, row, budget, isActive, isMai, faults } = entry;
  const state = stateOf(budget, isActive, now);
  const isRaised = budget !== undefined && budget.raise.amount > 0;
  const timeZone = budget && (budget.timeZone ?? defaultZone);
  const isCalendar = counting !== undefined && counting.period !== 'total';
  const span = isCalendar ? periodOf(counting.period, timeZone ?? defaultZone, now) : undefined;
  return {
    organization,
    ...{ measure: row.measure, period: row.period, scope: row.scope, amount: row.amount },
    /** With the raise, where it counts. */
    amount_now: counting?.amount ?? null,
    soft_percent: budget?.softPercent ?? null,
    hard: row.hard === 1,
    time_zone: timeZone ?? null,
    /** Of the one that runs. */
    period_start: toMoment(span?.from),
    period_end: toMoment(span?.to),
    raised: isRaised ? { by: budget.raise.amount, until: toMoment(budget.raise.until) } : null,
    valid_from: toMoment(budget?.validFrom),
    valid_to: toMoment(budget?.validTo),
    source: isMai ? 'client_organizations' : 'modelgate',
    ...{ active: isActive, counts: state === 'counts', state, faults },
  };
}

function stateOf(budget: BudgetEntry['budget'], isActive: boolean, now: number) {
  if (!isActive) return 'switched_off' as const;
  if (budget === undefined) return 'unreadable' as const;
  if (now < budget.validFrom) return 'not_yet' as const;
  return now < budget.validTo ? ('counts' as const) : ('over' as const);
}

const toMoment = (ms: number | undefined): string | null =>
  ms === undefined || !Number.isFinite(ms) ? null : toDate(ms / 1000);

/** Of budgets that are set: what is not named has its default. */
interface Definition {
  readonly wanted: readonly Wanted[];
  readonly softPercent: number;
  readonly isHard: boolean;
  /** Undefined for that of the organization, or of the gate. */
  readonly timeZone: string | undefined;
}

/** @returns beside the record: mAI's limit in US dollars a month that counted until now, and no longer does */
export const setBudgets = (operation: Operation, chosen: ChosenOrganization, definition: Definition) =>
  changeBudgets(operation, chosen, (connection, isActive) => {
    const { wanted, softPercent, isHard, timeZone } = definition;
    const before = readBudgetEntries(connection, chosen.id);
    const update = connection.prepare(
      `UPDATE ${NAME} SET amount = $amount, soft_percent = $soft, is_hard = $hard, time_zone = $zone, valid_from = NULL, valid_to = NULL,
         is_active = 1 WHERE ${AT}`,
    );
    const insert = connection.prepare(
      `INSERT INTO ${NAME} (id, organization_id, measure, amount, period, scope, soft_percent, is_hard, time_zone)
       VALUES ($id, $organization, $measure, $amount, $period, $scope, $soft, $hard, $zone)`,
    );
    const budgets = wanted.map((one) => {
      const found = before.find((entry) => isOf(entry, one));
      const rest = { soft: softPercent, hard: Number(isHard), zone: timeZone ?? null };
      const row = { ...one, ...rest, organization: chosen.id, id: randomUUID() };
      if (update.run(row).changes === 0) insert.run(row);
      const outcome = found === undefined ? 'added' : found.isActive ? 'set' : 'restored';
      return { ...one, before: found?.row.amount ?? null, outcome } as const;
    });
    const replaced = maiLimit(readBudgetEntries(connection, chosen.id)) === undefined ? maiLimit(before) : undefined;
    return { record: { organization: chosen.id, budgets }, isActive, replaced };
  });

/** Raises what counts now, in place of an earlier raise. @throws OperationFailure where there is none to raise, or the day is over */
export const raiseBudgets = (
  operation: Operation,
  chosen: ChosenOrganization,
  { wanted, until, defaultZone }: Readonly<{ wanted: readonly Wanted[]; until: string; defaultZone: string }>,
) =>
  changeBudgets(operation, chosen, (connection, isActive) => {
    const entries = readBudgetEntries(connection, chosen.id);
    refuseAbsent(chosen.id, entries, wanted);
    const raise = connection.prepare(`UPDATE ${NAME} SET raised = $amount, raised_until = $end WHERE ${AT}`);
    const budgets = wanted.map((one) => {
      const { budget } = entries.find((entry) => isOf(entry, one)) ?? {};
      const timeZone = budget?.timeZone ?? defaultZone;
      const end = daySpan(until, timeZone)?.to ?? 0;
      if (end <= Date.now()) throw unchanged(`${until} is over in ${timeZone}: a raise ends with its day.`);
      raise.run({ ...one, organization: chosen.id, end });
      return { ...one, amount: budget?.amount ?? null, raised: one.amount, until: toMoment(end), time_zone: timeZone };
    });
    return { record: { organization: chosen.id, budgets }, isActive };
  });

interface Unwanted {
  /** Undefined for each of them. */
  readonly kinds: readonly Pick<Key, 'measure' | 'scope'>[] | undefined;
  readonly period: Budget['period'] | undefined;
  readonly scope: string | undefined;
  readonly purge: boolean;
}

/** Switches budgets off, or deletes them. @throws OperationFailure where none is meant */
export const clearBudgets = (operation: Operation, chosen: ChosenOrganization, unwanted: Unwanted) =>
  changeBudgets(operation, chosen, (connection) => {
    const { kinds, period, scope, purge } = unwanted;
    const entries = readBudgetEntries(connection, chosen.id);
    const meant = entries.filter(
      ({ row, isMai }) =>
        !isMai &&
        (period === undefined || row.period === period) &&
        (scope === undefined || row.scope === scope) &&
        (kinds?.some((kind) => kind.measure === row.measure && kind.scope === row.scope) ?? true),
    );
    if (meant.length === 0) throw unchanged(`${quoted(chosen.id)} has no such budget.`, howToGoOn(chosen.id, entries));
    const isMeant = 'id IS NOT DISTINCT FROM $id';
    const off = connection.prepare(
      purge ? `DELETE FROM ${NAME} WHERE ${isMeant}` : `UPDATE ${NAME} SET is_active = 0 WHERE ${isMeant}`,
    );
    const budgets = meant.map(({ row, isActive }) => {
      off.run({ id: row.id });
      const outcome = purge ? 'deleted' : isActive ? 'switched_off' : 'off_already';
      return { measure: row.measure, period: row.period, scope: row.scope, amount: row.amount, outcome } as const;
    });
    const returned = maiLimit(readBudgetEntries(connection, chosen.id));
    return { record: { organization: chosen.id, budgets }, returned };
  });

/** US dollars a month; undefined where no limit of mAI's counts. */
const maiLimit = (entries: readonly BudgetEntry[]): number | undefined =>
  entries.find(({ isMai }) => isMai)?.budget?.amount;

/** After words that mean no budget of ours. */
function howToGoOn(organization: string, entries: readonly BudgetEntry[]): string {
  const mai = entries.every(({ isMai }) => isMai) ? entries[0]?.budget : undefined;
  if (mai === undefined) return `Its budgets: \`${shellCommand('modelgate', 'budget', 'list', organization)}\``;
  const set = shellCommand('modelgate', 'budget', 'set', organization, '--usd', String(mai.amount));
  return `It has mAI's alone, client_organizations.monthly_limit: change that in mAI, or set one in its place: \`${set}\``;
}

const AT = 'organization_id = $organization AND measure = $measure AND period = $period AND scope = $scope';

const isOf = ({ row, isMai }: BudgetEntry, { measure, period, scope }: Key): boolean =>
  !isMai && row.measure === measure && row.period === period && row.scope === scope;

function refuseAbsent(organization: string, entries: readonly BudgetEntry[], wanted: readonly Wanted[]): void {
  const absent = wanted.filter((one) => !entries.some((entry) => entry.isActive && entry.budget && isOf(entry, one)));
  const problems = absent.map((one) => `${quoted(organization)} has no budget ${wordsOf(one)} that counts.`);
  refuseAll(problems, 'Nothing was raised.', { remedy: howToGoOn(organization, entries) });
}

/** As the command has them, such as `--usd --period month`. */
function wordsOf({ measure, period, scope }: Key): string {
  const of = scope.startsWith('model:') ? ` --model ${quoted(scope.slice('model:'.length))}` : '';
  return `--${scope === 'user' ? 'user-' : ''}${measure} --period ${period}${of}`;
}

/** @throws OperationFailure where the file has no table for it, or as `requireOrganization` */
const changeBudgets = <T>(
  operation: Operation,
  chosen: ChosenOrganization,
  change: (connection: Connection, isActive: boolean) => T,
): Promise<T> =>
  changing(operation, 'organizations', (connection, schema) => {
    const { isActive } = requireOrganization(connection, schema, chosen, 'change');
    const missing = missingBudgetColumns(connection, 'all');
    if (missing.includes('id')) {
      throw unchanged(`The file has no table ${NAME}.`, 'To make what is missing: `modelgate init`');
    }
    if (missing.length > 0) {
      throw unchanged(`The table ${NAME} has no column ${missing.join(', ')}.`, 'Add what is missing, or rename it.');
    }
    return explaining({ name: NAME }, () => change(connection, isActive));
  });
