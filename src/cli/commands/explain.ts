/** `modelgate explain`: a decision that a gate has made, one that it would make, or all that a user may use. */
import type { Command } from '@commander-js/extra-typings';
import { OperationFailure } from '../../backend-file/failure.ts';
import { quoted } from '../../backend-file/text.ts';
import {
  type ModelExplanation,
  type UserExplanation,
  explainModel,
  explainUser,
} from '../../organizations/explanation.ts';
import type { Membership } from '../../organizations/standing.ts';
import { REASONS } from '../../policy/decision.ts';
import { parseModelId } from '../../policy/grant.ts';
import type { DecisionRecord, NoRecord } from '../../telemetry/audit.ts';
import {
  type OptionsOf,
  commandOf,
  configureOperation,
  gatePolicyOf,
  onDatabase,
  operationOn,
  requireAdminOrigin,
  storeConfigIfAny,
  toOrigin,
} from '../options.ts';
import { type Fact, counted, print, printable } from '../report.ts';
import { type Terminal, CommandFailure, EXIT, completedAdvice, givenOf, misused } from '../terminal.ts';

const declare = (program: Command) =>
  onDatabase(
    program
      .command('explain')
      .description(
        `say why a decision was made, whether a user may use a model, or what a user may use

With a decision id, as refusals show it: asks the running gate, which keeps its last 10,000 decisions, at MODELGATE_ADMIN_HOST and MODELGATE_ADMIN_PORT or --admin-url. Each gate knows its own.

With --user, in place of the guide's "Users Can't See Models": memberships (those too that do not count), the models of each organization, the role, the base of a preset, bypass settings, and one sentence. Asks the very code of the gate. Without --model: everything that the user may use, with what gives it.`,
      )
      .summary('say why a decision was made, whether a user may use a model, or what a user may use')
      .argument('[decision]', 'id of a decision, such as d-gp4gqhkxqn')
      .option('--user <id>', 'id or e-mail address of the user')
      .option('--model <id>', 'id of the model, exactly as the backend spells it')
      .option('--exit-code', 'with --model: end with 1 where the decision is a denial')
      .option('--admin-url <url>', 'where the gate answers operators, such as http://127.0.0.1:9464', toOrigin),
    'modelgate explain d-gp4gqhkxqn',
    'modelgate explain --user alice@example.com --database data/webui.db',
    'modelgate explain --user alice@example.com --model openai/gpt-4o --database data/webui.db',
  );

export const addExplain = commandOf(declare, explain);
type Options = OptionsOf<typeof declare>;

function explain(decision: string | undefined, options: Options, terminal: Terminal): Promise<number> {
  const { user, model, adminUrl } = options;
  if (decision !== undefined) {
    if (user !== undefined || model !== undefined) throw misused('A decision id, or --user: not both.');
    return explainDecision(decision, options, terminal);
  }
  if (adminUrl !== undefined) throw misused('--admin-url means nothing without a decision id.');
  if (user === undefined) throw misused('Explain what? Name a decision id, or a user with --user.');
  return model === undefined ? explainAccess(user, options, terminal) : explainOne(user, model, options, terminal);
}

async function explainOne(named: string, id: string, options: Options, terminal: Terminal): Promise<number> {
  const { config, operation } = configureOperation(options, terminal);
  const model = parseModelId(id);
  if (model === undefined) throw misused(`${quoted(id)} cannot be the id of a model.`);
  const { record, joining } = await explainModel(operation, named, model, gatePolicyOf(config));
  const facts: readonly Fact[] = [
    ['decision', `${record.decision} (${record.reason}): ${record.meaning}`],
    ['user', describeUser(record.user)],
    ...factsOn(record),
    ...membershipRows(record.memberships, joining),
    ...notEnforced(record.not_enforced),
  ];
  return print(terminal, options, {
    record: { ...record, ...completedAdvice(record.advice, givenOf(terminal)) },
    parts: [facts, printable(record.advice, false)],
    code: options.exitCode === true && record.decision === 'deny' ? EXIT.failed : EXIT.done,
  });
}

const factsOn = ({ model, grant, chain }: Pick<DecisionRecord, 'model' | 'grant' | 'chain'>): readonly Fact[] => [
  ['model', model],
  ...(grant === null ? [] : [['grant', `${grant.pattern} of ${grant.organization}`] as const]),
  ...(chain.length > 1 ? [['chain', chain.join(' > ')] as const] : []),
];

