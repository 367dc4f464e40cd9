/** The moves of the ledger. Each call is opened once and settled once, however often a move comes. */
import type { Budget } from '../policy/budget.ts';
import type { Connection } from '../store/database.ts';
import { type BudgetUse, type SeenStates, createBudgetStates, createBudgetUse, isOfModel } from './budget-states.ts';
import {
  type Admission,
  type Amount,
  type Call,
  type Charge,
  type Ending,
  type Nearing,
  type Opening,
  type Refusal,
  type Settled,
  unanswered,
} from './call.ts';
import { prepareSealedKey } from './keys.ts';
import { createMeans } from './means.ts';
import { costOf } from './price.ts';
import { createPriceBook } from './price-book.ts';
import { NOTHING, ONE, firstFull, isFreeCall, mostOf, refusal, reservationOf } from './reservation.ts';
import { type Standing, prepareUsage } from './statements.ts';
import type { Measured, Usage } from './usage.ts';

const UNRESERVED: Standing = { state: 'open', generationId: null, reservedNano: 0, reservedTokens: 0 };
const UNSETTLED: Settled = { measured: undefined, usage: {}, costNano: undefined, softReached: [] };

/** @param connection on which the tables are. Each move belongs into a transaction of the caller's @param seen as of `createBudgetStates` */
export function createBook(connection: Connection, seen?: SeenStates) {
  const statements = prepareUsage(connection);
  const { note, unresolved, tried, beat, leave, forget, sums } = statements;
  const prices = createPriceBook(connection);
  const budgets = createBudgetStates(connection, seen);
  const means = createMeans(connection);
  const findKey = prepareSealedKey(connection);
  /** @returns null where there is none */
  const sealedKey = (organization: string, provider: string): Uint8Array | null =>
    findKey(organization, provider) ?? null;
  const parts = { statements, prices, budgets, means };
  const admit = createAdmit(parts);
  const settle = createSettle(parts);

  const opened = ({ organization, provider }: Call, charges: readonly Charge[]): Opening => ({
    kind: 'opened',
    nearing: budgets.nearing(organization, charges),
    sealedKey: sealedKey(organization, provider),
  });

  return {
    learnPrices: prices.learn,
    open(call: Call, admission: Admission): Opening {
      const known = statements.standing(call.id);
      // the answer to it was lost
      const refusedBefore = known?.state === 'refused' ? admission.charges.find(({ isHard }) => isHard) : undefined;
      if (refusedBefore !== undefined) return { ...refusal('budget_exceeded', refusedBefore), nearing: [] };
      if (known !== undefined) return opened(call, []);
      const admitted = admit(call, admission);
      const isRefused = 'kind' in admitted;
      statements.begin(call, isRefused ? 'refused' : 'open', isRefused ? NOTHING : admitted);
      if (isRefused) return { ...admitted, nearing: budgets.nearing(call.organization, admission.charges) };
      budgets.add(call, admitted, NOTHING);
      return opened(call, admission.charges);
    },
    usedUp: createUsedUp(parts),
    /** @returns what is used of each */
    uses: usesIn(connection),
    settle(call: Call, ending: Ending, charges: readonly Charge[]): Settled {
      let row = statements.standing(call.id);
      // in a file that was deleted meanwhile, or it was let pass and could not be written before
      if (row === undefined || (row.state === 'refused' && ending.state !== 'failed')) {
        statements.begin(call, 'open', NOTHING);
        budgets.add(call, ONE, NOTHING);
        row = UNRESERVED;
      }
      return isUnsettled(row) ? settle(call, row, ending, charges, false) : UNSETTLED;
    },
    /** What a call that was cut has used, as it was found out later; without usage it is estimated. */
    resolve(id: string, usage: Usage | undefined): Settled {
      const row = statements.find(id);
      if (row === undefined || !isUnsettled(row)) return UNSETTLED;
      const { status, bytesOut, endedAt } = row;
      const seen = { status: status ?? undefined, bytesOut: bytesOut ?? undefined, endedAt: endedAt ?? Date.now() };
      const ending = { ...unanswered('interrupted'), ...seen, usage };
      return settle(statements.callOf(row), row, ending, [], true);
    },
    ...{ sealedKey, note, unresolved, tried, beat, leave, forget, sums },
  };
}

export type Book = ReturnType<typeof createBook>;

const usesIn =
  (connection: Connection) =>
  (of: readonly Budget[], timeZone: string, at: number): readonly BudgetUse[] => {
    const useOf = createBudgetUse(connection, timeZone, at);
    return of.map((budget) => useOf(budget));
  };

interface BookParts {
  readonly statements: ReturnType<typeof prepareUsage>;
  readonly prices: ReturnType<typeof createPriceBook>;
  readonly budgets: ReturnType<typeof createBudgetStates>;
  readonly means: ReturnType<typeof createMeans>;
}

type UsedUp = Readonly<{ budget: string | undefined; nearing: readonly Nearing[] }>;

