/** The words that commands on organizations share: an option, kinds of objects, and what is said beside a result. */
import { quoted, quotedFew, shellCommand } from '../../backend-file/text.ts';
import type { StoreConfig } from '../../config/schema.ts';
import type { ChosenOrganization } from '../../organizations/organizations.ts';
import type { NotLinked } from '../../store/models.ts';
import { counted } from '../report.ts';
import { type Terminal, say } from '../terminal.ts';

/** What `--create` means. */
export const CREATE = 'make the organization where no row names it yet';

/** Objects of a schema, in the order in which they are named. */
export const PLURALS = { table: 'tables', index: 'indexes', view: 'views', trigger: 'triggers' } as const;

type Kind = keyof typeof PLURALS;

/** @returns such as `5 tables`, `4 indexes` */
export const countKinds = (objects: readonly { readonly kind: string }[]): string[] =>
  (Object.keys(PLURALS) as Kind[]).flatMap((kind) => {
    const count = objects.filter((object) => object.kind === kind).length;
    return count === 0 ? [] : [counted(count, kind, PLURALS[kind])];
  });

/** After something was added to an organization. */
export function warnOfOrganization(
  terminal: Terminal,
  { id }: ChosenOrganization,
  { isActive }: { readonly isActive: boolean },
): void {
  if (!isActive) {
    say(terminal, `${quoted(id)} is switched off in client_organizations: nothing in it counts until that is changed.`);
  }
}

/** After users got a membership: from then on no gate enrols them in the organization of the environment. */
export function warnOfEnrolment(
  terminal: Terminal,
  { organization }: StoreConfig,
  { id, isConfigured }: ChosenOrganization,
  { firstTime }: { readonly firstTime: number },
): void {
  if (isConfigured || firstTime === 0 || organization?.autoEnroll !== true) return;
  const home = quoted(organization.id);
  say(
    terminal,
    `${counted(firstTime, 'user')} had no membership before, and ${firstTime === 1 ? 'belongs' : 'belong'} to ${quoted(id)} alone now: the gate enrols no user in ${home} who is a member elsewhere. To make one a member of both: \`${shellCommand('modelgate', 'member', 'add', 'USER', '--org', organization.id)}\``,
  );
}

/** After rows were deleted: the gate makes rows that are missing. */
export function warnOfReturn(
  terminal: Terminal,
  { organization }: StoreConfig,
  { id, isConfigured }: ChosenOrganization,
  {
    of,
    isEmpty,
    outside = 0,
  }: { readonly of: 'users' | 'models'; readonly isEmpty: boolean; readonly outside?: number },
): void {
  if (organization !== undefined && !isConfigured) {
    // the environment of this command names another organization, so this is not the one of the gate either
    if (outside > 0 && organization.autoEnroll) {
      say(
        terminal,
        `${counted(outside, 'user')} ${outside === 1 ? 'has' : 'have'} no membership left: the gate makes ${outside === 1 ? 'this user a member' : 'them members'} of ${quoted(organization.id)} with the next request (MODELGATE_AUTO_ENROLL). Without --purge the row stays, and keeps the user out.`,
      );
    }
    return;
  }
  const when = isConfigured ? '' : ` if the gate runs with OPENROUTER_EXTERNAL_USER=${quoted(id)}`;
  if (outside > 0 && (organization?.autoEnroll ?? true)) {
    say(
      terminal,
      `A user without a row is enrolled again with the next request${when} and MODELGATE_AUTO_ENROLL is on: without --purge a membership stays off.`,
    );
  }
  if (isEmpty) {
    say(
      terminal,
      `No ${of === 'users' ? 'member' : 'grant'} is left: the next start of the gate links all ${of} of the backend again${when}.`,
    );
  }
}

/** Models that are not linked to an organization by themselves. @returns for each reason a sentence without its full stop */
export function describeNotLinked({ unusable, ofUsers }: NotLinked): readonly string[] {
  return [
    ...(unusable.length === 0
      ? []
      : [
          `${counted(unusable.length, 'model')} not linked, because a grant would read the id as a pattern, or no request can name it: ${quotedFew(unusable, NAMED)}`,
        ]),
    ...(ofUsers.length === 0
      ? []
      : [
          `${counted(ofUsers.length, 'model')} not linked, because a user who is no admin has made it: ${quotedFew(ofUsers, NAMED)}. To allow one all the same: \`modelgate model allow ID\``,
        ]),
  ];
}

const NAMED = 3;
