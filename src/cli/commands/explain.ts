/** `modelgate explain`: a decision that a gate has made, one that it would make, or all that a user may use. */
import { Option } from '@commander-js/extra-typings';
import { OperationFailure } from '../../backend-file/failure.ts';
import { quoted } from '../../backend-file/text.ts';
import {
  type ModelExplanation,
  type UserExplanation,
  explainModels,
  explainUser,
} from '../../organizations/explanation.ts';
import type { Membership } from '../../organizations/standing.ts';
import { REASONS } from '../../policy/decision.ts';
import { parseModelId } from '../../policy/grant.ts';
import { failureCode } from '../../store/database.ts';
import type { DecisionRecord, NoRecord } from '../../telemetry/recent-decisions.ts';
import { type DatabaseOptions, configureOperation, lateCommand, requireAdminOrigin, toOrigin } from '../options.ts';
import { explainCall } from './explain-call.ts';
import { type Fact, counted, grouped, tableOf, whole } from '../report.ts';
import { type Terminal, CommandFailure, EXIT, completedAdvice, givenOf, misused } from '../terminal.ts';

export const addExplain = lateCommand(
  'explain',
  `say why a decision was made, whether a user may use a model, or what a user may use
With a decision id, as refusals show it: asks the running gate, which keeps its last 10,000 decisions, at MODELGATE_ADMIN_HOST and MODELGATE_ADMIN_PORT or --admin-url. Each gate knows its own.

With --user, in place of the guide's "Users Can't See Models": memberships (those too that do not count), the models of each organization, the role, the base of a preset, bypass settings, and one sentence. Asks the very code of the gate. Without --model: everything that the user may use, with what gives it.

With --door provider: the decision of the provider door on a model as the provider is asked for it, which organization pays, which budgets count the call and what is left of them, and whether its price is known. Needs the settings of the gate.
$ modelgate explain d-gp4gqhkxqn
$ modelgate explain --user alice@example.com --database data/webui.db
$ modelgate explain --user alice@example.com --model openai/gpt-4o --database data/webui.db
$ modelgate explain --user alice@example.com --model openai/gpt-4o --door provider`,
  (command) =>
    command
      .argument('[decision]', 'id of a decision, such as d-gp4gqhkxqn')
      .option('--user <id>', 'id or e-mail address of the user')
      .option('--model <id>', 'id of the model, exactly as the backend spells it')
      .addOption(new Option('--door <name>', 'whose decision, with --model').choices(['front', 'provider'] as const))
      .option('--provider <host>', 'with --door provider: its host, where there are several')
      .option('--exit-code', 'with --model: end with 1 where the decision is a denial')
      .option('--admin-url <url>', 'where the gate answers operators, such as http://127.0.0.1:9464', toOrigin),
  (decision, options, terminal) => {
    const { user, model, adminUrl } = options;
    if (decision !== undefined) {
      const other = (['user', 'model', 'door', 'provider'] as const).find((name) => options[name] !== undefined);
      if (other !== undefined) throw misused(`A decision id, or --${other}: not both.`);
      const gate = adminUrl ?? requireAdminOrigin(terminal, options.config);
      return explainDecision(decision, gate.origin, options, terminal);
    }
    if (adminUrl !== undefined) throw misused('--admin-url means nothing without a decision id.');
    if (user === undefined) throw misused('Explain what? Name a decision id, or a user with --user.');
    if (options.door === 'provider') return explainAtProvider(user, model, options, terminal);
    if (options.provider !== undefined) throw misused('--provider means nothing without --door provider.');
    return explainNamed(user, model, options, terminal);
  },
);

async function explainNamed(named: string, id: string | undefined, options: Options, terminal: Terminal) {
  const { operation, policy } = configureOperation(options, terminal);
  if (id === undefined) {
    const found = await explainUser(operation, named, policy);
    const { record } = found;
    return { ...advised(record, terminal), parts: [userFacts(found), tableOfUse(record), whole(record.advice)] };
  }
  const model = parseModelId(id);
  if (model === undefined) throw misused(`${quoted(id)} cannot be the id of a model.`);
  const found = await explainModels(operation, named, policy, (explain) => explain(model));
  const { record } = found;
  const parts = [[...decisionFacts(record), ...userFacts(found)], whole(record.advice)];
  return { ...advised(record, terminal), parts, failed: options.exitCode === true && record.decision === 'deny' };
}

