/**
 * The rules of a decision once more, as plain as in words, from the rows as SQLite gives them.
 * Slow, and without any code of the gate: what both say is right, or wrong twice.
 */
import type { TestDatabase } from '../database/database.ts';
import { type World, type WorldRow, EVERY_KIND_OF_COLUMN } from '../database/random-world.ts';

export interface Answer {
  readonly effect: 'permit' | 'deny';
  /** Where several grants cover a model, any of them may be named. */
  readonly reasons: readonly string[];
  /** Models that may run because of it; `any` where the model picks by chance. */
  readonly runs: readonly string[] | 'any';
}

export interface ReportedRow {
  readonly organization: string;
  readonly models: readonly string[];
  readonly counts: boolean;
}

export interface Rules {
  answer(user: string, model: string): Answer;
  /** Organizations that give the user something, sorted; the one too that the gate enrols the user in. */
  organizationsOf(user: string): readonly string[];
  /** Does the gate make the user a member when a model is asked for? */
  isEnrolled(user: string): boolean;
  /** Rows of the guide's report of one user, by organization. */
  reported(user: string): readonly ReportedRow[];
}

type Row = Readonly<Record<string, unknown>>;

/** @returns the rules on the rows as they are now, also if the gate changes them later */
export function rulesOf(world: World, { sql }: TestDatabase): Rules {
  const all = (table: string): readonly Row[] => sql.prepare(`SELECT * FROM ${table}`).all() as Row[];
  const users = new Map(all('"user"').map(({ id, role }) => [id, role]));
  const members = all('organization_members');
  const grants = all('organization_models');
  const switches = world.switches.length === 0 ? [] : all('client_organizations');
  const rows = new Map(world.rows.map((row) => [row.id, row]));

  const isOrganizationOn = (id: string) => switches.every((row) => row['id'] !== id || isOn(row));
  const mayUseModels = (user: string) => {
    const role = users.get(user);
    return typeof role === 'string' && role !== 'pending' && role !== 'banned';
  };
  const isAdminOfAll = (user: string) => users.get(user) === 'admin' && world.adminAccess === 'all';
  const membershipsOf = (user: string) => members.filter((row) => isAlike(row['user_id'], user, world));
  const isEnrolled = (user: string) =>
    world.organization?.autoEnroll === true &&
    mayUseModels(user) &&
    !isAdminOfAll(user) &&
    membershipsOf(user).length === 0;

  function organizationsOf(user: string): readonly string[] {
    const own = membershipsOf(user).filter((row) => row['user_id'] === user && isOn(row));
    const ids = own.map((row) => row['organization_id']).filter((id) => typeof id === 'string');
    const enrolled = isEnrolled(user) ? [world.organization?.id ?? ''] : [];
    return [...new Set([...ids, ...enrolled])].filter(isOrganizationOn).toSorted();
  }

  const grantedBy = (organization: string) =>
    grants
      .filter((row) => row['organization_id'] === organization && isOn(row))
      .map((row) => row['model_id'])
      .filter((model) => typeof model === 'string');

  function answer(user: string, model: string): Answer {
    if (!mayUseModels(user)) return deny('role_not_permitted');
    if (isAdminOfAll(user)) return { effect: 'permit', reasons: ['admin_access'], runs: 'any' };
    const organizations = organizationsOf(user);
    if (organizations.length === 0) return deny('no_organization');
    const patterns = organizations.flatMap(grantedBy);
    const row = rows.get(model);
    const isPreset = row !== undefined && row.base !== null && row.base !== model;
    const runs = runsOf(model, row);
    const own = patterns.filter((pattern) => covers(pattern, model));
    // The operator who grants a preset by its id grants what it is made of
    if (own.includes(model) && !model.endsWith('*') && isPreset) return permit(own, model, runs);
    const strays = row === undefined ? [] : row.names.flatMap((name) => askedFor(name, row.base ?? model, world));
    const isPure = row?.opaque !== true && strays.every((name) => patterns.some((pattern) => covers(pattern, name)));
    if (own.length > 0) return isPure ? permit(own, model, runs) : deny('preset_parameter_not_granted');
    if (row === undefined || row.base === null) return deny('not_granted');
    if (!isPure) return deny('preset_parameter_not_granted');
    const { base } = row;
    const ofBase = rows.get(base);
    const isProviders = (ofBase === undefined || ofBase.base === null || ofBase.base === base) && !isArena(base, world);
    const isBaseGranted = isProviders && patterns.some((pattern) => covers(pattern, base));
    return isBaseGranted ? { effect: 'permit', reasons: ['preset_base'], runs } : deny('preset_base_not_granted');
  }

  function runsOf(model: string, row: WorldRow | undefined): Answer['runs'] {
    const ids = row === undefined ? [model] : [model, row.base ?? model, ...row.names];
    return ids.some((id) => isArena(id, world)) ? 'any' : ids;
  }

  function reported(user: string): readonly ReportedRow[] {
    const own = members.filter((row) => row['user_id'] === user && isOn(row)).map((row) => row['organization_id']);
    return [...new Set(own)]
      .filter((id) => typeof id === 'string')
      .map((organization) => ({
        organization,
        models: [...new Set(grantedBy(organization))].filter((model) => rows.has(model)),
        counts: mayUseModels(user) && isOrganizationOn(organization),
      }))
      .filter(({ models }) => models.length > 0);
  }

  return { answer, organizationsOf, isEnrolled, reported };
}

