/** `modelgate report` and `audit`: the deployment guide's view and its two tables, and what they do not show. */
import { setImmediate } from 'node:timers/promises';
import { type Command, Option } from '@commander-js/extra-typings';
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
import {
  type OptionsOf,
  chooseOrganization,
  commandOf,
  configureOperation,
  gatePolicyOf,
  onDatabase,
} from '../options.ts';
import { createProgress } from '../prompt.ts';
import { type Cell, type Table, asCsv, asJsonLine, counted, print, requireOneFormat, spread } from '../report.ts';
import { type Terminal, CommandFailure } from '../terminal.ts';

const declareReport = (program: Command) =>
  onDatabase(
    program
      .command('report')
      .description('list who may use which models (table, CSV or JSON)')
      .option('--org <id>', 'only this organization')
      .option(
        '--csv',
        'print CSV: UTF-8, RFC 4180; cells that a spreadsheet would run as formulas begin with an apostrophe',
      )
      .addHelpText(
        'after',
        `
The rows of the deployment guide's view, whether it is there or not: for each user and organization, with an active membership, the number and names of the models that the organization has switched on. As in the guide's view only models with a row in the backend's model table are counted: prefix grants (openai/*) and models that were never edited in the backend have none. How many grants that leaves out is said at the end. Neither does the view look at the backend's role of a user, or at client_organizations: does_not_count, the last column, says where the gate gives a row nothing. Table and CSV have the titles of the view; JSON has the names that the other commands use, too. \`modelgate model list\` shows every grant, \`modelgate explain\` what one user may do.`,
      ),
    'modelgate report --csv --database data/webui.db > report.csv',
    'modelgate report --org mai_client_acme --json | jq ".rows[].email"',
  );

export const addReport = commandOf(declareReport, report);
const AUDIT_TABLES = ['organizations', 'admins', 'outside'] as const;

const declareAudit = (program: Command) =>
  onDatabase(
    program
      .command('audit')
      .description('count the users and models of each organization, and list the admins of the backend')
      .option('--csv', 'print CSV, one table after the other with an empty line between; --only for one alone')
      .addOption(new Option('--only <table>', 'one table instead of all').choices(AUDIT_TABLES))
      .addHelpText(
        'after',
        `
The rows of the deployment guide's audit_access.sh. As there, model_count has grants that are switched off in it, and an admin is listed for each membership, switched off or not, and user_count has users who are pending, banned or deleted; active_model_count, counting_user_count and is_member say what counts; JSON has the names that the other commands use, too. Admins in no organization, whom the guide's statement leaves out, are a third table.`,
      ),
    'modelgate audit --database data/webui.db',
    'modelgate audit --only admins --csv > admins.csv',
  );

export const addAudit = commandOf(declareAudit, audit);
const COLUMNS = [
  ...['user_email', 'user_name', 'organization_id', 'accessible_models', 'model_names'],
  'does_not_count',
];

async function report(options: OptionsOf<typeof declareReport>, terminal: Terminal): Promise<number> {
  requireOneFormat(options);
  const { config, operation } = configureOperation(options, terminal);
  const chosen = options.org === undefined ? undefined : chooseOrganization(config, options);
  const progress = createProgress(terminal, 'Reading', 'membership');
  const policy = gatePolicyOf(config);
  const found = await readAccessReport(operation, policy, chosen, progress.at).finally(progress.end);
  const toCells = createCells();
  if (options.json === true) await printJson(terminal, found);
  if (options.csv === true) {
    terminal.write(asCsv(terminal, [COLUMNS]));
    await writeInPieces(terminal, found.rows, (piece) => asCsv(terminal, piece.map(toCells)));
  }
  const columns = COLUMNS.map((title) => (title === 'accessible_models' ? { title, align: 'right' as const } : title));
  const isPrinted = options.json === true || options.csv === true;
  return print(
    terminal,
    {},
    {
      record: undefined,
      parts: isPrinted ? [] : [{ columns, rows: found.rows.map(toCells) }],
      notes: notesOn(found.not_counted, policy),
    },
  );
}

