/** The plan of a migration, or what it has done, in sentences. */
import type { Migration } from '../../operations/organizations/migration-plan.ts';
import { counted } from '../output.ts';
import { describeNotLinked } from './not-linked.ts';

/** @param isDone it happened; else it would happen */
export function describePlan({ made, users, models }: Migration, { isDone }: { readonly isDone: boolean }): string {
  const join = isDone ? 'joined' : users.joining === 1 ? 'joins' : 'join';
  const sentences = [
    part(users.joining, 'user', `${join}${among(users)}`),
    part(
      models.linked,
      'model',
      `linked${models.inactive === 0 ? '' : `, ${figure(models.inactive)} of them switched off as in the backend`}`,
    ),
    part(users.pending, 'pending user', 'left out'),
    part(users.withoutRole, 'user', 'without a role left out'),
    part(models.presets, 'preset', 'not linked: a preset follows its base model'),
    ...describeNotLinked(models.leftOut).map((sentence) => `  ${sentence}\n`),
    part(users.present, 'member', `there already, untouched${off(users.presentOff)}`),
    part(models.present, 'grant', `there already, untouched${off(models.presentOff)}`),
    part(made.length, 'object', `${isDone ? 'made' : 'to make'}: ${summary(made)}`),
  ];
  return sentences.join('');
}

const figure = (count: number): string => count.toLocaleString('en');

const part = (count: number, one: string, rest: string): string =>
  count === 0 ? '' : `  ${counted(count, one)} ${rest}\n`;

function among({ admins, banned, elsewhere }: Migration['users']): string {
  const parts = [
    ...(admins === 0 ? [] : [`${figure(admins)} as admin`]),
    ...(banned === 0 ? [] : [`${counted(banned, 'banned user')} among them, whom the gate refuses all the same`]),
    ...(elsewhere === 0 ? [] : [`${figure(elsewhere)} of them members of another organization, and then of both`]),
  ];
  return parts.map((words) => `, ${words}`).join('');
}

const off = (count: number): string => (count === 0 ? '' : `, ${figure(count)} of them switched off`);

/** `2 tables, 4 indexes`; tables by name, because they are what people look for */
function summary(made: readonly string[]): string {
  const names = (kind: string): string[] =>
    made.filter((object) => object.startsWith(`${kind} `)).map((object) => object.slice(kind.length + 1));
  const rest = (['index', 'view', 'trigger'] as const).flatMap((kind) => {
    const { length } = names(kind);
    return length === 0 ? [] : [counted(length, kind, kind === 'index' ? 'indexes' : `${kind}s`)];
  });
  const tables = names('table');
  return [
    ...(tables.length === 0 ? [] : [`${tables.length === 1 ? 'table' : 'tables'} ${tables.join(', ')}`]),
    ...rest,
  ].join('; ');
}