export const notEnforced = (why: string | null): readonly Fact[] => (why === null ? [] : [['not enforced', why]]);

async function explainAccess(named: string, options: Options, terminal: Terminal): Promise<number> {
  const { config, operation } = configureOperation(options, terminal);
  const { record, joining } = await explainUser(operation, named, gatePolicyOf(config));
  const facts: readonly Fact[] = [
    ['user', describeUser(record.user)],
    ...membershipRows(record.memberships, joining),
    ...notEnforced(record.not_enforced),
  ];
  const rows = [
    ...record.models.map((permit) => [permit.model, because(permit)]),
    ...record.prefix_grants.map((grant) => [
      grant.pattern,
      `${grant.organization} grants every model of this beginning`,
    ]),
  ];
  return print(terminal, options, {
    record: { ...record, ...completedAdvice(record.advice, givenOf(terminal)) },
    parts: [
      facts,
      ...(rows.length === 0 ? [] : [{ columns: ['may use', 'because'], rows }]),
      printable(record.advice, false),
    ],
  });
}

function because({ reason, grant, chain, model }: UserExplanation['models'][number]): string {
  if (grant === null) return 'the user is an admin of the backend (MODELGATE_ADMIN_ACCESS=all)';
  if (reason === 'preset_base') return `a preset on ${chain.at(-1) ?? model}, which ${grant.organization} grants`;
  return grant.pattern === model ? `${grant.organization} grants it` : `${grant.organization} grants ${grant.pattern}`;
}

/** @param joining the membership that the gate makes at the first request @returns one each, those that give something first */
export function membershipRows(memberships: readonly Membership[], joining: Membership | undefined): readonly Fact[] {
  const all = joining === undefined ? memberships : [joining];
  if (all.length === 0) return [['member of', 'no organization']];
  const made = joining === undefined ? '' : ' (from the first request on, MODELGATE_AUTO_ENROLL)';
  const facts = all.map(({ organization, counts, why_not: why, models }): Fact => {
    if (!counts) return ['not counted', `${organization} — ${why ?? ''}`];
    const on = models.filter(({ active }) => active).length;
    const off = models.length > on ? `, ${(models.length - on).toLocaleString('en')} off` : '';
    return ['member of', `${organization}${made} — ${counted(on, 'model')} on${off}`];
  });
  return facts.toSorted(([left], [right]) => left.localeCompare(right));
}

/** `u-1 <alice@example.com>, role user` */
export const describeUser = ({ id, email, role }: Record<'id' | 'role', string> & { email: string | null }): string =>
  `${id}${email === null ? '' : ` <${email}>`}, role ${role}`;

async function explainDecision(id: string, options: Options, terminal: Terminal): Promise<number> {
  const gate = (options.adminUrl ?? requireAdminOrigin(terminal, options.config)).origin;
  const made = await ask(gate, id, terminal.stop);
  const now = await explainNow(made, options, terminal);
  const { decision, reason, anonymous, organizations, status } = made;
  const { meaning } = REASONS[reason];
  const user = made.user && { id: made.user.id, email: now?.user.email ?? null, role: made.user.role };
  const who = anonymous === null ? 'not known: the database could not be read' : WHO[anonymous];
  const facts: readonly Fact[] = [
    ['decision', `${decision} (${reason}): ${meaning}`],
    ['user', user === null ? who : describeUser(user)],
    ...factsOn(made),
    ...(organizations === null ? [] : [['organizations', organizations.join(', ') || 'none that count'] as const]),
    ['request', `${made.method} ${made.path} ${status === null ? 'is not answered yet' : String(status)}`],
    ['at', made.at],
    ['request id', made.request_id],
    ['gate', gate],
    ...notEnforced(made.enforced ? null : 'MODELGATE_MODE=report: it was only logged'),
  ];
  const advised = now && {
    ...{ decision: now.decision, reason: now.reason },
    ...completedAdvice(now.advice, givenOf(terminal)),
  };
  return print(terminal, options, {
    record: { ...made, meaning, user, gate, now: advised ?? null },
    parts: [facts, now === undefined ? '' : `Now: ${now.decision}. ${printable(now.advice, false)}`],
  });
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
        `No gate answers operators at ${gate} (${reasonOf(error)}). Name the one that has refused with --admin-url URL, or as MODELGATE_ADMIN_HOST and MODELGATE_ADMIN_PORT do for that gate.`,
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
    if (error instanceof OperationFailure) return undefined;
    throw error;
  }
}
