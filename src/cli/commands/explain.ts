/** `modelgate explain`: the decision that the gate would come to for one user and one model, and why. Changes nothing. */
import type { Command } from '@commander-js/extra-typings';
import { Option } from '@commander-js/extra-typings';
import { quoted } from '../../backend-file/text.ts';
import type { StoreConfig } from '../../config/parse.ts';
import type { ModelExplanation } from '../../organizations/explanation.ts';
import { explainModel } from '../../organizations/explanation.ts';
import { counts } from '../../organizations/standing.ts';
import type { Decision, DenyReason, PermitReason } from '../../policy/decision.ts';
import { parseModelId } from '../../policy/grant.ts';
import { configureOperation } from '../configured.ts';
import type { CommandLine, OptionsOf } from '../options.ts';
import { onDatabase, toOrigin } from '../options.ts';
import { printable } from '../format.ts';
import type { Cell } from '../report.ts';
import { asJson, asRows } from '../report.ts';
import type { Given, Terminal } from '../terminal.ts';
import { CommandFailure, EXIT, commandsIn, givenOf, inPlace, tell } from '../terminal.ts';
import type { EnrolmentJson, MembershipJson } from './standing-lines.ts';
import { enrollingOf, standingRows, toEnrolmentJson, toMembershipsJson } from './standing-lines.ts';

/** Adds `explain`. */
export function addExplain({ program, terminal, exitWith }: CommandLine): void {
  declare(program).action(async (decision, options) => exitWith(await explainAny(decision, options, terminal)));
}

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
      .addOption(
        new Option('--admin-url <url>', 'where the gate answers operators, such as http://127.0.0.1:9464').argParser(
          toOrigin,
        ),
      ),
    'modelgate explain d-gp4gqhkxqn',
    'modelgate explain --user alice@example.com --database data/webui.db',
    'modelgate explain --user alice@example.com --model openai/gpt-4o --database data/webui.db',
  );

export type ExplainOptions = OptionsOf<typeof declare>;

async function explainAny(decision: string | undefined, options: ExplainOptions, terminal: Terminal): Promise<number> {
  const { user, model, adminUrl } = options;
  if (decision !== undefined) {
    if (user !== undefined || model !== undefined) {
      throw new CommandFailure('A decision id, or --user: not both.', EXIT.misused);
    }
    const { explainDecision } = await import('./explain-decision.ts');
    return explainDecision(decision, options, terminal);
  }
  if (adminUrl !== undefined)
    throw new CommandFailure('--admin-url means nothing without a decision id.', EXIT.misused);
  if (user === undefined) {
    throw new CommandFailure('Explain what? Name a decision id, or a user with --user.', EXIT.misused);
  }
  if (model === undefined) {
    const { explainAccess } = await import('./explain-user.ts');
    return explainAccess({ ...options, user }, terminal);
  }
  return explain({ ...options, user, model }, terminal);
}

/** What `--json` prints; absent things are null. */
export interface Explanation {
  readonly decision: 'permit' | 'deny';
  readonly reason: PermitReason | DenyReason;
  readonly meaning: string;
  /** One sentence: why, and what to do. */
  readonly advice: string;
  /** Those of the advice, to be pasted into a shell. */
  readonly commands: readonly string[];
  /** Whether the file names the model, or anybody was granted it. */
  readonly known: boolean;
  readonly did_you_mean: string | null;
  readonly user: { readonly id: string; readonly email: string | null; readonly role: string };
  readonly model: string;
  readonly grant: { readonly organization: string; readonly pattern: string } | null;
  readonly chain: readonly string[];
  /** Organizations that count: active, with an active membership. */
  readonly organizations: readonly { readonly id: string; readonly grants: number }[];
  /** Every membership, also those that give nothing. */
  readonly memberships: readonly MembershipJson[];
  /** What the gate does with a user who has no membership. */
  readonly enrolment: EnrolmentJson;
  readonly settings: PolicySettings;
  /** Why the gate does not act on it, or null. */
  readonly not_enforced: string | null;
}

/** The switches that decide whether the gate acts on a decision. */
export interface PolicySettings {
  readonly mode: 'enforce' | 'report';
  /** The setting that switches the gate off, or null. */
  readonly bypass: string | null;
  readonly admin_access: 'organization' | 'all';
}

