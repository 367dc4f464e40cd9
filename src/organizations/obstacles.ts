/** Why a membership or a grant gives nothing: the words of records, and those of tables and sentences. */

export type Obstacle = keyof typeof OBSTACLES;

export const OBSTACLES = {
  inactive: 'switched off',
  pending: 'pending in the backend',
  banned: 'banned in the backend',
  unknown_user: 'unknown to the backend',
  organization_inactive: 'in an organization that is switched off',
  matches_nothing: 'can match no model',
} as const;

/** @returns such as `switched off, pending in the backend`; empty where there is none */
export const describeObstacles = (obstacles: readonly Obstacle[]): string =>
  obstacles.map((obstacle) => OBSTACLES[obstacle]).join(', ');

/** @param role of the backend's row @returns why the gate refuses a user of this role, undefined where it does not */
export function obstacleOfRole(role: unknown): 'pending' | 'banned' | undefined {
  // the backend lets a user whose row has no role, or one that is no text, nowhere
  if (typeof role !== 'string' || role === 'pending') return 'pending';
  return role === 'banned' ? 'banned' : undefined;
}

/** SQL for the same, of the backend's table "user" under the name `u`. */
export const ROLE_COUNTS = "typeof(u.role) = 'text' AND u.role NOT IN ('pending', 'banned')";
