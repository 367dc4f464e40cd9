/** One decision with all that led to it, read in one transaction. */
import type { UserPrincipal } from '../../identity/principal.ts';
import { toUserId } from '../../identity/principal.ts';
import type { DecideOptions } from '../../policy/decide.ts';
import { decide } from '../../policy/decide.ts';
import type { Decision } from '../../policy/decision.ts';
import type { ModelId } from '../../policy/model-id.ts';
import type { Connection } from '../../store/database.ts';
import { inspect } from '../../store/inspection.ts';
import type { Schema } from '../../store/schema-reader.ts';
import type { Operation } from '../backend-file.ts';
import { reading } from '../backend-file.ts';
import type { Person } from '../people.ts';
import { createPersonFinder } from '../people.ts';
import { advise } from './advice.ts';
import type { Standing } from './standing.ts';
import { counts, modelAllow, readStandings, whyNothing } from './standing.ts';

export interface UserStanding {
  readonly person: Person;
  /** With the role that the gate takes the user for: none in the row is `pending`. */
  readonly user: UserPrincipal;
  /** Those too that give nothing. */
  readonly standings: readonly Standing[];
}

export interface ModelExplanation extends UserStanding {
  readonly decision: Decision;
  /** One sentence: why, and what to do. */
  readonly advice: string;
}

/** @param named id or e-mail address @throws OperationFailure as `reading`, and where nobody or several are meant */
export function explainModel(
  operation: Operation,
  named: string,
  model: ModelId,
  options: DecideOptions,
): Promise<ModelExplanation> {
  return reading(operation, 'organizations', (connection, schema) => {
    const { view, ...standing } = readStanding(connection, schema, named);
    const decision = decide(view, standing.user, model, options);
    const { user, standings } = standing;
    return { ...standing, decision, advice: advise({ user, model, decision, standings }) };
  });
}

export interface UserExplanation extends UserStanding {
  /** One sentence: why the user sees no models, or these. */
  readonly advice: string;
}

/** @throws OperationFailure as `explainModel` */
export function explainUser(operation: Operation, named: string, options: DecideOptions): Promise<UserExplanation> {
  return reading(operation, 'organizations', (connection, schema) => {
    const { person, user, standings } = readStanding(connection, schema, named);
    return { person, user, standings, advice: whySeen(user, standings, options) };
  });
}

function readStanding(connection: Connection, schema: Schema, named: string) {
  const person = createPersonFinder(connection)(named);
  const view = inspect(connection);
  const user = view.user(toUserId(person.id));
  // the finder has just found the row, in the same transaction
  if (user === undefined) throw new TypeError('a user was there and is not');
  return { view, person, user, standings: readStandings(connection, schema, person.id) };
}

function whySeen(user: UserPrincipal, standings: readonly Standing[], { adminAccess }: DecideOptions): string {
  if (user.role === 'admin' && adminAccess === 'all') {
    return 'The user is an admin of the backend, and MODELGATE_ADMIN_ACCESS is `all`: every model of the backend is seen.';
  }
  const nothing = whyNothing(user, standings);
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
