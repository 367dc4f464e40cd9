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
  `CASE ${measure} WHEN 'usd' THEN CAST(${nano} AS BIGINT) WHEN 'tokens' THEN CAST(${tokens} AS BIGINT) ELSE CAST(${requests} AS BIGINT) END`;

const SPENT = `CAST(coalesce(sum(${measured('$measure', 'cost_nano', 'input + output', 'requests')}), 0) AS BIGINT)`;
const SLOTS = 'usage_slot WHERE organization_id = $organization AND slot >= $periodStart AND slot < $periodEnd';

const USED = `SELECT
    (SELECT ${SPENT} FROM ${SLOTS} AND ${counts('$pattern', '$user', 'model', 'user_id')}) AS spent,
    (SELECT CAST(coalesce(sum(${measured('$measure', 'reserved_nano', 'reserved_tokens', '1')}), 0) AS BIGINT) FROM usage_request INDEXED BY usage_request_unsettled
      WHERE organization_id = $organization AND started_at >= $periodStart AND started_at < $periodEnd
        AND ${UNSETTLED} AND ${counts('$pattern', '$user', 'model', 'user_id')}) AS reserved`;

/** In the place of what it was before, where its row in the policy counts something else since. */
const MAKE = `INSERT INTO usage_budget_state
    (organization_id, budget_id, period_start, user_id, period_end, measure, pattern, spent, reserved)
  SELECT $organization, $budget, $periodStart, $user, $periodEnd, $measure, $pattern, spent, reserved FROM (${USED}) AS used WHERE true
  ON CONFLICT (organization_id, budget_id, period_start, user_id) DO UPDATE SET period_end = excluded.period_end,
    measure = excluded.measure, pattern = excluded.pattern, spent = excluded.spent, reserved = excluded.reserved, soft_said = 0`;

const MOVE = `UPDATE usage_budget_state SET
    spent = spent + ${measured('measure', '$spentNano', '$spentTokens', '$spentRequests')},
    reserved = reserved + ${measured('measure', '$nano', '$tokens', '$requests')}
  WHERE organization_id = $organization AND period_start <= $startedAt AND period_end > $startedAt
    AND ${counts('pattern', 'user_id', '$model', '$user')}`;

const KEY = `organization_id = $organization AND budget_id = $budget AND period_start = $periodStart AND user_id = $user
  AND period_end = $periodEnd AND measure = $measure AND pattern = $pattern`;

const FIND = `SELECT spent, reserved, soft_said AS softSaid FROM usage_budget_state WHERE ${KEY}`;

const DEAREST_USER = `SELECT user_id FROM ${SLOTS} AND user_id <> '' GROUP BY user_id ORDER BY ${SPENT} DESC, user_id LIMIT 1`;

interface State {
  readonly spent: number;
  readonly reserved: number;
  /** Absent where it was summed up. */
  readonly softSaid?: number;
}

const UNUSED: State = { spent: 0, reserved: 0 };

/** States as this transaction has read and moved them, where reading them again would take a round trip. */
export type SeenStates = Map<string, { readonly organization: string; readonly charge: Charge; state: State }>;

/** @param seen empty when a transaction begins; undefined where reading costs nothing */
export function createBudgetStates(connection: Connection, seen?: SeenStates) {
  const make = connection.prepare(MAKE);
  const move = connection.prepare(MOVE);
  const stored = connection.prepare<[object], State>(FIND);
  const sum = connection.prepare<[object], State>(USED);
  const say = connection.prepare(
    `UPDATE usage_budget_state SET soft_said = 1 WHERE ${KEY} AND soft_said = 0 AND spent >= $softAt`,
  );
  function find(organization: string, charge: Charge): State | undefined {
    const { budget, periodStart, periodEnd, user, measure, pattern } = charge;
    const key = JSON.stringify([organization, budget, periodStart, periodEnd, user, measure, pattern]);
    const state = seen?.get(key)?.state ?? stored.get({ organization, ...charge });
    if (state !== undefined) seen?.set(key, { organization, charge, state });
    return state;
  }
  /** @returns what all calls so far have spent and reserved, in the measure of the budget; writes nothing */
  function seenOf(organization: string, charge: Charge): number {
    const { spent, reserved } = find(organization, charge) ?? sum.get({ organization, ...charge }) ?? UNUSED;
    return spent + reserved;
  }
  /** As `seenOf`, of a budget that counts a call which begins: from now on its state is kept. */
  function usedOf(organization: string, charge: Charge): number {
    let state = find(organization, charge);
    if (state === undefined) {
      make.run({ organization, ...charge });
      state = find(organization, charge) ?? UNUSED;
    }
    return state.spent + state.reserved;
  }

  return {
    ...{ usedOf, seenOf },
    /** Moves every budget that counts this call. @param charges those that are asked about next */
    add(call: Call, reserved: Amount, spent: Amount, charges: readonly Charge[] = []): void {
      const { organization, user, model, startedAt } = call;
      if (seen !== undefined) {
        for (const charge of charges) find(organization, charge);
        for (const one of seen.values()) if (isCounted(one, call)) one.state = moved(one, reserved, spent);
      }
      const [spentNano, spentTokens, spentRequests] = [spent.nano, spent.tokens, spent.requests];
      move.run({ organization, user, model, startedAt, ...reserved, spentNano, spentTokens, spentRequests });
    },
    /** @returns those that are at their soft share */
    nearing: (organization: string, charges: readonly Charge[], used = usedOf): Nearing[] =>
      charges.flatMap((charge) => {
        if (charge.softAt === undefined) return [];
        const amount = used(organization, charge);
        return amount < charge.softAt ? [] : [{ budget: charge.budget, used: amount }];
      }),
    /** @returns whether the budget has reached its soft share, the first time that it is asked then */
    reachesSoft: (organization: string, charge: Charge): boolean =>
      isAtSoft(charge, find(organization, charge)) && say.run({ organization, ...charge }).changes > 0,
  };
}

const isAtSoft = ({ softAt = Infinity }: Charge, state: State = UNUSED): boolean =>
  state.softSaid !== 1 && state.spent >= softAt;

type Seen = SeenStates extends Map<string, infer S> ? S : never;

/** As `counts` and `MOVE`. */
function isCounted({ organization, charge }: Seen, call: Call): boolean {
  const { periodStart, periodEnd, user, pattern } = charge;
  const isOfUser = user === '' || user === call.user;
  const isInPeriod = periodStart <= call.startedAt && call.startedAt < periodEnd;
  return organization === call.organization && isOfUser && isOfModel(pattern, call.model) && isInPeriod;
}

/** @param pattern of a charge @returns whether its budget counts calls of the model */
export const isOfModel = (pattern: string, model: string): boolean =>
  pattern.endsWith('*') ? model.startsWith(pattern.slice(0, -1)) : model === pattern;

function moved({ charge, state }: Seen, reserved: Amount, spent: Amount): State {
  const measured = ({ nano, tokens, requests }: Amount) => ({ usd: nano, tokens, requests })[charge.measure];
  return { ...state, spent: state.spent + measured(spent), reserved: state.reserved + measured(reserved) };
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
