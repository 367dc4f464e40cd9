/** `modelgate report` and `audit`: the deployment guide's view and its two tables, and what they do not show. */
import { Option } from '@commander-js/extra-typings';
import { quoted } from '../../backend-file/text.ts';
import {
  type AccessAudit,
  type AccessReport,
  type AccessRow,
  readAccessAudit,
  readAccessReport,
} from '../../organizations/access.ts';
import { type GatePolicy, unenforced } from '../../organizations/explanation.ts';
import { describeObstacles } from '../../organizations/standing.ts';
import { chooseOrganization, databaseCommand } from '../options.ts';
import { createProgress } from '../terminal.ts';
import { type Cell, type Notes, counted, tableOf } from '../report.ts';
import { CSV } from './ledger-options.ts';

export const addReport = databaseCommand(
  'report',
  `list who may use which models (table, CSV or JSON)
The rows of the deployment guide's view, whether it is there or not: for each user and organization, with an active membership, the number and names of the models that the organization has switched on. As in the guide's view only models with a row in the backend's model table are counted: prefix grants (openai/*) and models that were never edited in the backend have none. How many grants that leaves out is said at the end. Neither does the view look at the backend's role of a user, or at client_organizations: does_not_count, the last column, says where the gate gives a row nothing. Table and CSV have the titles of the view; JSON has the names that the other commands use, too. \`modelgate model list\` shows every grant, \`modelgate explain\` what one user may do.
$ modelgate report --csv --database data/webui.db > report.csv
$ modelgate report --org mai_client_acme --json | jq ".rows[].email"`,
  (command) => command.option('--org <id>', 'only this organization').addOption(CSV),
  async (options, { config, operation, policy, terminal }) => {
    const chosen = options.org === undefined ? undefined : chooseOrganization(config, options);
    using progress = createProgress(terminal);
    const onProgress = (done: number, total: number): void => progress.at('Reading', done, total, 'memberships');
    const record = await readAccessReport(operation, policy, chosen, onProgress);
    return { record, parts: [tableOfAccess(record.rows)], notes: notesOn(record.not_counted, policy) };
  },
);

function tableOfAccess(rows: readonly AccessRow[]) {
  // every member of an organization has the same names: one text for all of them
  const texts = new Map<readonly string[], string>();
  const joined = ({ model_names: names }: AccessRow): Cell => {
    const text = texts.get(names) ?? names.join(',');
    texts.set(names, text);
    return names.length === 0 ? null : text;
  };
  return tableOf(rows, {
    ...({ user_email: 'email', user_name: 'name', organization_id: 'organization' } as const),
    accessible_models: 'model_count',
    model_names: joined,
    does_not_count: ({ reasons }) => describeObstacles(reasons),
  });
}

/** Where the view, and so the report, says something else than the gate would. */
function notesOn(counts: AccessReport['not_counted'], policy: GatePolicy): Notes {
  const { prefix_grants: prefixes, grants_without_row: withoutRow, not_enrolled: notEnrolled } = counts;
  const [off, refused] = [counts.inactive_organizations, counts.refused_users];
  const { enrolling, adminAccess } = policy;
  const obstacle = unenforced(policy, 'deny');
  const leftOut = [
    prefixes > 0 && counted(prefixes, 'prefix grant'),
    withoutRow > 0 && `${counted(withoutRow, 'grant')} of models without a row there`,
  ].filter((part) => part !== false);
  return [
    leftOut.length > 0 &&
      `The report counts models of the backend's model table, as the guide's view does: it leaves out ${leftOut.join(' and ')}. To see them all: \`modelgate model list --org ORGANIZATION\``,
    off > 0 &&
      `${counted(off, 'organization')} in it switched off in client_organizations, which the guide's view does not look at: the gate gives the members nothing.`,
    refused > 0 &&
      `${counted(refused, 'row')} of users who are pending, banned or without a role in the backend, which the guide's view does not look at: the gate gives them nothing.`,
    notEnrolled > 0 &&
      enrolling !== undefined &&
      `${counted(notEnrolled, 'user')} without any membership not in it: the gate makes such users members of ${quoted(enrolling)} at their first request (MODELGATE_AUTO_ENROLL).`,
    adminAccess === 'all' &&
      'Admins of the backend use every model, whatever the report says: MODELGATE_ADMIN_ACCESS is `all`.',
    obstacle !== null && `The gate does not act on any of it: ${obstacle}.`,
  ];
}

const NAMES = ['organizations', 'admins', 'outside'] as const;
const TABLES = { organizations: 'organizations', admins: 'admins', outside: 'admins_outside' } as const;

export const addAudit = databaseCommand(
  'audit',
  `count the users and models of each organization, and list the admins of the backend
The rows of the deployment guide's audit_access.sh. As there, model_count has grants that are switched off in it, and an admin is listed for each membership, switched off or not, and user_count has users who are pending, banned or deleted; active_model_count, counting_user_count and is_member say what counts; JSON has the names that the other commands use, too. Admins in no organization, whom the guide's statement leaves out, are a third table.
$ modelgate audit --database data/webui.db
$ modelgate audit --only admins --csv > admins.csv`,
  (command) =>
    command
      .addOption(
        new Option(
          '--csv',
          'print CSV, one table after the other with an empty line between; --only for one alone',
        ).conflicts('json'),
      )
      .addOption(new Option('--only <table>', 'one table instead of all').choices(NAMES)),
  async (options, { operation }) => {
    const { only, csv } = options;
    const found = await readAccessAudit(operation);
    const tables = tablesOf(found);
    const names = only === undefined ? NAMES : [only];
    const shown = names.filter(
      (name) => name !== 'outside' || csv === true || name === only || found.admins_outside.length > 0,
    );
    const off = found.organizations.filter(({ active }) => !active).length;
    return {
      record: Object.fromEntries(names.map((name) => [TABLES[name], found[TABLES[name]]])),
      parts: shown.map((name) => tables[name]),
      notes: [
        off > 0 &&
          `${counted(off, 'organization')} switched off in client_organizations: the gate gives the members nothing.`,
      ],
    };
  },
);

/** The guide's columns with the guide's names, and ours behind them. */
function tablesOf({ organizations, admins, admins_outside: outside }: AccessAudit) {
  const person = { email: 'email', name: 'name' } as const;
  return {
    organizations: tableOf(
      organizations,
      {
        ...({ organization_id: 'organization', user_count: 'user_count', model_count: 'model_count' } as const),
        active_model_count: 'active_model_count',
        ...({ is_active: 'active', counting_user_count: 'counting_user_count' } as const),
      },
      'Active users by organization',
    ),
    admins: tableOf(
      admins,
      { ...person, organization_id: 'organization', last_active_at: 'last_active_at', is_member: 'member' },
      'Users with admin role',
    ),
    outside: tableOf(
      outside,
      { ...person, last_active_at: 'last_active_at' },
      'Users with admin role in no organization',
    ),
  };
}
