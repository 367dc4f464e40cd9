/** Why a user may use a model, and what a user may use: decided by the code of the gate, read in one transaction. */
import { accessSync, constants } from 'node:fs';
import { dirname } from 'node:path';
import { getuid } from 'node:process';
import { requirePerson } from '../backend-file/backend.ts';
import { commandsIn } from '../backend-file/text.ts';
import { type Operation, reading } from '../backend-file/transaction.ts';
import { toOrganizationId, toUserId } from '../identity/principal.ts';
import { type DecideOptions, decide } from '../policy/decide.ts';
import { type Decision, REASONS } from '../policy/decision.ts';
import { type ModelId, compileGrants, coveringGrant, parseModelId, parsePattern } from '../policy/grant.ts';
import type { Connection } from '../store/database.ts';
import { inspect } from '../store/cached-view.ts';
import type { Schema } from '../store/schema.ts';
import { adviseOnModel, whySeen } from './advice.ts';
import { closestModel, createUseFinder, readKnownModels } from './known-models.ts';
import { type Membership, readMemberships } from './standing.ts';

/** How the gate is configured to decide. */
export interface GatePolicy extends DecideOptions {
  readonly mode: 'enforce' | 'report';
  /** The setting that switches the gate off. */
  readonly bypass: string | undefined;
  /** Id of the organization that the gate enrols users without any membership in. */
  readonly enrolling?: string | undefined;
}

export type ModelExplanation = Awaited<ReturnType<typeof explainModel>>['record'];
export type UserExplanation = Awaited<ReturnType<typeof explainUser>>['record'];

/**
 * @param named id or e-mail address
 * @returns the record of `explain --json`, and the membership that the gate makes at the user's first request
 * @throws OperationFailure as `reading`, and where the name fits no user or several
 */
export function explainModel(operation: Operation, named: string, model: ModelId, policy: GatePolicy) {
  return reading(operation, 'organizations', (connection, schema) => {
    const { view, user, person, joining, ...known } = readUser(connection, schema, operation.path, named, policy);
    const decision = decide(view, user, model, policy);
    const { isKnown, meant } = decision.effect === 'permit' ? KNOWN : look(connection, schema, model);
    const other = meant === undefined ? undefined : decide(view, user, meant, policy);
    const through = other?.effect === 'permit' ? other.grant : undefined;
    const memberships = joining === undefined ? known.memberships : [joining];
    const subject = { user, memberships, enrolment: known.enrolment };
    const advice = adviseOnModel({ ...subject, isKnown, meant, through, model, decision });
    const record = {
      decision: decision.effect,
      reason: decision.reason,
      meaning: REASONS[decision.reason].meaning,
      /** One sentence: why, and what to do. */
      advice,
      /** Those of the advice. */
      commands: commandsIn(advice),
      /** Whether the file names the model, or an organization was granted it; a provider's models are rarely named. */
      known: isKnown,
      did_you_mean: meant ?? null,
      user: { id: user.id, email: person.email, role: user.role },
      model,
      grant: decision.effect === 'permit' ? (decision.grant ?? null) : null,
      chain: decision.chain,
      /** Active organizations with an active membership of the user. */
      organizations: memberships
        .filter(({ counts }) => counts)
        .map(({ organization, models }) => ({ id: organization, grants: models.filter(isActive).length })),
      ...known,
      settings: settingsOf(policy),
      not_enforced: unenforced(policy, decision.effect),
    };
    return { record, joining };
  });
}

