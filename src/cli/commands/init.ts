/** `modelgate init`: what the gate makes at its start, made now. */
import type { Command } from '@commander-js/extra-typings';
import { quotedFew, shellCommand } from '../../backend-file/text.ts';
import type { StoreConfig } from '../../config/schema.ts';
import { initializeBackend } from '../../organizations/migration.ts';
import type { Organization } from '../../store/initialize.ts';
import type { NotLinked } from '../../store/models.ts';
import { type OptionsOf, commandOf, configureOperation, onDatabase } from '../options.ts';
import { counted, print, printable } from '../report.ts';
import { type Terminal, EXIT, misused } from '../terminal.ts';

const declare = (program: Command) =>
  onDatabase(
    program
      .command('init')
      .summary('make the tables, indexes, views and triggers that are missing, and say which')
      .description(
        "Make what is missing of the guide's two tables, four indexes and two views, and the triggers by which a gate notices changes, and say which; a second run finds nothing to do. The gate does the same at its start. With an organization that has no rows yet, users who are neither pending nor banned and belong to no other, and models without a base, are linked to it, once. Left out, and said: ids that a grant would read as patterns (b*), and models that users who are no admins have made.",
      )
      .option(
        '--org <id>',
        'organization that existing users and models are linked to, once; or OPENROUTER_EXTERNAL_USER',
      )
      .option('--name <name>', 'its name; or ORGANIZATION_NAME'),
    'modelgate init --database data/webui.db',
    'modelgate init --org mai_client_acme --name "Acme" --database data/webui.db',
  );

export const addInit = commandOf(declare, init);
type InitOptions = OptionsOf<typeof declare>;

async function init(options: InitOptions, terminal: Terminal): Promise<number> {
  const { config, operation } = configureOperation(options, terminal);
  const organization = chooseNewOrganization(config, options);
  const done = await initializeBackend(operation, organization, organization?.id === config.organization?.id);
  const { objects, failed, problem } = done.record;
  const { made = [], present = [] } = Object.groupBy(objects, ({ state }) => state);
  const changed = objects.filter(({ state }) => state !== 'present');
  const there = present.length === 0 && made.length > 0 ? '' : ` There already: ${kinds(present)}.`;
  const summary =
    changed.length === 0
      ? `Nothing was missing: ${kinds(present)}.`
      : `${made.length === 0 ? 'Nothing was made.' : `Made ${kinds(made)}.`}${there}`;
  const stateOf = ({ state, failure }: (typeof objects)[number]) => (failure === null ? state : `failed: ${failure}`);
  const rows = changed.map((object) => [object.kind, object.name, stateOf(object)]);
  return print(terminal, options, {
    record: done.record,
    parts: [
      ...(rows.length === 0 ? [] : [{ columns: ['kind', 'name', 'state'], rows }]),
      [summary, ...describeLinks(done)].join('\n'),
    ],
    notes: [
      failed > 0 &&
        `${counted(failed, 'object')} could not be made. Tables that others have made lack a column, or hold a row twice; the gate works without these objects where it says so at its start.`,
      problem !== null && `The gate cannot use this file: ${problem}.`,
    ],
    code: failed > 0 || problem !== null ? EXIT.failed : EXIT.done,
  });
}

/** Linking is the first meeting of the gate and an organization, so this one need not be known. */
function chooseNewOrganization({ organization }: StoreConfig, { org, name }: InitOptions): Organization | undefined {
  const id = org ?? organization?.id;
  if (id === '') throw misused('--org needs the id of an organization.');
  if (id === undefined && name !== undefined) {
    throw misused('--name says what an organization is called: --org ID says which.');
  }
  if (id === undefined) return undefined;
  return { id, name: name ?? (id === organization?.id ? organization.name : id) };
}

function describeLinks({ record, leftOut }: Awaited<ReturnType<typeof initializeBackend>>): readonly string[] {
  const { organization: id, linked_users: users, linked_models: models, left_out_users: elsewhere } = record;
  if (id === null) return [];
  const none = `${printable(id)} has its members and models already, or there are none to link: nothing was linked.`;
  const some = `Linked to ${printable(id)}: ${counted(users, 'user')} and ${counted(models, 'model')}.`;
  const addAll = shellCommand('modelgate', 'member', 'add', '--all', '--org', id);
  const other = `${counted(elsewhere, 'user')} not linked, because another organization has a row of theirs. To add all users: \`${addAll}\``;
  return [users + models === 0 ? none : some, ...(elsewhere === 0 ? [] : [other]), ...describeNotLinked(leftOut)];
}

const kinds = (objects: Parameters<typeof countKinds>[0]): string =>
  new Intl.ListFormat('en-GB').format(countKinds(objects)) || 'nothing';

export const PLURALS = { table: 'tables', index: 'indexes', view: 'views', trigger: 'triggers' } as const;

/** @returns such as `5 tables`, `4 indexes` */
export const countKinds = (objects: readonly { readonly kind: string }[]): string[] =>
  Object.entries(PLURALS).flatMap(([one, many]) => {
    const count = objects.filter(({ kind }) => kind === one).length;
    return count === 0 ? [] : [counted(count, one, many)];
  });

/** Models that are not linked to an organization by themselves. @returns a sentence for each reason */
export const describeNotLinked = ({ unusable, ofUsers }: NotLinked): readonly string[] =>
  (
    [
      [unusable, 'a grant would read the id as a pattern, or no request can name it', ''],
      [ofUsers, 'a user who is no admin has made it', ' To allow one all the same: `modelgate model allow ID`'],
    ] as const
  )
    .filter(([ids]) => ids.length > 0)
    .map(
      ([ids, why, more]) => `${counted(ids.length, 'model')} not linked, because ${why}: ${quotedFew(ids, 3)}.${more}`,
    );
