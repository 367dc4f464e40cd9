/** Why a user may use a model, and what a user may use: decided by the code of the gate, read in one transaction. */
import { accessSync, constants } from 'node:fs';
import { dirname } from 'node:path';
import { getuid } from 'node:process';
import { requirePerson } from '../backend-file/backend.ts';
import { commandsIn } from '../backend-file/text.ts';
import { type Operation, reading } from '../backend-file/transaction.ts';
import { type UserPrincipal, toOrganizationId, toUserId } from '../policy/principal.ts';
import { type DecideOptions, decide } from '../policy/decide.ts';
import { type Decision, REASONS } from '../policy/decision.ts';
import { type ModelId, compileGrants, coveringGrant, parseModelId, parsePattern } from '../policy/grant.ts';
import type { Connection } from '../store/database.ts';
import { type StoreView, inspect } from '../store/store-view.ts';
import type { Schema } from '../store/schema.ts';
import { closestModel, createUseFinder, readKnownModels } from './catalogue.ts';
import { readColumn } from './organizations.ts';
import { adviseOnModel, countingOf, readMemberships, whySeen } from './standing.ts';

/** How the gate is configured to decide: `bypass` is the setting that switches it off, `enrolling` the id of an organization. */
export interface GatePolicy extends DecideOptions {
  readonly mode: 'enforce' | 'report';
  readonly bypass: string | undefined;
  readonly enrolling?: string | undefined;
}

export type ModelExplanation = ReturnType<ReturnType<typeof createExplainer>>;
export type UserExplanation = Awaited<ReturnType<typeof explainUser>>['record'];

/**
 * Explains one model or several, which share what was read and prepared. @param named id or e-mail address
 * @param ask gets what explains a model
 * @returns beside its result: the membership that the gate makes at the user's first request
 */
export const explainModels = <T>(
  operation: Operation,
  named: string,
  policy: GatePolicy,
  ask: (explain: (model: ModelId) => ModelExplanation) => T,
) =>
  reading(operation, 'organizations', (connection, schema) => {
    const asked = readUser(connection, schema, operation.path, named, policy);
    return { record: ask(createExplainer(connection, schema, asked, policy)), joining: asked.joining };
  });

function createExplainer(
  connection: Connection,
  schema: Schema,
  asked: ReturnType<typeof readUser>,
  policy: GatePolicy,
) {
  const { view, subject, user, rest } = asked;
  const [known, granted] = [readKnownModels(connection, schema), readPatterns(connection)];
  const grants = compileGrants(toOrganizationId(''), granted);
  const isUsed = createUseFinder(connection, schema);
  return (model: ModelId) => {
    const decision = decide(view, subject.user, model, policy);
    const isNamed = decision.effect === 'permit' || coveringGrant(grants, model) !== undefined || known.has(model);
    const isKnown = isNamed || isUsed(model);
    const meant = isKnown ? undefined : parseModelId(closestModel(model, [...granted, ...known]));
    const other = meant && decide(view, subject.user, meant, policy);
    const through = other?.effect === 'permit' ? other.grant : undefined;
    const advice = adviseOnModel(subject, model, decision, { isKnown, meant, through });
    return {
      decision: decision.effect,
      reason: decision.reason,
      meaning: REASONS[decision.reason].meaning,
      advice,
      commands: commandsIn(advice),
      known: isKnown,
      did_you_mean: meant ?? null,
      user,
      model,
      grant: decision.effect === 'permit' ? (decision.grant ?? null) : null,
      chain: decision.chain,
      organizations: countingOf(subject).map(({ organization: id, models }) => ({
        id,
        grants: models.filter(({ active }) => active).length,
      })),
      ...rest,
      not_enforced: unenforced(policy, decision.effect),
    };
  };
}

