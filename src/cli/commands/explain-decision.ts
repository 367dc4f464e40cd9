/** `modelgate explain DECISION_ID`: the decision behind an id that a client was told, asked of the gate that made it. */
import { OperationFailure } from '../../backend-file/failure.ts';
import { quoted } from '../../backend-file/text.ts';
import { type ModelExplanation, explainModel } from '../../organizations/explanation.ts';
import { REASONS } from '../../policy/decision.ts';
import { parseModelId } from '../../policy/grant.ts';
import type { DecisionRecord, NoRecord } from '../../telemetry/recent-decisions.ts';
import { gatePolicyOf, operationOn, requireAdminOrigin, storeConfigIfAny } from '../configured.ts';
import { type Cell, asRows, printable, asJson } from '../report.ts';
import type { DatabaseOptions } from '../options.ts';
import { type Terminal, CommandFailure, EXIT, completedAdvice, givenOf, tell } from '../terminal.ts';

/** @throws CommandFailure where there is no such decision any more, the id is none, or no gate answers */
export async function explainDecision(id: string, options: Options, terminal: Terminal): Promise<number> {
  const gate = (options.adminUrl ?? requireAdminOrigin(terminal, options.config)).origin;
  const record = await ask(gate, id, terminal.stop);
  const now = await explainNow(record, options, terminal);
  if (options.json === true) terminal.write(asJson(toRecord(record, gate, now, terminal)));
  else tell(terminal, describe(record, gate, now));
  return EXIT.done;
}

type Options = DatabaseOptions & { readonly adminUrl?: URL | undefined };

const LONGEST_WAIT_MS = 5_000;

async function ask(gate: string, id: string, stop: AbortSignal): Promise<DecisionRecord> {
  const target = `${gate}/decisions/${encodeURIComponent(id)}`;
  let answer: unknown;
  try {
    const signal = AbortSignal.any([stop, AbortSignal.timeout(LONGEST_WAIT_MS)]);
    answer = await (await fetch(target, { redirect: 'error', signal })).json();
  } catch (error) {
    throw new CommandFailure(
      `No gate answers operators at ${gate} (${reasonOf(error)}). Name the one that has refused with --admin-url URL, or as MODELGATE_ADMIN_HOST and MODELGATE_ADMIN_PORT do for that gate.`,
      EXIT.failed,
      { cause: error },
    );
  }
  if (isOf<DecisionRecord>(answer, 'id')) return answer;
  if (!isOf<NoRecord>(answer, 'why')) {
    throw new CommandFailure(`What answers at ${gate} is no gate that keeps decisions.`);
  }
  if (answer.why === 'malformed') {
    throw new CommandFailure(
      `${quoted(id)} is no decision id: it is d- and ten letters or digits, as the refusal shows it.`,
      EXIT.misused,
    );
  }
  throw new CommandFailure(
    `The gate at ${gate} does not keep ${quoted(id)} any more, or never made it: it has the last ${answer.kept.toLocaleString('en')} decisions since ${answer.since}. Another gate may have it (--admin-url URL); the log of the gate has it as decision_id.`,
  );
}

const isOf = <T extends object>(answer: unknown, key: keyof T & string): answer is T =>
  typeof answer === 'object' && answer !== null && key in answer;

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown';
  if (error.cause instanceof Error) return reasonOf(error.cause);
  return 'code' in error && typeof error.code === 'string' ? error.code : error.name;
}

/** What the same question is answered now; undefined where there is no user, no model or no database to ask. */
async function explainNow(
  { user, model }: DecisionRecord,
  options: Options,
  terminal: Terminal,
): Promise<ModelExplanation | undefined> {
  const config = storeConfigIfAny(terminal, options);
  const id = parseModelId(model);
  if (config === undefined || user === null || id === undefined) return undefined;
  try {
    const operation = operationOn(config, terminal, options);
    return (await explainModel(operation, user.id, id, gatePolicyOf(config))).record;
  } catch (error) {
    // what was decided is worth telling without it
    if (error instanceof OperationFailure) return undefined;
    throw error;
  }
}

function toRecord(made: DecisionRecord, gate: string, now: ModelExplanation | undefined, terminal: Terminal) {
  const { user, reason } = made;
  return {
    ...made,
    meaning: REASONS[reason].meaning,
    user: user === null ? null : { id: user.id, email: now?.user.email ?? null, role: user.role },
    gate,
    now:
      now === undefined
        ? null
        : { decision: now.decision, reason: now.reason, ...completedAdvice(now.advice, givenOf(terminal)) },
  };
}

const WHO = {
  no_credential: 'anonymous: the request carried no credential',
  credential_invalid: 'anonymous: the credential was none of the backend’s',
  credential_expired: 'anonymous: the session had expired',
  user_unknown: 'anonymous: the backend no longer knows the user',
} as const;

function describe(record: DecisionRecord, gate: string, now: ModelExplanation | undefined): string {
  const { decision, reason, user, anonymous, organizations, model, grant, chain, status } = record;
  const rows: (readonly [string, Cell])[] = [
    ['decision', `${decision} (${reason}): ${REASONS[reason].meaning}`],
    [
      'user',
      user === null
        ? anonymous === null
          ? 'not known: the database could not be read'
          : WHO[anonymous]
        : describeUser({ ...user, email: now?.user.email ?? null }),
    ],
    ['model', model],
    ...(grant === null ? [] : [['grant', `${grant.pattern} of ${grant.organization}`] as const]),
    ...(chain.length > 1 ? [['chain', chain.join(' > ')] as const] : []),
    ...(organizations === null ? [] : [['organizations', organizations.join(', ') || 'none that count'] as const]),
    ['request', `${record.method} ${record.path} ${status === null ? 'is not answered yet' : String(status)}`],
    ['at', record.at],
    ['request id', record.request_id],
    ['gate', gate],
    ...(record.enforced ? [] : [['not enforced', 'MODELGATE_MODE=report: it was only logged'] as const]),
  ];
  const advice = now === undefined ? '' : `\nNow: ${now.decision}. ${printable(now.advice, false)}\n`;
  return `${asRows(rows)}${advice}`;
}

/** `u-1 <alice@example.com>, role user` */
export const describeUser = ({ id, email, role }: Record<'id' | 'role', string> & { email: string | null }): string =>
  `${id}${email === null ? '' : ` <${email}>`}, role ${role}`;