/** As `explainModel`, of all models that the file names or that were granted by their ids. */
export function explainUser(operation: Operation, named: string, policy: GatePolicy) {
  return reading(operation, 'organizations', (connection, schema) => {
    const { view, user, person, joining, ...known } = readUser(connection, schema, operation.path, named, policy);
    const memberships = joining === undefined ? known.memberships : [joining];
    const ids = new Set([...readKnownModels(connection, schema), ...everyPattern(connection)]);
    const models = [...ids].flatMap((id) => {
      const model = parsePattern(id)?.kind === 'exact' ? parseModelId(id) : undefined;
      const decision = model === undefined ? undefined : decide(view, user, model, policy);
      if (decision?.effect !== 'permit') return [];
      const { reason, grant = null, chain } = decision;
      return [{ model: decision.model, reason, grant, chain }];
    });
    const { advice, seesAny } = whySeen({ user, memberships, enrolment: known.enrolment }, policy);
    const record = {
      user: { id: user.id, email: person.email, role: user.role },
      models: models.toSorted((left, right) => (left.model < right.model ? -1 : 1)),
      /** Each permits whatever the backend has of this beginning. */
      prefix_grants: seesAny ? memberships.flatMap(prefixGrantsOf) : [],
      advice,
      commands: commandsIn(advice),
      ...known,
      settings: settingsOf(policy),
      not_enforced: unenforced(policy, 'deny'),
    };
    return { record, joining };
  });
}

const isActive = ({ active }: { readonly active: boolean }): boolean => active;

const prefixGrantsOf = ({ organization, counts, models }: Membership) =>
  models
    .filter(({ pattern, active }) => counts && active && pattern.endsWith('*'))
    .map(({ pattern }) => ({ organization, pattern }));

const settingsOf = ({ mode, bypass, adminAccess }: GatePolicy) => ({
  mode,
  /** The setting that switches the gate off, or null. */
  bypass: bypass ?? null,
  admin_access: adminAccess,
});

/** @returns why the gate does not act on a decision, or null where it does */
export function unenforced(
  { bypass, mode }: Pick<GatePolicy, 'bypass' | 'mode'>,
  effect: Decision['effect'],
): string | null {
  if (bypass !== undefined) return `${bypass} switches the gate off: everything is permitted`;
  return mode === 'report' && effect === 'deny' ? 'MODELGATE_MODE=report: denials are only logged' : null;
}

/** Patterns of every organization, switched off or not. */
const everyPattern = (connection: Connection): readonly string[] =>
  connection
    .prepare<[], string>("SELECT DISTINCT model_id FROM organization_models WHERE typeof(model_id) = 'text'")
    .pluck()
    .all();

const KNOWN = { isKnown: true, meant: undefined } as const;

/** Whether anything in the file names the model, and what else may be meant. */
function look(connection: Connection, schema: Schema, model: ModelId) {
  const known = readKnownModels(connection, schema);
  const granted = everyPattern(connection);
  const isKnown =
    known.has(model) ||
    coveringGrant(compileGrants(toOrganizationId(''), granted), model) !== undefined ||
    createUseFinder(connection, schema)(model);
  const meant = isKnown ? undefined : closestModel(model, [...granted, ...known]);
  return { isKnown, meant: parseModelId(meant) };
}

function readUser(connection: Connection, schema: Schema, path: string, named: string, policy: GatePolicy) {
  const { enrolling } = policy;
  const person = requirePerson(connection, named);
  const { view, enrolled } = inspect(connection, enrolling);
  /** With the role that the gate takes the user for: none in the row is `pending`. */
  const user = view.user(toUserId(person.id));
  // the finder has just found the row, in the same transaction
  if (user === undefined) throw new TypeError('a user was there and is not');
  // the gate reads no membership of an admin who may use everything, and so enrols none
  if (user.role !== 'admin' || policy.adminAccess !== 'all') view.grantsOf(user);
  const isEnrolled = enrolling !== undefined && enrolled.has(user.id);
  const enrolment = isEnrolled ? { organization: enrolling, obstacle: obstacleToWriting(path) } : null;
  const joined = enrolment !== null && enrolment.obstacle === null ? enrolment.organization : undefined;
  return {
    view: enrolment === null || joined !== undefined ? view : inspect(connection).view,
    person,
    user,
    joining: joined === undefined ? undefined : readMemberships(connection, schema, user.id, joined)[0],
    memberships: readMemberships(connection, schema, user.id),
    enrolment,
  };
}

/** @returns what hinders a gate that runs as the user of this command, or null */
function obstacleToWriting(path: string): string | null {
  const target = [path, dirname(path)].find((name) => !isWritable(name));
  return target === undefined ? null : `user ${getuid?.() ?? 'unknown'} may not write to ${target}`;
}

function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
