/** What an operator should hear beside the result, on standard error. */
import type { StoreConfig } from '../../config/parse.ts';
import type { OrganizationState, ChosenOrganization } from '../../operations/organizations/organizations.ts';
import { quoted } from '../../operations/quoted.ts';
import { printable } from '../output.ts';
import type { Terminal } from '../terminal.ts';
import { say } from '../terminal.ts';

/** After something was added to an organization. */
export function warnOfOrganization(
  terminal: Terminal,
  { id }: ChosenOrganization,
  { isNew, isActive }: OrganizationState,
): void {
  if (isNew && (printable(id, false) !== id || id.trim() !== id)) {
    say(terminal, `The new organization ${quoted(id)} has characters in its id that cannot be seen: is that meant?`);
  }
  if (!isActive) {
    say(terminal, `${quoted(id)} is switched off in client_organizations: nothing in it counts until that is changed.`);
  }
}

/** After rows were deleted, which the gate takes for rows that nobody has ever made. */
export function warnOfReturn(
  terminal: Terminal,
  { organization }: StoreConfig,
  { id, isConfigured }: ChosenOrganization,
  { of, isEmpty }: { readonly of: 'users' | 'models'; readonly isEmpty: boolean },
): void {
  // the environment of this command names another organization, so it is not the one of the gate either
  if (organization !== undefined && !isConfigured) return;
  const when = isConfigured ? '' : ` if the gate runs with OPENROUTER_EXTERNAL_USER=${quoted(id)}`;
  if (of === 'users' && (organization?.autoEnroll ?? true)) {
    say(
      terminal,
      `Whoever has no row is enrolled again with the next request${when} and MODELGATE_AUTO_ENROLL is on: without --purge a membership stays off.`,
    );
  }
  if (isEmpty) {
    say(
      terminal,
      `No ${of === 'users' ? 'member' : 'grant'} is left: the next start of the gate links all ${of} of the backend again${when}.`,
    );
  }
}