/** @returns of a call how much it reserves, or why it may not begin */
function createAdmit({ prices, budgets, means }: BookParts) {
  const knownOf = (call: Call) => ({
    price: prices.find(call.provider, call.wireModel, call.startedAt)?.price,
    ...prices.limitsOf(call.provider, call.wireModel),
    mean: means.of(call),
    input: means.inputOf(call),
  });
  return function admit(call: Call, admission: Admission): Amount | Refusal {
    if (admission.charges.length === 0) return ONE;
    const calls = [call.wireModel, ...admission.otherModels].map((wireModel) => ({ ...call, wireModel }));
    const known = calls.map(knownOf);
    const amounts: Amount[] = [];
    const rooms: Amount[] = [];
    for (const one of known) {
      const reservation = reservationOf(call, admission, one);
      if ('kind' in reservation) return reservation;
      amounts.push(reservation.amount);
      rooms.push(reservation.room);
    }
    const amount = mostOf(amounts);
    const isFree = known.every((one) => isFreeCall(call, one));
    if (call.isFree) return amount;
    const usedOf = (charge: Charge) => budgets.usedOf(call.organization, charge);
    const full = firstFull(admission.charges, mostOf(rooms), isFree, usedOf);
    if (full !== undefined) return refusal('budget_exceeded', full);
    // a call is kept under one model: what a budget of another one has left would be given to many at once
    const beside = ({ isHard, pattern }: Charge): boolean => isHard && !isOfModel(pattern, call.model);
    const unkept = admission.reserve === 'maximum' ? admission.charges.find(beside) : undefined;
    return unkept === undefined ? amount : refusal('unbounded_model', unkept);
  };
}

/** @returns what finds the first of these budgets that has nothing left, for a model of which the provider is not known yet, and those at their soft share */
const createUsedUp = ({ statements, budgets }: BookParts) =>
  function usedUp(organization: string, model: string, charges: readonly Charge[]): UsedUp {
    const usedOf = (charge: Charge) => budgets.seenOf(organization, charge);
    const full = firstFull(charges, NOTHING, statements.mayBeFree(model), usedOf);
    return { budget: full?.budget, nearing: budgets.nearing(organization, charges, budgets.seenOf) };
  };

function createSettle({ statements, prices, budgets, means }: BookParts) {
  function measure(
    call: Call,
    { state, usage, bytesOut, status }: Ending,
    isLate: boolean,
  ): { readonly usage: Usage; readonly measured: Measured } {
    if (state === 'failed') return { usage: {}, measured: 'none' };
    if (usage !== undefined) return { usage, measured: isLate ? 'reconciled' : 'reported' };
    if (call.isFree) return { usage: {}, measured: 'none' };
    // A provider that gives each stream an id before it begins has not begun this one
    const isUnbegun = call.isStreamed && status === undefined && statements.hasGenerations(call.provider);
    const estimate = isUnbegun ? { input: 0, output: 0 } : means.estimate(call, bytesOut);
    return { usage: estimate, measured: state === 'interrupted' ? 'interrupted' : 'estimated' };
  }

  /** What has answered under a name of its own has the price of what was asked for, as long as that has one. */
  function costAt({ provider, wireModel, startedAt }: Call, { ranInstead, answeredModel }: Ending, usage: Usage): Cost {
    if (usage.costNano !== undefined) return { nano: usage.costNano, price: undefined };
    for (const model of [ranInstead?.wireModel, wireModel, answeredModel]) {
      const found = model === undefined ? undefined : prices.find(provider, model, startedAt);
      if (found !== undefined) return { nano: costOf(found.price, usage), price: found.id };
    }
    return { nano: undefined, price: undefined };
  }

  return function settle(
    call: Call,
    row: Standing,
    ending: Ending,
    charges: readonly Charge[],
    isLate: boolean,
  ): Settled {
    const generationId = ending.generationId ?? row.generationId ?? undefined;
    if (ending.generationId !== undefined && row.generationId === null) statements.note(call.id, ending.generationId);
    const isUnknown = ending.state === 'interrupted' && ending.usage === undefined;
    if (isUnknown && !isLate && generationId !== undefined) {
      statements.interrupt(call.id, ending);
      return UNSETTLED;
    }
    const { usage, measured } = measure(call, ending, isLate);
    const cost =
      measured === 'none' || (ending.usage === undefined && isUnused(usage)) ? FREE : costAt(call, ending, usage);
    const isCounted = ending.state !== 'failed';
    const ran = { ...call, ...ending.ranInstead };
    statements.settle(ran, ending, { usage, measured, cost });
    const reserved = { nano: -row.reservedNano, tokens: -row.reservedTokens, requests: -1 };
    const tokens = (usage.input ?? 0) + (usage.output ?? 0);
    const spent = isCounted ? { nano: cost.nano ?? 0, tokens, requests: 1 } : NOTHING;
    if (ran.model !== call.model) budgets.add(call, reserved, NOTHING, charges);
    budgets.add(ran, ran.model === call.model ? reserved : NOTHING, spent, charges);
    if (measured === 'reported') means.learn(ran, usage, ending.bytesOut ?? 0, cost.nano);
    const softReached = charges.filter((charge) => budgets.reachesSoft(call.organization, charge));
    return { measured, usage, costNano: cost.nano, softReached: softReached.map(({ budget }) => budget) };
  };
}

type Cost = Readonly<{ nano: number | undefined; price: number | undefined }>;
/** Its generation has not begun: for that no price is needed. */
const isUnused = ({ input, output, units }: Usage): boolean => input === 0 && output === 0 && units === undefined;

const FREE: Cost = { nano: 0, price: undefined };

const isUnsettled = ({ state }: Standing): boolean => state === 'open' || state === 'interrupted';
