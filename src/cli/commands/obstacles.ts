/** Why a membership or a grant does not count, in the words of tables; JSON has the words of the types. */
import type { GrantObstacle } from '../../organizations/grants.ts';
import type { Obstacle } from '../../organizations/members.ts';

type AnyObstacle = Obstacle | GrantObstacle;

/** Whether the gate counts it. */
export const counts = ({ obstacles }: { readonly obstacles: readonly AnyObstacle[] }): boolean =>
  obstacles.length === 0;

/** @returns such as `switched off, pending in the backend`; empty for what counts */
export const describeObstacles = (obstacles: readonly AnyObstacle[]): string =>
  obstacles.map((obstacle) => OBSTACLES[obstacle]).join(', ');

export const OBSTACLES: Readonly<Record<AnyObstacle, string>> = {
  inactive: 'switched off',
  pending: 'pending in the backend',
  banned: 'banned in the backend',
  unknown_user: 'unknown to the backend',
  organization_inactive: 'in an organization that is switched off',
  matches_nothing: 'can match no model',
};
