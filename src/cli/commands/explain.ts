/** `modelgate explain`: a decision that a gate has made, one that it would make, or all that a user may use. */
import { type Command, Option } from '@commander-js/extra-typings';
import { quoted } from '../../backend-file/text.ts';
import {
  type ModelExplanation,
  type UserExplanation,
  explainModel,
  explainUser,
} from '../../organizations/explanation.ts';
import type { Membership } from '../../organizations/standing.ts';
import { parseModelId } from '../../policy/grant.ts';
import { configureOperation, gatePolicyOf } from '../configured.ts';
import { type Cell, asTable, counted, asJson, printable, asRows } from '../report.ts';
import { type CommandLine, type OptionsOf, onDatabase, toOrigin } from '../options.ts';
import { type Terminal, CommandFailure, EXIT, completedAdvice, givenOf, tell } from '../terminal.ts';
import { describeUser, explainDecision } from './explain-decision.ts';

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

type ExplainOptions = OptionsOf<typeof declare>;

async function explainAny(decision: string | undefined, options: ExplainOptions, terminal: Terminal): Promise<number> {
  const { user, model, adminUrl } = options;
  if (decision !== undefined) {
    if (user !== undefined || model !== undefined) {
      throw new CommandFailure('A decision id, or --user: not both.', EXIT.misused);
    }
    return explainDecision(decision, options, terminal);
  }
  if (adminUrl !== undefined) {
    throw new CommandFailure('--admin-url means nothing without a decision id.', EXIT.misused);
  }
  if (user === undefined) {
    throw new CommandFailure('Explain what? Name a decision id, or a user with --user.', EXIT.misused);
  }
  return model === undefined ? explainAccess(user, options, terminal) : explain(user, model, options, terminal);
}

type Row = readonly [name: string, value: Cell];

/** @throws OperationFailure where the file cannot be read, or the name fits no user or several */
async function explain(named: string, id: string, options: ExplainOptions, terminal: Terminal): Promise<number> {
  const { config, operation } = configureOperation(options, terminal);
  const model = parseModelId(id);
  if (model === undefined) throw new CommandFailure(`${quoted(id)} cannot be the id of a model.`, EXIT.misused);
  const { record, joining } = await explainModel(operation, named, model, gatePolicyOf(config));
  if (options.json === true)
    terminal.write(asJson({ ...record, ...completedAdvice(record.advice, givenOf(terminal)) }));
  else tell(terminal, describeModel(record, joining));
  return options.exitCode === true && record.decision === 'deny' ? EXIT.failed : EXIT.done;
}

function describeModel(record: ModelExplanation, joining: Membership | undefined): string {
  const { decision, reason, meaning, user, model, grant, chain, not_enforced: obstacle } = record;
  const rows: readonly Row[] = [
    ['decision', `${decision} (${reason}): ${meaning}`],
    ['user', describeUser(user)],
    ['model', model],
    ...(grant === null ? [] : [['grant', `${grant.pattern} of ${grant.organization}`] as const]),
    ...(chain.length > 1 ? [['chain', chain.join(' > ')] as const] : []),
    ...membershipRows(record.memberships, joining),
    ...(obstacle === null ? [] : [['not enforced', obstacle] as const]),
  ];
  return `${asRows(rows)}\n${printable(record.advice, false)}\n`;
}

/** @throws OperationFailure as `explain` */
async function explainAccess(named: string, options: ExplainOptions, terminal: Terminal): Promise<number> {
  const { config, operation } = configureOperation(options, terminal);
  const { record, joining } = await explainUser(operation, named, gatePolicyOf(config));
  if (options.json === true)
    terminal.write(asJson({ ...record, ...completedAdvice(record.advice, givenOf(terminal)) }));
  else tell(terminal, describeAccess(terminal, record, joining));
  return EXIT.done;
}

function describeAccess(terminal: Terminal, record: UserExplanation, joining: Membership | undefined): string {
  const { user, models, prefix_grants: prefixes, advice, not_enforced: obstacle } = record;
  const about = asRows([
    ['user', describeUser(user)],
    ...membershipRows(record.memberships, joining),
    ...(obstacle === null ? [] : [['not enforced', obstacle] as const]),
  ]);
  const rows = [
    ...models.map((permit) => [permit.model, because(permit)]),
    ...prefixes.map(({ organization, pattern }) => [pattern, `${organization} grants every model of this beginning`]),
  ];
  const table = rows.length === 0 ? '' : `\n${asTable(terminal, ['may use', 'because'], rows)}`;
  return `${about}${table}\n${printable(advice, false)}\n`;
}

/** Such as `a preset on gpt-4o, which acme grants`. */
function because({ reason, grant, chain, model }: UserExplanation['models'][number]): string {
  if (grant === null) return 'the user is an admin of the backend (MODELGATE_ADMIN_ACCESS=all)';
  if (reason === 'preset_base') return `a preset on ${chain.at(-1) ?? model}, which ${grant.organization} grants`;
  return grant.pattern === model ? `${grant.organization} grants it` : `${grant.organization} grants ${grant.pattern}`;
}

/**
 * @param joining the membership that the gate makes at the first request of a user who has none
 * @returns a row each, those that give something first: `member of  acme — 2 models on, 1 off`
 */
export function membershipRows(memberships: readonly Membership[], joining: Membership | undefined): readonly Row[] {
  const all = joining === undefined ? memberships : [joining];
  if (all.length === 0) return [['member of', 'no organization']];
  const made = joining === undefined ? '' : ' (from the first request on, MODELGATE_AUTO_ENROLL)';
  return [
    ...all.filter(({ counts }) => counts).map((one) => ['member of', describeGrants(one, made)] as const),
    ...all
      .filter(({ counts }) => !counts)
      .map(({ organization, why_not: why }) => ['not counted', `${organization} — ${why ?? ''}`] as const),
  ];
}

function describeGrants({ organization, models }: Membership, made: string): string {
  const on = models.filter(({ active }) => active).length;
  const off = models.length - on;
  return `${organization}${made} — ${counted(on, 'model')} on${off > 0 ? `, ${off.toLocaleString('en')} off` : ''}`;
}
