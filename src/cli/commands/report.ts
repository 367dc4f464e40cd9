/** `modelgate report`: who has which models, row by row as the deployment guide's view says it. */
import { setImmediate } from 'node:timers/promises';
import type { Command } from '@commander-js/extra-typings';
import { quoted } from '../../backend-file/text.ts';
import type { StoreConfig } from '../../config/schema.ts';
import { type AccessReport, type AccessRow, readAccessReport } from '../../organizations/access-report.ts';
import { unenforced } from '../../organizations/explanation.ts';
import { describeObstacles } from '../../organizations/obstacles.ts';
import { chooseOrganization, configureOperation, gatePolicyOf } from '../configured.ts';
import { type Cell, asTable, requireOneFormat, counted, spread, asCsv, asJsonLine } from '../report.ts';
import { type CommandLine, type OptionsOf, onDatabase } from '../options.ts';
import { createProgress } from '../prompt.ts';
import { type Terminal, CommandFailure, EXIT, say } from '../terminal.ts';

/** Adds `report`. */
export function addReport({ program, terminal, exitWith }: CommandLine): void {
  declare(program).action(async (options) => exitWith(await report(options, terminal)));
}

const declare = (program: Command) =>
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

type ReportOptions = OptionsOf<typeof declare>;

/** The view's own names, and behind them what the view does not look at. */
const COLUMNS = [
  ...['user_email', 'user_name', 'organization_id', 'accessible_models', 'model_names'],
  'does_not_count',
] as const;

/** @throws CommandFailure or OperationFailure where the file cannot be read, or the organization is not named */
async function report(options: ReportOptions, terminal: Terminal): Promise<number> {
  requireOneFormat(options);
  const { config, operation } = configureOperation(options, terminal);
  const chosen = options.org === undefined ? undefined : chooseOrganization(config, options);
  const progress = createProgress(terminal, 'Reading', 'membership');
  const policy = gatePolicyOf(config);
  const found = await readAccessReport(operation, policy, chosen, progress.at).finally(progress.end);
  await print(options, terminal, found);
  for (const note of [...notes(found.not_counted, policy.enrolling), ...policyNotes(config)]) say(terminal, note);
  return EXIT.done;
}

function print({ csv, json }: ReportOptions, terminal: Terminal, found: AccessReport): Promise<void> {
  if (json === true) return printJson(terminal, found);
  if (csv === true) {
    terminal.write(asCsv(terminal, [COLUMNS]));
    const toCells = createCells();
    return writeInPieces(terminal, found.rows, (piece) => asCsv(terminal, piece.map(toCells)));
  }
  terminal.write(
    asTable(
      terminal,
      COLUMNS.map((title) => (title === 'accessible_models' ? { title, align: 'right' } : title)),
      found.rows.map(createCells()),
    ),
  );
  return Promise.resolve();
}

/** One document, without ever holding it whole. */
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
function* notes(
  {
    prefix_grants: prefixGrants,
    grants_without_row: withoutRow,
    inactive_organizations: inactive,
    refused_users: refused,
    not_enrolled: notEnrolled,
  }: AccessReport['not_counted'],
  enrolling: string | undefined,
): Generator<string> {
  const grants = [
    ...(prefixGrants > 0 ? [counted(prefixGrants, 'grant that ends in *', 'grants that end in *')] : []),
    ...(withoutRow > 0 ? [`${counted(withoutRow, 'grant')} of models without a row there`] : []),
  ].join(' and ');
  if (grants !== '') {
    yield `The report counts models of the backend's model table, as the guide's view does: it leaves out ${grants}. To see them all: \`modelgate model list --org ORGANIZATION\``;
  }
  if (inactive > 0) {
    const switchedOff = counted(inactive, 'organization in it is', 'organizations in it are');
    yield `${switchedOff} switched off in client_organizations, which the guide's view does not look at: the gate gives ${inactive === 1 ? 'its' : 'their'} members nothing.`;
  }
  if (refused > 0) {
    yield `${counted(refused, 'row is', 'rows are')} of users who are pending, banned or without a role in the backend, which the guide's view does not look at: the gate gives them nothing.`;
  }
  if (notEnrolled > 0 && enrolling !== undefined) {
    yield `${counted(notEnrolled, 'user')} without any membership ${notEnrolled === 1 ? 'is' : 'are'} not in it: the gate makes such users members of ${quoted(enrolling)} at their first request (MODELGATE_AUTO_ENROLL).`;
  }
}

/** Where the gate, with the settings that this command sees, gives more than any row says. */
function policyNotes({ policy }: StoreConfig): readonly string[] {
  const obstacle = unenforced(policy, 'deny');
  return [
    ...(policy.adminAccess === 'all'
      ? ['Admins of the backend use every model, whatever the report says: MODELGATE_ADMIN_ACCESS is `all`.']
      : []),
    ...(obstacle === null ? [] : [`The gate does not act on any of it: ${obstacle}.`]),
  ];
}

// Output of many lines, written piece by piece: nothing is made that will not be read.

const PIECE = 1_000;

/**
 * @param print one piece as text; called for one after the other
 * @throws CommandFailure after Ctrl-C
 */
async function writeInPieces<T>(
  terminal: Terminal,
  items: readonly T[],
  print: (piece: readonly T[], at: number) => string,
): Promise<void> {
  for (let at = 0; at < items.length; at += PIECE) {
    if (terminal.stop.aborted) throw new CommandFailure('Stopped before the end of the output.');
    terminal.write(print(items.slice(at, at + PIECE), at));
    // `| head` has left, or Ctrl-C was pressed: both are heard of only between two pieces
    await setImmediate();
  }
}
