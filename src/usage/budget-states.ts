/**
 * How much of each budget is spent and reserved in its period. A state is made from the sums and the open calls when it is
 * first asked for, so that a budget set in the middle of a month counts the whole month; from then on each call moves it.
 */
import type { Budget } from '../policy/budget.ts';
import type { Connection } from '../store/database.ts';
import type { Amount, Call, Charge, Nearing } from './call.ts';
import { chargeOf, unitOf } from './charges.ts';
import { UNSETTLED } from './schema.ts';

/** Does a state of this pattern and user count a call of this model and user? */
const counts = (pattern: string, user: string, ofModel: string, ofUser: string) =>
  `(${user} = '' OR ${user} = ${ofUser}) AND (${pattern} IN ('*', ${ofModel})
    OR (${pattern} LIKE '%*' AND substr(${ofModel}, 1, length(${pattern}) - 1) = substr(${pattern}, 1, length(${pattern}) - 1)))`;

const measured = (measure: string, nano: string, tokens: string, requests: string) =>
  `CASE ${measure} WHEN 'usd' THEN ${nano} WHEN 'tokens' THEN ${tokens} ELSE ${requests} END`;

const SPENT = `sum(${measured('$measure', 'cost_nano', 'input + output', 'requests')})`;
const SLOTS = 'usage_slot WHERE organization_id = $organization AND slot >= $periodStart AND slot < $periodEnd';

const USED = `SELECT
    (SELECT coalesce(${SPENT}, 0) FROM ${SLOTS} AND ${counts('$pattern', '$user', 'model', 'user_id')}) AS spent,
    (SELECT coalesce(sum(${measured('$measure', 'reserved_nano', 'reserved_tokens', '1')}), 0) FROM usage_request INDEXED BY usage_request_unsettled
      WHERE organization_id = $organization AND started_at >= $periodStart AND started_at < $periodEnd
        AND ${UNSETTLED} AND ${counts('$pattern', '$user', 'model', 'user_id')}) AS reserved`;

const MAKE = `INSERT OR IGNORE INTO usage_budget_state
    (organization_id, budget_id, period_start, user_id, period_end, measure, pattern, spent, reserved)
  SELECT $organization, $budget, $periodStart, $user, $periodEnd, $measure, $pattern, spent, reserved FROM (${USED})`;

const MOVE = `UPDATE usage_budget_state SET
    spent = spent + ${measured('measure', '$spentNano', '$spentTokens', '$spentRequests')},
    reserved = reserved + ${measured('measure', '$nano', '$tokens', '$requests')}
  WHERE organization_id = $organization AND period_start <= $startedAt AND period_end > $startedAt
    AND ${counts('pattern', 'user_id', '$model', '$user')}`;

const KEY =
  'organization_id = $organization AND budget_id = $budget AND period_start = $periodStart AND user_id = $user';

const FIND = `SELECT spent, reserved FROM usage_budget_state WHERE ${KEY}`;

const DEAREST_USER = `SELECT user_id FROM ${SLOTS} AND user_id <> '' GROUP BY user_id ORDER BY ${SPENT} DESC, user_id LIMIT 1`;

interface State {
  readonly spent: number;
  readonly reserved: number;
}

const UNUSED: State = { spent: 0, reserved: 0 };

export function createBudgetStates(connection: Connection) {
  const make = connection.prepare(MAKE);
  const move = connection.prepare(MOVE);
  const find = connection.prepare<[object], State>(FIND);
  const say = connection.prepare(
    `UPDATE usage_budget_state SET soft_said = 1 WHERE ${KEY} AND soft_said = 0 AND spent >= $softAt`,
  );
  /** @returns what all calls so far have spent and reserved, in the measure of the budget */
  function usedOf(organization: string, charge: Charge): number {
    const of = { organization, ...charge };
    const { spent, reserved } = find.get(of) ?? (make.run(of), find.get(of) ?? UNUSED);
    return spent + reserved;
  }

  return {
    usedOf,
    /** Moves every budget that counts this call. */
    add({ organization, user, model, startedAt }: Call, reserved: Amount, spent: Amount): void {
      const [spentNano, spentTokens, spentRequests] = [spent.nano, spent.tokens, spent.requests];
      move.run({ organization, user, model, startedAt, ...reserved, spentNano, spentTokens, spentRequests });
    },
    /** @returns those that are at their soft share */
    nearing: (organization: string, charges: readonly Charge[]): Nearing[] =>
      charges.flatMap((charge) => {
        if (charge.softAt === undefined) return [];
        const used = usedOf(organization, charge);
        return used < charge.softAt ? [] : [{ budget: charge.budget, used }];
      }),
    /** @returns whether the budget has reached its soft share, the first time that it is asked then */
    reachesSoft: (organization: string, charge: Charge): boolean =>
      charge.softAt !== undefined && say.run({ organization, ...charge }).changes > 0,
  };
}

/** Amounts in the measure of the budget, as in `Budget`. */
export interface BudgetUse extends State {
  /** Of a budget for each user: whose figures these are. */
  readonly user: string | undefined;
  readonly left: number;
}

/**
 * Reads what is used of a budget in the period that runs, and writes nothing.
 * @param timeZone of budgets that name none
 * @returns a function that takes the user of a budget for each user; without one, the user who has used most
 */
export function createBudgetUse(connection: Connection, timeZone: string, at: number) {
  const find = connection.prepare<[object], State>(FIND);
  const sum = connection.prepare<[object], State>(USED);
  const dearestUser = connection.prepare<[object], string>(DEAREST_USER).pluck();
  return (budget: Budget, asked?: string): BudgetUse => {
    const { organization, scope } = budget;
    const charge = chargeOf(budget, { user: asked ?? '', startedAt: at }, timeZone);
    const user = scope.kind === 'user' ? (asked ?? dearestUser.get({ organization, ...charge })) : '';
    const of = { organization, ...charge, user };
    const { spent, reserved } = (user === undefined ? undefined : (find.get(of) ?? sum.get(of))) ?? UNUSED;
    const unit = unitOf(budget);
    const left = Math.max(0, charge.amount - spent - reserved) / unit;
    return { user: user === '' ? undefined : user, spent: spent / unit, reserved: reserved / unit, left };
  };
}
