/** `modelgate explain`: the decision that the gate would come to for one user and one model, and why. Changes nothing. */
import type { StoreConfig } from '../config/parse.ts';
import { decide } from '../policy/decide.ts';
import type { Decision, DenyReason, PermitReason } from '../policy/decision.ts';
import { parseModelId } from '../policy/model-id.ts';
import { openInspection } from '../store/inspection.ts';
import type { Inspection, KnownUser } from '../store/inspection.ts';
import { requireStoreConfig } from './configured.ts';
import { asJson, asRows } from './output.ts';
import { CommandFailure, EXIT } from './terminal.ts';
import type { Terminal } from './terminal.ts';

export interface ExplainOptions {
  /** Id or e-mail address. */
  readonly user: string;
  readonly model: string;
  readonly json?: boolean;
  readonly database?: string;
  readonly config?: string;
}

/** What `--json` prints; absent things are null. */
export interface Explanation {
  readonly decision: 'permit' | 'deny';
  readonly reason: PermitReason | DenyReason;
  readonly meaning: string;
  readonly user: { readonly id: string; readonly email: string | null; readonly role: string };
  readonly model: string;
  readonly grant: { readonly organization: string; readonly pattern: string } | null;
  readonly chain: readonly string[];
  /** Organizations that count: active, with an active membership. */
  readonly organizations: readonly { readonly id: string; readonly grants: number }[];
  /** Why the gate does not act on it, or null. */
  readonly not_enforced: string | null;
}

/** @throws CommandFailure where the database cannot be read, or the user or model cannot be what was meant */
export function explain(options: ExplainOptions, terminal: Terminal): number {
  const config = requireStoreConfig(terminal, { file: options.config, database: options.database });
  const inspection = openInspection(config.database.path);
  if ('problem' in inspection) {
    throw new CommandFailure(`The database ${config.database.path} cannot be read: ${inspection.problem}.`);
  }
  try {
    const explanation = explainTo(inspection, onlyUser(inspection, options.user), options.model, config);
    terminal.write(options.json === true ? asJson(explanation) : describe(explanation));
    return EXIT.done;
  } finally {
    inspection.close();
  }
}

function onlyUser(inspection: Inspection, idOrEmail: string): KnownUser {
  const [user, other] = inspection.usersBy(idOrEmail);
  if (user === undefined) {
    throw new CommandFailure(`The backend knows no user with the id or e-mail address ${JSON.stringify(idOrEmail)}.`);
  }
  if (other !== undefined) {
    throw new CommandFailure(`Several users have the e-mail address ${JSON.stringify(idOrEmail)}: give the id of one.`);
  }
  return user;
}

function explainTo(
  { view }: Inspection,
  { principal, email }: KnownUser,
  named: string,
  config: StoreConfig,
): Explanation {
  const model = parseModelId(named);
  if (model === undefined)
    throw new CommandFailure(`${JSON.stringify(named)} cannot be the id of a model.`, EXIT.misused);
  const decision = decide(view, principal, model, config.policy);
  return {
    decision: decision.effect,
    reason: decision.reason,
    meaning: MEANINGS[decision.reason],
    user: { id: principal.id, email: email ?? null, role: principal.role },
    model,
    grant: decision.effect === 'permit' ? (decision.grant ?? null) : null,
    chain: decision.chain,
    organizations: view.grantsOf(principal).map(({ organization, exact, prefixes }) => ({
      id: organization,
      grants: exact.size + prefixes.length,
    })),
    not_enforced: unenforced(config, decision),
  };
}

function unenforced({ policy }: StoreConfig, decision: Decision): string | null {
  if (policy.bypass !== undefined) return `${policy.bypass} switches the gate off: everything is permitted`;
  return policy.mode === 'report' && decision.effect === 'deny'
    ? 'MODELGATE_MODE=report: denials are only logged'
    : null;
}

const MEANINGS: Record<PermitReason | DenyReason, string> = {
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
};

function describe(explanation: Explanation): string {
  const { decision, reason, meaning, user, model, grant, chain, organizations } = explanation;
  const rows: (readonly [string, string])[] = [
    ['decision', `${decision} (${reason}): ${meaning}`],
    ['user', `${user.id}${user.email === null ? '' : ` <${user.email}>`}, role ${user.role}`],
    ['model', model],
  ];
  if (grant !== null) rows.push(['grant', `${grant.pattern} of ${grant.organization}`]);
  if (chain.length > 1) rows.push(['chain', chain.join(' > ')]);
  const list = organizations.map(({ id, grants }) => `${id} (${grants === 1 ? '1 grant' : `${grants} grants`})`);
  rows.push(['organizations', list.length === 0 ? 'none that count' : list.join(', ')]);
  if (explanation.not_enforced !== null) rows.push(['not enforced', explanation.not_enforced]);
  return asRows(rows);
}