/** What `explainModels` permits, of all models that the file names or that were granted by their ids. */
export const explainUser = (operation: Operation, named: string, policy: GatePolicy) =>
  reading(operation, 'organizations', (connection, schema) => {
    const { view, subject, joining, user, rest } = readUser(connection, schema, operation.path, named, policy);
    // the id of a row may end in `*`, and is no pattern there
    const granted = readPatterns(connection).filter((pattern) => parsePattern(pattern)?.kind === 'exact');
    const ids = new Set([...readKnownModels(connection, schema), ...granted]);
    const models = [...ids].toSorted().flatMap((id) => {
      const named = parseModelId(id);
      const decision = named && decide(view, subject.user, named, policy);
      if (decision?.effect !== 'permit') return [];
      const { model, reason, grant = null, chain } = decision;
      return [{ model, reason, grant, chain }];
    });
    const { advice, seesAny } = whySeen(subject, policy);
    const own = seesAny ? countingOf(subject) : [];
    const prefixes = own.flatMap(({ organization, models: grants }) =>
      grants.flatMap(({ pattern, active }) => (active && pattern.endsWith('*') ? [{ organization, pattern }] : [])),
    );
    const record = {
      user,
      models,
      prefix_grants: prefixes,
      advice,
      commands: commandsIn(advice),
      ...rest,
      not_enforced: unenforced(policy, 'deny'),
    };
    return { record, joining };
  });

/** Asks what the gate knows, as of a request of this user; the record of an enrolment that it would make is not in it. */
export const askingAs = <T>(
  operation: Operation,
  named: string,
  policy: GatePolicy,
  ask: (view: StoreView, user: UserPrincipal) => T,
) =>
  reading(operation, 'organizations', (connection, schema) => {
    const { view, subject, user } = readUser(connection, schema, operation.path, named, policy);
    return { user, answer: ask(view, subject.user) };
  });

/** @returns why the gate does not act on a decision, or null where it does */
export function unenforced({ bypass, mode }: GatePolicy, effect: Decision['effect']): string | null {
  if (bypass !== undefined) return `${bypass} switches the gate off: everything is permitted`;
  return mode === 'report' && effect === 'deny' ? 'MODELGATE_MODE=report: denials are only logged' : null;
}

const readPatterns = (connection: Connection) =>
  readColumn<string>(connection, "SELECT DISTINCT model_id FROM organization_models WHERE typeof(model_id) = 'text'");

function readUser(connection: Connection, schema: Schema, path: string, named: string, policy: GatePolicy) {
  const { enrolling, mode, bypass, adminAccess } = policy;
  const { id, email } = requirePerson(connection, named);
  const { view, enrolled } = inspect(connection, enrolling);
  // with the role that the gate takes the user for: none in the row is `pending`
  const user = view.user(toUserId(id));
  if (user === undefined) throw new TypeError('a user was there and is not');
  // the gate reads no membership of an admin who may use everything, and so enrols none
  if (user.role !== 'admin' || adminAccess !== 'all') view.grantsOf(user);
  const isEnrolled = enrolling !== undefined && enrolled.has(user.id);
  const obstacle = obstacleTo(connection, path);
  const enrolment = isEnrolled ? { organization: enrolling, obstacle } : null;
  const joins = enrolment?.obstacle === null;
  const [joining] = joins ? readMemberships(connection, schema, user.id, enrolling) : [];
  const memberships = readMemberships(connection, schema, user.id);
  return {
    view: enrolment === null || joins ? view : inspect(connection).view,
    joining,
    subject: { user, memberships: joining === undefined ? memberships : [joining], enrolment },
    user: { id: user.id, email, role: user.role },
    rest: { memberships, enrolment, settings: { mode, bypass: bypass ?? null, admin_access: adminAccess } },
  };
}

/** @returns why a gate like this process cannot enrol a user, or null where it can */
function obstacleTo({ postgres }: Connection, path: string): string | null {
  const stuck = postgres === undefined ? findUnwritable(path)?.target : undefined;
  if (stuck !== undefined) return `user ${getuid?.() ?? 'unknown'} may not write to ${stuck}`;
  const sql = `SELECT current_user AS role, has_table_privilege(oid, 'INSERT') AS may
    FROM pg_class WHERE relname = 'organization_members' AND relnamespace = to_regnamespace(quote_ident($1))`;
  const [found] = postgres?.ask(sql, [postgres.name]) ?? [];
  return found?.['may'] === 0 ? `the role ${String(found['role'])} may not write to organization_members` : null;
}

/** @returns the file or its folder, where one may not be written, and why; undefined where both may */
export function findUnwritable(path: string): { readonly target: string; readonly error: unknown } | undefined {
  for (const target of [path, dirname(path)]) {
    try {
      accessSync(target, constants.W_OK);
    } catch (error) {
      return { target, error };
    }
  }
  return undefined;
}
