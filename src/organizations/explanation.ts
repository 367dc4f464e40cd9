/** One decision with all that led to it, read in one transaction. */
import { accessSync, constants } from 'node:fs';
import { dirname } from 'node:path';
import { getuid } from 'node:process';
import type { Person } from '../backend-file/people.ts';
import { createPersonFinder } from '../backend-file/people.ts';
import type { Operation } from '../backend-file/transaction.ts';
import { reading } from '../backend-file/transaction.ts';
import type { UserPrincipal } from '../identity/principal.ts';
import { toOrganizationId, toUserId } from '../identity/principal.ts';
import type { DecideOptions } from '../policy/decide.ts';
import { decide } from '../policy/decide.ts';
import type { Decision, Permit } from '../policy/decision.ts';
import type { ModelId } from '../policy/grant.ts';
import { compileGrants, coveringGrant, parseModelId, parsePattern } from '../policy/grant.ts';
import type { Connection } from '../store/database.ts';
import { inspect } from '../store/inspection.ts';
import type { Schema } from '../store/schema-reader.ts';
import { advise } from './advice.ts';
import { closestModel, createUseFinder, readKnownModels } from './known-models.ts';
import type { Enrolment, Standing } from './standing.ts';
import { counts, modelAllow, readStandings, whyNothing } from './standing.ts';

export interface UserStanding {
  readonly person: Person;
  /** With the role that the gate takes the user for: none in the row is `pending`. */
  readonly user: UserPrincipal;
  /** Those too that give nothing; and the one that the gate makes at the first request. */
  readonly standings: readonly Standing[];
  /** Of a user who has no membership; undefined for others, and where the gate enrols nobody. */
  readonly enrolment: Enrolment | undefined;
}

/** What the gate is configured to do. */
export interface ExplainOptions extends DecideOptions {
  /** Id of the organization that users without any membership are enrolled in. */
  readonly enrolling?: string | undefined;
}

export interface ModelExplanation extends UserStanding {
  readonly decision: Decision;
  /** The file names the model, or somebody was granted it; most models of providers it does not name. */
  readonly isKnown: boolean;
  /** Of a model that is not known: one that is, with nearly the same id. */
  readonly meant: string | undefined;
  /** One sentence: why, and what to do. */
  readonly advice: string;
}

/** @param named id or e-mail address @throws OperationFailure as `reading`, and where nobody or several are meant */
export function explainModel(
  operation: Operation,
  named: string,
  model: ModelId,
  options: ExplainOptions,
): Promise<ModelExplanation> {
  return reading(operation, 'organizations', (connection, schema) => {
    const { view, ...standing } = readStanding({ connection, schema, path: operation.path }, named, options);
    const decision = decide(view, standing.user, model, options);
    const { isKnown, meant } = decision.effect === 'permit' ? KNOWN : look({ connection, schema }, model);
    const other = meant === undefined ? undefined : decide(view, standing.user, meant, options);
    const through = other?.effect === 'permit' ? other.grant : undefined;
    const advice = advise({ ...standing, isKnown, meant, through, model, decision });
    return { ...standing, isKnown, meant, decision, advice };
  });
}

export interface UserExplanation extends UserStanding {
  /** One sentence: why the user sees no models, or these. */
  readonly advice: string;
  /** What of the models that the file names, or that were granted by their ids, the user may use: by id. */
  readonly usable: readonly Permit[];
  /** Grants that give the user whatever the backend has of their beginning. */
  readonly prefixes: readonly { readonly organization: string; readonly pattern: string }[];
}

/** @throws OperationFailure as `explainModel` */
export function explainUser(operation: Operation, named: string, options: ExplainOptions): Promise<UserExplanation> {
  return reading(operation, 'organizations', (connection, schema) => {
    const { view, ...standing } = readStanding({ connection, schema, path: operation.path }, named, options);
    const own = standing.standings
      .filter(counts)
      .flatMap(({ organization, grants }) =>
        grants.filter(({ isActive }) => isActive).map(({ pattern }) => ({ organization, pattern })),
      );
    const ids = new Set([...readKnownModels(connection, schema), ...grantedToAnybody(connection)]);
    const usable = [...ids].flatMap((id) => {
      const model = parsePattern(id)?.kind === 'exact' ? parseModelId(id) : undefined;
      const decision = model === undefined ? undefined : decide(view, standing.user, model, options);
      return decision?.effect === 'permit' ? [decision] : [];
    });
    const mayUse = whyNothing(standing.user, standing.standings, standing.enrolment) === undefined;
    return {
      ...standing,
      advice: whySeen(standing, options),
      usable: usable.toSorted((left, right) => (left.model < right.model ? -1 : 1)),
      prefixes: mayUse ? own.filter(({ pattern }) => pattern.endsWith('*')) : [],
    };
  });
}

