/** A ledger with settled calls, as the gate writes them: rows of calls, and their sums by quarter of an hour. */
import type { Connection, FileConnection } from '../../../src/store/database.ts';
import type { Call } from '../../../src/usage/call.ts';
import { firstIdOf, prepareUsage } from '../../../src/usage/statements.ts';
import type { Kind, Measured, Usage } from '../../../src/usage/usage.ts';
import { ledgerOfTest } from './ledger.ts';

/** What is left out is usual. */
interface AnyCall {
  readonly at: number | string;
  readonly organization?: string;
  readonly user?: string;
  readonly provider?: string;
  readonly model?: string;
  readonly kind?: Kind;
  readonly generationId?: string;
}

export interface SettledCall extends AnyCall, Pick<Usage, 'input' | 'inputCached' | 'output' | 'outputReasoning'> {
  readonly measured?: Measured;
  /** Nano-USD; null where there is no price. */
  readonly cost?: number | null;
}

interface CallsWritten {
  settle(...calls: readonly SettledCall[]): void;
  /** A call without figures. */
  begin(call: AnyCall & { readonly state?: 'open' | 'interrupted' | 'failed' }): void;
}

export interface UsageLedger extends CallsWritten {
  readonly directory: string;
  readonly path: string;
  readonly connection: FileConnection;
}

const NOTHING = { nano: 0, tokens: 0, requests: 0 };
const ENDED = {
  status: 200,
  usage: undefined,
  answeredModel: undefined,
  generationId: undefined,
  bytesOut: 0,
} as const;

const idOf = (startedAt: number, count: number) =>
  `${firstIdOf(startedAt)}-7000-8000-${String(count).padStart(12, '0')}`;

export function usageOfTest(): UsageLedger {
  const { directory, path, connection } = ledgerOfTest();
  // a test's file need not survive a power cut
  connection.pragma('synchronous = off');
  const { settle, begin } = writesCalls(connection);
  return { directory, path, connection, begin, settle: connection.transaction(settle) };
}

/** @param connection on which the tables are, on whichever engine */
export function writesCalls(connection: Connection): CallsWritten {
  const statements = prepareUsage(connection);
  let calls = 0;
  const begin = ({ at, ...rest }: AnyCall): Call => {
    const { organization, user, provider, model = 'openai/gpt-4o', kind, generationId } = rest;
    const startedAt = typeof at === 'string' ? Date.parse(at) : at;
    const call: Call = {
      ...{ id: idOf(startedAt, calls++), instance: 'gate', startedAt },
      ...{ organization: organization ?? 'acme', user: user ?? 'ann', chat: undefined },
      ...{ provider: provider ?? 'openrouter.ai', endpoint: 'chat/completions', kind: kind ?? 'chat' },
      ...{ model, wireModel: model, isStreamed: true, bytesIn: 0, isFree: false },
    };
    statements.begin(call, 'open', NOTHING);
    if (generationId !== undefined) statements.note(call.id, generationId);
    return call;
  };
  return {
    settle(...settled) {
      for (const { measured = 'reported', cost = 0, ...usage } of settled) {
        const call = begin(usage);
        const price = { nano: cost ?? undefined, price: undefined };
        const ending = { ...ENDED, state: 'closed', endedAt: call.startedAt } as const;
        statements.settle(call, ending, { usage, measured, cost: price });
      }
    },
    begin({ state = 'open', ...rest }) {
      const { id } = begin(rest);
      connection.prepare('UPDATE usage_request SET state = ? WHERE id = ?').run(state, id);
    },
  };
}