/** @throws CommandFailure for what cannot be a model @throws OperationFailure where the file cannot be read, or nobody is meant */
async function explain(options: ExplainOptions & { user: string; model: string }, terminal: Terminal): Promise<number> {
  const { config, operation } = configureOperation(options, terminal);
  const model = parseModelId(options.model);
  if (model === undefined)
    throw new CommandFailure(`${quoted(options.model)} cannot be the id of a model.`, EXIT.misused);
  const enrolling = enrollingOf(config.organization);
  const found = await explainModel(operation, options.user, model, { ...config.policy, enrolling });
  const explanation = toExplanation(found, model, config, givenOf(terminal));
  if (options.json === true) terminal.write(asJson(explanation));
  else tell(terminal, describe(found, explanation));
  return options.exitCode === true && explanation.decision === 'deny' ? EXIT.failed : EXIT.done;
}

function toExplanation(found: ModelExplanation, model: string, { policy }: StoreConfig, given: Given): Explanation {
  const { decision, person, user, standings } = found;
  return {
    decision: decision.effect,
    reason: decision.reason,
    meaning: MEANINGS[decision.reason],
    advice: inPlace(found.advice, given),
    commands: commandsIn(found.advice, given),
    known: found.isKnown,
    did_you_mean: found.meant ?? null,
    user: { id: user.id, email: person.email, role: user.role },
    model,
    grant: decision.effect === 'permit' ? (decision.grant ?? null) : null,
    chain: decision.chain,
    organizations: standings.filter(counts).map(({ organization, grants }) => ({
      id: organization,
      grants: grants.filter(({ isActive }) => isActive).length,
    })),
    memberships: toMembershipsJson(standings),
    enrolment: toEnrolmentJson(found.enrolment),
    settings: toPolicySettings(policy),
    not_enforced: unenforced(policy, decision.effect),
  };
}

/** `u-1 <alice@example.com>, role user` */
export const describeUser = ({ id, email, role }: Explanation['user']): string =>
  `${id}${email === null ? '' : ` <${email}>`}, role ${role}`;

/** For `--json`. */
export const toPolicySettings = ({ mode, bypass, adminAccess }: StoreConfig['policy']): PolicySettings => ({
  mode,
  bypass: bypass ?? null,
  admin_access: adminAccess,
});

/** @returns why the gate does not act on a decision, or null where it does */
export function unenforced({ bypass, mode }: StoreConfig['policy'], effect: Decision['effect']): string | null {
  if (bypass !== undefined) return `${bypass} switches the gate off: everything is permitted`;
  return mode === 'report' && effect === 'deny' ? 'MODELGATE_MODE=report: denials are only logged' : null;
}

/** What each reason says, in words that follow it. */
export const MEANINGS: Record<PermitReason | DenyReason, string> = {
  grant: 'an organization of the user grants exactly this model',
  prefix_grant: 'an organization of the user grants every model with this beginning',
  preset_base: 'a preset whose base model is granted',
  admin_access: 'the user is an admin of the backend, and MODELGATE_ADMIN_ACCESS is `all`',
  media_model: 'an image or speech model that MODELGATE_MEDIA_MODELS allows',
  not_authenticated: 'nobody is signed in',
  role_not_permitted: 'the role of the user may use no model at all',
  no_organization: 'the user is an active member of no active organization',
  not_granted: 'no organization of the user grants this model',
  preset_base_not_granted: 'a preset whose chain of base models does not end in a granted one',
  preset_parameter_not_granted: 'a preset that names, in its parameters, a model that is not granted',
  media_model_not_listed: 'an image or speech model that MODELGATE_MEDIA_MODELS does not list',
  model_missing: 'no model is named',
  reference_unreadable: 'a model is named in a form that cannot be read',
  direct_connection: 'direct connections are refused',
  path_unlisted: 'the endpoint is for admins of the backend only',
  preset_id_taken: 'the id of the preset is that of a provider model',
  stored_reference: 'something stored names a model that is not granted',
  saved_reference: 'what was to be saved names a model that is not granted',
};

function describe({ standings, advice }: ModelExplanation, explanation: Explanation): string {
  const { decision, reason, meaning, user, model, grant, chain } = explanation;
  const rows: (readonly [string, Cell])[] = [
    ['decision', `${decision} (${reason}): ${meaning}`],
    ['user', describeUser(user)],
    ['model', model],
  ];
  if (grant !== null) rows.push(['grant', `${grant.pattern} of ${grant.organization}`]);
  if (chain.length > 1) rows.push(['chain', chain.join(' > ')]);
  rows.push(...standingRows(standings));
  if (explanation.not_enforced !== null) rows.push(['not enforced', explanation.not_enforced]);
  return `${asRows(rows)}\n${printable(advice, false)}\n`;
}
