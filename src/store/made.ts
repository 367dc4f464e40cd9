/** What an initialization has made, for the log of a gate. */
import type { Initialization } from './initialize.ts';

type Warn = (message: string, fields: Record<string, unknown>) => void;

/** Ids in one line of the log. */
const NAMED = 10;

/** @returns what could not be made */
export function reportMade({ made, failed, linked }: Initialization, warn: Warn): readonly string[] {
  const { users, models, usersElsewhere, modelsLeftOut } = linked;
  if (made.length > 0 || users + models > 0) warn('the policy tables were initialized', { made, users, models });
  // what the deployment guide's migration would have linked, too
  const warnOf = (ids: readonly string[], why: string) =>
    ids.length > 0 && warn(`models were not linked: ${why}`, { count: ids.length, some: ids.slice(0, NAMED) });
  warnOf(modelsLeftOut.unusable, 'their ids would be read as patterns');
  warnOf(modelsLeftOut.ofUsers, 'users who are no admins have made them');
  if (usersElsewhere > 0) {
    warn('users were not linked: they belong to another organization', { count: usersElsewhere });
  }
  for (const failure of failed) warn('the policy schema stays incomplete', { failure });
  return failed;
}
