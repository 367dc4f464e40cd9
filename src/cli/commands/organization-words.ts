/** The words that commands on organizations share: an option, kinds of objects, and notes beside a result. */
import { quoted, quotedFew, shellCommand } from '../../backend-file/text.ts';
import type { StoreConfig } from '../../config/schema.ts';
import type { ChosenOrganization } from '../../organizations/organizations.ts';
import type { NotLinked } from '../../store/models.ts';
import { counted } from '../report.ts';

/** What `--create` means. */
export const CREATE = 'make the organization where no row names it yet';

/** Objects of a schema, in the order in which they are named. */
export const PLURALS = { table: 'tables', index: 'indexes', view: 'views', trigger: 'triggers' } as const;

/** @returns such as `5 tables`, `4 indexes` */
export const countKinds = (objects: readonly { readonly kind: string }[]): string[] =>
  Object.entries(PLURALS).flatMap(([one, many]) => {
    const count = objects.filter(({ kind }) => kind === one).length;
    return count === 0 ? [] : [counted(count, one, many)];
  });

/** After something was added to an organization. */
export const noteOnSwitch = (id: string, isActive: boolean): string | false =>
  !isActive && `${quoted(id)} is switched off in client_organizations: nothing in it counts until that is changed.`;

/** After users got their first membership: from then on no gate enrols them in the organization of the environment. */
export function noteOnEnrolment(
  { organization }: StoreConfig,
  { id, isConfigured }: ChosenOrganization,
  firstTime: number,
): string | undefined {
  if (isConfigured || firstTime === 0 || organization?.autoEnroll !== true) return undefined;
  const both = shellCommand('modelgate', 'member', 'add', 'USER', '--org', organization.id);
  return `${counted(firstTime, 'user')} had no membership before, and now one of ${quoted(id)} alone: the gate enrols no user in ${quoted(organization.id)} who is a member elsewhere. To make one a member of both: \`${both}\``;
}

/** After rows were deleted: the gate makes rows that are missing. */
export function notesOnReturn(
  { organization }: StoreConfig,
  { id, isConfigured }: ChosenOrganization,
  of: 'users' | 'models',
  { isEmpty, outside = 0 }: { readonly isEmpty: boolean; readonly outside?: number },
): readonly (string | false)[] {
  const isEnrolled = outside > 0 && (organization?.autoEnroll ?? true);
  if (organization !== undefined && !isConfigured) {
    // the environment of this command names another organization, so this is not the one of the gate either
    return [
      isEnrolled &&
        `${counted(outside, 'user')} without a membership left: with the next request the gate makes such a user a member of ${quoted(organization.id)} (MODELGATE_AUTO_ENROLL). Without --purge the row stays, and keeps the user out.`,
    ];
  }
  const when = isConfigured ? '' : ` if the gate runs with OPENROUTER_EXTERNAL_USER=${quoted(id)}`;
  return [
    isEnrolled &&
      `A user without a row is enrolled again with the next request${when} and MODELGATE_AUTO_ENROLL is on: without --purge a membership stays off.`,
    isEmpty &&
      `No ${of === 'users' ? 'member' : 'grant'} is left: the next start of the gate links all ${of} of the backend again${when}.`,
  ];
}

/** Models that are not linked to an organization by themselves. @returns a sentence for each reason */
export const describeNotLinked = ({ unusable, ofUsers }: NotLinked): readonly string[] =>
  [
    { ids: unusable, why: 'a grant would read the id as a pattern, or no request can name it', remedy: '' },
    {
      ids: ofUsers,
      why: 'a user who is no admin has made it',
      remedy: ' To allow one all the same: `modelgate model allow ID`',
    },
  ]
    .filter(({ ids }) => ids.length > 0)
    .map(
      ({ ids, why, remedy }) =>
        `${counted(ids.length, 'model')} not linked, because ${why}: ${quotedFew(ids, 3)}.${remedy}`,
    );
