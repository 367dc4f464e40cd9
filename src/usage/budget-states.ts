/**
 * How much of each budget is spent and reserved in its period. A state is made from the sums and the open calls when it is
 * first asked for, so that a budget set in the middle of a month counts the whole month; from then on each call moves it.
 */
import type { Connection } from '../store/database.ts';
import type { Amount, Call, Charge, Nearing } from './call.ts';

/** Pattern and user of a state against a row with `model` and `user_id`. */
const covers = (pattern: string, user: string, row: string) =>
  `(${user} = '' OR ${user} = ${row}user_id) AND (${pattern} IN ('*', ${row}model)
    OR (${pattern} LIKE '%*' AND substr(${row}model, 1, length(${pattern}) - 1) = substr(${pattern}, 1, length(${pattern}) - 1)))`;

const measured = (measure: string, nano: string, tokens: string, requests: string) =>
  `CASE ${measure} WHEN 'usd' THEN ${nano} WHEN 'tokens' THEN ${tokens} ELSE ${requests} END`;

const USED = `SELECT
    (SELECT coalesce(sum(${measured('$measure', 'cost_nano', 'input + output', 'requests')}), 0) FROM usage_slot
      WHERE organization_id = $organization AND slot >= $periodStart AND slot < $periodEnd AND ${covers('$pattern', '$user', '')}) AS spent,
    (SELECT coalesce(sum(${measured('$measure', 'reserved_nano', 'reserved_tokens', '1')}), 0) FROM usage_request INDEXED BY usage_request_unsettled
      WHERE organization_id = $organization AND started_at >= $periodStart AND started_at < $periodEnd
        AND state IN ('open', 'interrupted') AND ${covers('$pattern', '$user', '')}) AS reserved`;

const MAKE = `INSERT OR IGNORE INTO usage_budget_state
    (organization_id, budget_id, period_start, user_id, period_end, measure, pattern, spent, reserved)
  SELECT $organization, $budget, $periodStart, $user, $periodEnd, $measure, $pattern, spent, reserved FROM (${USED})`;

const MOVE = `UPDATE usage_budget_state SET
    spent = spent + ${measured('measure', '$spentNano', '$spentTokens', '$spentRequests')},
    reserved = reserved + ${measured('measure', '$nano', '$tokens', '$requests')}
  WHERE organization_id = $organization AND period_start <= $startedAt AND period_end > $startedAt
    AND (user_id = '' OR user_id = $user)
    AND (pattern IN ('*', $model) OR (pattern LIKE '%*' AND substr($model, 1, length(pattern) - 1) = substr(pattern, 1, length(pattern) - 1)))`;

const KEY =
  'organization_id = $organization AND budget_id = $budget AND period_start = $periodStart AND user_id = $user';

const FIND = `SELECT spent, reserved FROM usage_budget_state WHERE ${KEY}`;

const MOST = `SELECT user_id FROM usage_slot
  WHERE organization_id = $organization AND slot >= $periodStart AND slot < $periodEnd AND user_id <> ''
  GROUP BY user_id ORDER BY sum(${measured('$measure', 'cost_nano', 'input + output', 'requests')}) DESC, user_id LIMIT 1`;

interface State {
  readonly spent: number;
  readonly reserved: number;
}

export function createBudgetStates(connection: Connection) {
  const make = connection.prepare(MAKE);
  const move = connection.prepare(MOVE);
  const find = connection.prepare<[object], State>(FIND);
  const say = connection.prepare(
    `UPDATE usage_budget_state SET soft_said = 1 WHERE ${KEY} AND soft_said = 0 AND spent >= $softAt`,
  );
  /** @returns what is used of the budget by all calls so far, in its measure */
  function state(organization: string, charge: Charge): State {
    const key = keyOf(organization, charge);
    const { measure, pattern, periodEnd } = charge;
    return find.get(key) ?? (make.run({ ...key, measure, pattern, periodEnd }), find.get(key) ?? UNUSED);
  }

  return {
    state,
    /** Moves every budget that counts this call. */
    add({ organization, user, model, startedAt }: Call, reserved: Amount, spent: Amount): void {
      const [spentNano, spentTokens, spentRequests] = [spent.nano, spent.tokens, spent.requests];
      move.run({ organization, user, model, startedAt, ...reserved, spentNano, spentTokens, spentRequests });
    },
    /** @returns those that are at their soft share */
    nearing: (organization: string, charges: readonly Charge[]): Nearing[] =>
      charges.flatMap((charge) => {
        if (charge.softAt === undefined) return [];
        const { spent, reserved } = state(organization, charge);
        const used = spent + reserved;
        return used < charge.softAt ? [] : [{ budget: charge.budget, used }];
      }),
    /** @returns whether the budget has reached its soft share, the first time that it is asked then */
    reachesSoft: (organization: string, charge: Charge): boolean =>
      charge.softAt !== undefined && say.run({ ...keyOf(organization, charge), softAt: charge.softAt }).changes > 0,
  };
}

/** Says what is used as `createBudgetStates` does, and writes nothing. */
export function createBudgetReader(connection: Connection) {
  const find = connection.prepare<[object], State>(FIND);
  const sum = connection.prepare<[object], State>(USED);
  const most = connection.prepare<[object], string>(MOST).pluck();
  return {
    state(organization: string, charge: Charge): State {
      const key = keyOf(organization, charge);
      const { measure, pattern, periodEnd } = charge;
      return find.get(key) ?? sum.get({ ...key, measure, pattern, periodEnd }) ?? UNUSED;
    },
    /** @returns the user who has spent most of what this counts, whoever its user is; undefined where no user has */
    mostOf: (organization: string, { measure, periodStart, periodEnd }: Charge): string | undefined =>
      most.get({ organization, measure, periodStart, periodEnd }),
  };
}

const keyOf = (organization: string, { budget, periodStart, user }: Charge) => ({
  ...{ organization, budget, periodStart, user },
});

const UNUSED: State = { spent: 0, reserved: 0 };