/** Patterns of every organization, switched off or not. */
const grantedToAnybody = (connection: Connection): readonly string[] =>
  connection
    .prepare<[], string>("SELECT DISTINCT model_id FROM organization_models WHERE typeof(model_id) = 'text'")
    .pluck()
    .all();

const KNOWN = { isKnown: true, meant: undefined } as const;

/** Whether anything in the file names the model, and what else may be meant. */
function look({ connection, schema }: Pick<Opened, 'connection' | 'schema'>, model: ModelId) {
  const known = readKnownModels(connection, schema);
  const granted = grantedToAnybody(connection);
  const isKnown =
    known.has(model) ||
    coveringGrant(compileGrants(toOrganizationId(''), granted), model) !== undefined ||
    createUseFinder(connection, schema)(model);
  const meant = isKnown ? undefined : closestModel(model, [...granted, ...known]);
  return { isKnown, meant: parseModelId(meant) };
}

interface Opened {
  readonly connection: Connection;
  readonly schema: Schema;
  readonly path: string;
}

function readStanding({ connection, schema, path }: Opened, named: string, options: ExplainOptions) {
  const { enrolling } = options;
  const person = createPersonFinder(connection)(named);
  const { view, enrolled } = inspect(connection, enrolling);
  const user = view.user(toUserId(person.id));
  // the finder has just found the row, in the same transaction
  if (user === undefined) throw new TypeError('a user was there and is not');
  // the gate looks at no membership of an admin who may use everything, and so enrols none
  if (!isUnlimited(user.role, options)) view.grantsOf(user);
  if (enrolling === undefined || !enrolled.has(user.id)) {
    return { view, person, user, standings: readStandings(connection, schema, user.id), enrolment: undefined };
  }
  const obstacle = obstacleToWriting(path);
  const isMade = obstacle === undefined;
  return {
    view: isMade ? view : inspect(connection).view,
    person,
    user,
    standings: readStandings(connection, schema, user.id, isMade ? enrolling : undefined),
    enrolment: { organization: enrolling, obstacle },
  };
}

/** @returns what the gate would meet that runs as the user of this command does */
function obstacleToWriting(path: string): string | undefined {
  const target = [path, dirname(path)].find((name) => !isWritable(name));
  return target === undefined ? undefined : `user ${getuid?.() ?? 'unknown'} may not write to ${target}`;
}

function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** Whether `MODELGATE_ADMIN_ACCESS` alone decides. */
const isUnlimited = (role: string, { adminAccess }: DecideOptions): boolean =>
  role === 'admin' && adminAccess === 'all';

function whySeen({ user, standings, enrolment }: UserStanding, options: ExplainOptions): string {
  if (isUnlimited(user.role, options)) {
    return 'The user is an admin of the backend, and MODELGATE_ADMIN_ACCESS is `all`: every model of the backend is seen.';
  }
  const nothing = whyNothing(user, standings, enrolment);
  if (nothing !== undefined) return nothing;
  const own = standings.filter(counts);
  const active = new Set(
    own.flatMap(({ grants }) => grants.filter(({ isActive }) => isActive).map((one) => one.pattern)),
  );
  const where = own.map(({ organization }) => organization);
  if (active.size === 0) {
    const off = own.some(({ grants }) => grants.length > 0) ? ', because all that is there is switched off' : '';
    return `The user's ${where.length === 1 ? 'organization grants' : 'organizations grant'} no model${off}: run \`${modelAllow('MODEL', where[0] ?? 'ORGANIZATION')}\`.`;
  }
  return `The user sees those models of the backend that ${active.size === 1 ? 'the one active grant covers' : `the ${active.size.toLocaleString('en')} active grants cover`}, and presets built on them; what the backend itself does not offer the user stays hidden.`;
}