async function explainAtProvider(named: string, id: string | undefined, options: CallOptions, terminal: Terminal) {
  const { record, facts } = await explainCall(named, id, options, terminal);
  const parts = [[...decisionFacts(record), ['user', describeUser(record.user)] as const, ...facts]];
  return { record, parts, failed: options.exitCode === true && record.decision === 'deny' };
}

const advised = <R extends { readonly advice: string }>(record: R, terminal: Terminal) => ({
  record: { ...record, ...completedAdvice(record.advice, givenOf(terminal)) },
});

type Options = DatabaseOptions & { readonly exitCode?: true };
type CallOptions = Options & { readonly provider?: string };

type Judged = Pick<DecisionRecord, 'decision' | 'reason' | 'model' | 'grant' | 'chain'>;

const decisionFacts = ({ decision, reason, model, grant, chain }: Judged): readonly Fact[] => [
  ['decision', `${decision} (${reason}): ${REASONS[reason].meaning}`],
  ['model', model],
  ['grant', grant === null ? undefined : `${grant.pattern} of ${grant.organization}`],
  ['chain', chain.length > 1 ? chain.join(' > ') : undefined],
];

type Explained = Pick<Awaited<ReturnType<typeof explainUser>>, 'joining'> & {
  readonly record: Pick<ModelExplanation, 'user' | 'memberships' | 'not_enforced'>;
};

/** @param joining the membership that the gate makes at the first request @param all with the models of each organization */
export function userFacts({ record, joining }: Explained, all = false): readonly Fact[] {
  const memberships = joining === undefined ? record.memberships : [joining];
  const made = joining === undefined ? '' : ' (from the first request on, MODELGATE_AUTO_ENROLL)';
  const factsOn = ({ organization, counts, why_not: why, models }: Membership): readonly Fact[] => {
    if (!counts) return [['not counted', `${organization} — ${why ?? ''}`]];
    const { on = [], off = [] } = Object.groupBy(models, ({ active }) => (active ? 'on' : 'off'));
    const rest = off.length > 0 ? `, ${grouped(off.length)} off` : '';
    const listed = Object.entries(all ? { '  models': on, '  models, off': off } : {});
    return [
      ['member of', `${organization}${made} — ${counted(on.length, 'model')} on${rest}`],
      ...listed.map(([name, some]): Fact => [name, some.length === 0 ? undefined : some.map(({ pattern }) => pattern)]),
    ];
  };
  return [
    ['user', describeUser(record.user)],
    ['member of', memberships.length === 0 ? 'no organization' : undefined],
    ...memberships.toSorted((left, right) => Number(right.counts) - Number(left.counts)).flatMap(factsOn),
    ['not enforced', record.not_enforced ?? undefined],
  ];
}

/** `u-1 <alice@example.com>, role user` */
const describeUser = ({ id, email, role }: Record<'id' | 'role', string> & { email: string | null }): string =>
  `${id}${email === null ? '' : ` <${email}>`}, role ${role}`;

function tableOfUse({ models, prefix_grants: prefixes }: UserExplanation) {
  const rows = [
    ...models.map((permit) => ({ id: permit.model, why: because(permit) })),
    ...prefixes.map(({ pattern: id, organization }) => {
      return { id, why: `${organization} grants every model of this beginning` };
    }),
  ];
  return rows.length === 0 ? '' : tableOf(rows, { 'may use': 'id', because: 'why' });
}

