/** `modelgate explain --user U`: everything that a user may use, and what gives it. Changes nothing. */
import type { StoreConfig } from '../../config/parse.ts';
import type { UserExplanation } from '../../organizations/explanation.ts';
import { explainUser } from '../../organizations/explanation.ts';
import type { Permit, PermitReason } from '../../policy/decision.ts';
import { configureOperation } from '../configured.ts';
import type { DatabaseOptions } from '../options.ts';
import { printable } from '../format.ts';
import { asJson, asRows, asTable } from '../report.ts';
import type { Given, Terminal } from '../terminal.ts';
import { EXIT, commandsIn, givenOf, inPlace, tell } from '../terminal.ts';
import type { Explanation, PolicySettings } from './explain.ts';
import { describeUser, toPolicySettings, unenforced } from './explain.ts';
import type { EnrolmentJson, MembershipJson } from './standing-lines.ts';
import { enrollingOf, standingRows, toEnrolmentJson, toMembershipsJson } from './standing-lines.ts';

/** What `--json` prints; absent things are null. */
export interface UserAccess {
  readonly user: Explanation['user'];
  /** Models that the file names, or that anybody was granted by their ids, as the gate would decide; by id. */
  readonly models: readonly {
    readonly model: string;
    readonly reason: PermitReason;
    readonly grant: Explanation['grant'];
    readonly chain: readonly string[];
  }[];
  /** Each gives whatever the backend has of this beginning. */
  readonly prefix_grants: readonly { readonly organization: string; readonly pattern: string }[];
  /** One sentence: why the user sees no models, or these. */
  readonly advice: string;
  readonly commands: readonly string[];
  readonly memberships: readonly MembershipJson[];
  readonly enrolment: EnrolmentJson;
  readonly settings: PolicySettings;
  readonly not_enforced: string | null;
}

/** @throws CommandFailure, OperationFailure where the file cannot be read, or nobody is meant */
export async function explainAccess(
  options: DatabaseOptions & { readonly user: string },
  terminal: Terminal,
): Promise<number> {
  const { config, operation } = configureOperation(options, terminal);
  const enrolling = enrollingOf(config.organization);
  const found = await explainUser(operation, options.user, { ...config.policy, enrolling });
  if (options.json === true) terminal.write(asJson(toJson(found, config, givenOf(terminal))));
  else tell(terminal, describe(terminal, found, config));
  return EXIT.done;
}

function toJson(found: UserExplanation, { policy }: StoreConfig, given: Given): UserAccess {
  const { person, user, usable, prefixes, advice, standings, enrolment } = found;
  return {
    user: { id: user.id, email: person.email, role: user.role },
    models: usable.map(({ model, reason, grant, chain }) => ({ model, reason, grant: grant ?? null, chain })),
    prefix_grants: prefixes,
    advice: inPlace(advice, given),
    commands: commandsIn(advice, given),
    memberships: toMembershipsJson(standings),
    enrolment: toEnrolmentJson(enrolment),
    settings: toPolicySettings(policy),
    not_enforced: unenforced(policy, 'deny'),
  };
}

function describe(terminal: Terminal, found: UserExplanation, { policy }: StoreConfig): string {
  const { person, user, usable, prefixes, advice, standings } = found;
  const obstacle = unenforced(policy, 'deny');
  const about = asRows([
    ['user', describeUser({ id: user.id, email: person.email, role: user.role })],
    ...standingRows(standings),
    ...(obstacle === null ? [] : [['not enforced', obstacle] as const]),
  ]);
  const rows = [
    ...usable.map((permit) => [permit.model, because(permit)]),
    ...prefixes.map(({ organization, pattern }) => [pattern, `${organization} grants every model of this beginning`]),
  ];
  const table = rows.length === 0 ? '' : `\n${asTable(terminal, ['may use', 'because'], rows)}`;
  return `${about}${table}\n${printable(advice, false)}\n`;
}

/** Such as `a preset on gpt-4o, which acme grants`. */
function because({ reason, grant, chain, model }: Permit): string {
  if (grant === undefined) return 'the user is an admin of the backend (MODELGATE_ADMIN_ACCESS=all)';
  if (reason === 'preset_base') return `a preset on ${chain.at(-1) ?? model}, which ${grant.organization} grants`;
  return grant.pattern === model ? `${grant.organization} grants it` : `${grant.organization} grants ${grant.pattern}`;
}