const deny = (reason: string): Answer => ({ effect: 'deny', reasons: [reason], runs: [] });

function permit(patterns: readonly string[], model: string, runs: Answer['runs']): Answer {
  const reasons = patterns.map((pattern) => (pattern === model && !pattern.endsWith('*') ? 'grant' : 'prefix_grant'));
  return { effect: 'permit', reasons, runs };
}

/** 1 and NULL, which is 1 by the column's default; a table without the column switches nothing off. */
function isOn(row: Row): boolean {
  const value = row['is_active'];
  return value === undefined || value === null || value === 1 || (EVERY_KIND_OF_COLUMN && value === '1');
}

/** Enrolment leaves alone whom any row may mean, in the way in which the column compares. */
function isAlike(stored: unknown, user: string, { tables }: World): boolean {
  if (tables.kind === 'guide' || typeof stored !== 'string') return String(stored) === user;
  return tables.ids === 'TEXT COLLATE NOCASE' ? stored.toLowerCase() === user.toLowerCase() : stored === user;
}

function covers(pattern: string, model: string): boolean {
  if (!pattern.endsWith('*')) return pattern === model;
  if (!model.startsWith(pattern.slice(0, -1))) return false;
  return pattern === '*' || !mayBeReadOtherwise(model);
}

/** As another model than the beginning of the id says: a path, a list, an address, a preset of the provider's. */
function mayBeReadOtherwise(model: string): boolean {
  const hasDotSegment = model.split('/').some((segment) => segment === '.' || segment === '..');
  return hasDotSegment || ['?', '#', '%', '\\', ',', '@preset/'].some((sign) => model.includes(sign));
}

/** A connection takes its own prefix out of every name, and asks its provider: in our words, for that with the prefix. */
function askedFor(name: string, base: string, { prefixes }: World): readonly string[] {
  const own = prefixes.map((prefix) => `${prefix}.`).filter((prefix) => base.startsWith(prefix));
  return own.length === 0 ? [name] : own.map((prefix) => prefix + name.split(prefix).join(''));
}

/** The backend finds a base by what stands before its first colon, too. */
function isArena(id: string, { arenas }: World): boolean {
  const known = ['arena-model', ...arenas].flatMap((arena) => [arena, arena.split(':')[0]]);
  return known.includes(id) || known.includes(id.split(':')[0]);
}