async function printJson(terminal: Terminal, { rows, not_counted: rest }: AccessReport): Promise<void> {
  terminal.write('{\n  "rows": [');
  await writeInPieces(terminal, rows, (piece, at) =>
    piece.map((row, index) => `${at + index === 0 ? '' : ','}\n    ${asJsonLine(row)}`).join(''),
  );
  terminal.write(`${rows.length === 0 ? '' : '\n  '}],\n  "not_counted": ${spread(rest, '  ')}\n}\n`);
}

/** Every member of an organization has the same names: one text for all of them. */
function createCells(): (row: AccessRow) => readonly Cell[] {
  const texts = new Map<readonly string[], string | null>();
  return ({ email, name, organization, model_count: count, model_names: names, reasons }) => {
    const joined = texts.get(names) ?? (names.length === 0 ? null : names.join(','));
    texts.set(names, joined);
    return [email, name, organization, count, joined, describeObstacles(reasons)];
  };
}

/** Where the view, and so the report, says something else than the gate would. */
function notesOn(counts: AccessReport['not_counted'], policy: GatePolicy): readonly (string | false)[] {
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

const PIECE = 1_000;

/** @param print one piece as text: nothing is made that will not be read @throws CommandFailure after Ctrl-C */
async function writeInPieces<T>(
  terminal: Terminal,
  items: readonly T[],
  toText: (piece: readonly T[], at: number) => string,
): Promise<void> {
  for (let at = 0; at < items.length; at += PIECE) {
    if (terminal.stop.aborted) throw new CommandFailure('Stopped before the end of the output.');
    terminal.write(toText(items.slice(at, at + PIECE), at));
    // `| head` has left, or Ctrl-C was pressed: both are heard of only between two pieces
    await setImmediate();
  }
}

async function audit(options: OptionsOf<typeof declareAudit>, terminal: Terminal): Promise<number> {
  requireOneFormat(options);
  const { operation } = configureOperation(options, terminal);
  const found = await readAccessAudit(operation);
  const { admins_outside: outside, ...records } = found;
  const names = AUDIT_TABLES.filter((table) => options.only === undefined || table === options.only);
  const off = found.organizations.filter(({ active }) => !active).length;
  const tables = tablesOf(found);
  const isShown = (name: (typeof names)[number]): boolean =>
    name !== 'outside' || options.csv === true || names.length === 1 || outside.length > 0;
  return print(terminal, options, {
    record: Object.fromEntries(
      names.map((name) => (name === 'outside' ? ['admins_outside', outside] : [name, records[name]])),
    ),
    parts: names.filter(isShown).map((name) => tables[name]),
    notes: [
      off > 0 &&
        `${counted(off, 'organization')} switched off in client_organizations: the gate gives the members nothing.`,
    ],
  });
}

/** The guide's columns with the guide's names, and ours behind them. */
const tablesOf = ({ organizations, admins, admins_outside: outside }: AccessAudit) => {
  const counts = ['user_count', 'model_count', 'active_model_count', 'is_active', 'counting_user_count'];
  const toRow = ({ last_active_at_seconds: _, ...admin }: AccessAudit['admins_outside'][number]) =>
    Object.values<Cell>(admin);
  return {
    organizations: {
      title: 'Active users by organization',
      columns: [
        'organization_id',
        ...counts.map((title) => (title.endsWith('_count') ? { title, align: 'right' as const } : title)),
      ],
      rows: organizations.map((organization) => Object.values<Cell>({ ...organization })),
    },
    admins: {
      title: 'Users with admin role',
      columns: ['email', 'name', 'organization_id', 'last_active_at', 'is_member'],
      rows: admins.map(toRow),
    },
    outside: {
      title: 'Users with admin role in no organization',
      columns: ['email', 'name', 'last_active_at'],
      rows: outside.map(toRow),
    },
  } satisfies Record<(typeof AUDIT_TABLES)[number], Table>;
};