function because({ reason, grant, chain, model }: UserExplanation['models'][number]): string {
  if (grant === null) return 'the user is an admin of the backend (MODELGATE_ADMIN_ACCESS=all)';
  if (reason === 'preset_base') return `a preset on ${chain.at(-1) ?? model}, which ${grant.organization} grants`;
  return grant.pattern === model ? `${grant.organization} grants it` : `${grant.organization} grants ${grant.pattern}`;
}

async function explainDecision(id: string, gate: string, options: DatabaseOptions, terminal: Terminal) {
  const made = await ask(gate, id, terminal.stop);
  const now = await explainNow(made, options, terminal);
  const { reason, anonymous, organizations, status } = made;
  const user = made.user && { id: made.user.id, email: now?.user.email ?? null, role: made.user.role };
  const who = anonymous === null ? 'not known: the database could not be read' : WHO[anonymous];
  const facts: readonly Fact[] = [
    ...decisionFacts(made).toSpliced(1, 0, ['user', user === null ? who : describeUser(user)]),
    ['organizations', organizations === null ? undefined : organizations.join(', ') || 'none that count'],
    ['request', `${made.method} ${made.path} ${status === null ? 'is not answered yet' : String(status)}`],
    ['at', made.at],
    ['request id', made.request_id],
    ['gate', gate],
    ['not enforced', made.enforced ? undefined : 'MODELGATE_MODE=report: it was only logged'],
  ];
  const advised = now && {
    ...{ decision: now.decision, reason: now.reason },
    ...completedAdvice(now.advice, givenOf(terminal)),
  };
  return {
    record: { ...made, meaning: REASONS[reason].meaning, user, gate, now: advised ?? null },
    parts: [facts, now === undefined ? '' : `Now: ${now.decision}. ${whole(now.advice)}`],
  };
}

const WHO = {
  no_credential: 'anonymous: the request carried no credential',
  credential_invalid: 'anonymous: the credential was none of the backend’s',
  credential_expired: 'anonymous: the session had expired',
  user_unknown: 'anonymous: the backend no longer knows the user',
} as const;

async function ask(gate: string, id: string, stop: AbortSignal): Promise<DecisionRecord> {
  const signal = AbortSignal.any([stop, AbortSignal.timeout(5_000)]);
  const answer: unknown = await fetch(`${gate}/decisions/${encodeURIComponent(id)}`, { redirect: 'error', signal })
    .then((response) => response.json())
    .catch((error: unknown) => {
      throw new CommandFailure(
        `No gate answers operators at ${gate} (${failureCode(error instanceof Error ? (error.cause ?? error) : error)}). Name the one that has refused with --admin-url URL, or as MODELGATE_ADMIN_HOST and MODELGATE_ADMIN_PORT do for that gate.`,
        EXIT.failed,
        { cause: error },
      );
    });
  if (isOf<DecisionRecord>(answer, 'id')) return answer;
  if (!isOf<NoRecord>(answer, 'why')) {
    throw new CommandFailure(`What answers at ${gate} is no gate that keeps decisions.`);
  }
  if (answer.why === 'malformed') {
    const expected = 'it is d- and ten letters or digits, as the refusal shows it';
    throw misused(`${quoted(id)} is no decision id: ${expected}.`);
  }
  throw new CommandFailure(
    `The gate at ${gate} does not keep ${quoted(id)} any more, or never made it: it has the last ${grouped(answer.kept)} decisions since ${answer.since}. Another gate may have it (--admin-url URL); the log of the gate has it as decision_id.`,
  );
}

const isOf = <T extends object>(answer: unknown, key: keyof T & string): answer is T =>
  typeof answer === 'object' && answer !== null && key in answer;

/** What the same question is answered now; undefined where there is no user, no model or no database to ask. */
async function explainNow({ user, model }: DecisionRecord, options: DatabaseOptions, terminal: Terminal) {
  const id = parseModelId(model);
  if (user === null || id === undefined) return undefined;
  try {
    const { operation, policy } = configureOperation(options, terminal);
    return (await explainModels(operation, user.id, policy, (explain) => explain(id))).record;
  } catch (error) {
    if (error instanceof OperationFailure) return undefined;
    throw error;
  }
}
