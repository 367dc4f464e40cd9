/** `modelgate org list` and `org show`: what the file knows of organizations. Changes nothing. */
import { listOrganizations, showOrganization } from '../../organizations/access.ts';
import { OBSTACLES } from '../../organizations/standing.ts';
import { chooseOrganization, databaseCommand, groupOf } from '../options.ts';
import { type Fact, amounts, grouped, tableOf, withRest } from '../report.ts';

const addList = databaseCommand(
  'list',
  `list the organizations, with how many members and grants each has
$ modelgate org list --database data/webui.db`,
  (command) => command,
  async (options, { config, operation }) => {
    const record = await listOrganizations(operation, config.organization);
    const isEmpty = record.organizations.length === 0;
    const table = tableOf(record.organizations, {
      ...({ organization: 'id', name: 'name' } as const),
      members: ({ members: { all, active, counting } }) =>
        withRest(active, { off: all - active, 'not counted': active - counting }),
      grants: ({ grants: { all, active } }) => withRest(active, { off: all - active }),
      state: ({ active }) => (active ? 'on' : 'off'),
    });
    const howTo = 'There is no organization yet. To make one: `modelgate member add USER --org ID --create`';
    return { record, parts: isEmpty ? [] : [table], notes: [isEmpty && options.json !== true && howTo] };
  },
);

const addShow = databaseCommand(
  'show',
  `show one organization: members, admins, models, and whether its tables are complete
Says how many members count and why others do not, who its own admins and the backend's are, what it grants, and which tables, indexes, views and triggers are missing.
$ modelgate org show mai_client_acme --database data/webui.db`,
  (command) => command.argument('[id]', 'id of the organization (default: OPENROUTER_EXTERNAL_USER)'),
  async (id, _, { config, operation }) => {
    const chosen = chooseOrganization(config, { org: id }, '`modelgate org show ID`');
    const shown = await showOrganization(operation, chosen, config.organization);
    return { record: shown.record, parts: [factsOf(shown)] };
  },
);

export const addOrg = groupOf(
  'org',
  `show organizations
$ modelgate org list --database data/webui.db
$ modelgate help org show`,
  ...[addList, addShow],
);

function factsOf({ record, members }: Awaited<ReturnType<typeof showOrganization>>): readonly Fact[] {
  const { grants, models, schema } = record;
  const { all, counting } = record.members;
  const kinds = Object.groupBy(
    members.flatMap(({ reasons }) => reasons),
    (reason) => OBSTACLES[reason],
  );
  const reasons = amounts(Object.fromEntries(Object.entries(kinds).map(([words, found]) => [words, found.length])));
  const missing = schema.flatMap((part) => part.missing.map((object) => `${part.kind} ${object}`));
  const named = ({ id, email }: { readonly id: string; readonly email: string | null }): string =>
    email === null ? id : `${email} (${id})`;
  return [
    ['organization', record.id],
    ['name', record.name],
    ['active', record.active ? 'yes' : 'no: client_organizations switches it off, so it gives nothing'],
    ['configured', record.configured ? 'yes: OPENROUTER_EXTERNAL_USER names it' : undefined],
    [
      'members',
      `${grouped(all)}${counting === all ? '' : `, of which ${grouped(counting)} count: ${reasons.join(', ')}`}`,
    ],
    ['its admins', record.organization_admins.map((admin) => `${named(admin)}${admin.active ? '' : ', switched off'}`)],
    ['backend admins', record.backend_admins.map((admin) => `${named(admin)}${MEMBERSHIP[admin.member ?? 'none']}`)],
    ['models', models.filter(({ active }) => active).map(({ pattern }) => pattern)],
    ['switched off', grants.all === grants.active ? undefined : `${grouped(grants.all - grants.active)} of its grants`],
    ...schema.map((part): Fact => [
      part.kind === 'index' ? 'indexes' : `${part.kind}s`,
      `${part.expected - part.missing.length} of ${part.expected}`,
    ]),
    ...(missing.length === 0 ? [] : [['missing', missing] as const, ['', '`modelgate init`'] as const]),
  ];
}

const MEMBERSHIP = { none: ', no member', inactive: ', switched off', active: '' } as const;
