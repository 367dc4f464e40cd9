/** `modelgate audit`: the deployment guide's two tables, and the admins that they do not show. */
import { type Command, Option } from '@commander-js/extra-typings';
import { type AccessAudit, readAccessAudit } from '../../organizations/access-audit.ts';
import { configureOperation } from '../configured.ts';
import { type CommandLine, type OptionsOf, onDatabase } from '../options.ts';
import { type Cell, type Column, asTable, requireOneFormat, counted, asJson, asCsv, emphasize } from '../report.ts';
import { type Terminal, EXIT, say } from '../terminal.ts';

const AUDIT_TABLES = ['organizations', 'admins', 'outside'] as const;
type AuditTable = (typeof AUDIT_TABLES)[number];

/** Adds `audit`. */
export function addAudit({ program, terminal, exitWith }: CommandLine): void {
  declare(program).action(async (options) => exitWith(await audit(options, terminal)));
}

const declare = (program: Command) =>
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

type AuditOptions = OptionsOf<typeof declare>;

/** @throws CommandFailure or OperationFailure where the file cannot be read */
async function audit(options: AuditOptions, terminal: Terminal): Promise<number> {
  requireOneFormat(options);
  const { operation } = configureOperation(options, terminal);
  const found = await readAccessAudit(operation);
  const tables = AUDIT_TABLES.filter((table) => options.only === undefined || table === options.only);
  terminal.write(print(options, terminal, found, tables));
  const off = found.organizations.filter(({ active }) => !active).length;
  if (off > 0) {
    say(
      terminal,
      `${counted(off, 'organization is', 'organizations are')} switched off in client_organizations: the gate gives the members nothing.`,
    );
  }
  return EXIT.done;
}

function print(
  { csv, json }: AuditOptions,
  terminal: Terminal,
  found: AccessAudit,
  names: readonly AuditTable[],
): string {
  const { admins_outside: outside, ...records } = found;
  if (json === true) {
    const named = names.map((name) => (name === 'outside' ? ['admins_outside', outside] : [name, records[name]]));
    return asJson(Object.fromEntries(named));
  }
  const tables = tablesOf(found);
  const printed = names.map((name) => {
    const { title, columns, rows } = tables[name];
    if (csv === true) return asCsv(terminal, [columns, ...rows]);
    // the guide shows two tables; a third that is empty says nothing
    if (name === 'outside' && rows.length === 0 && names.length > 1) return '';
    return `${emphasize(terminal, 'bold', title)}\n${asTable(terminal, columns.map(toColumn), rows)}`;
  });
  // of several tables in one file, an empty line says where the next begins
  return printed.filter((text) => text !== '').join(csv === true ? '\r\n' : '\n');
}

interface Printed {
  readonly title: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly Cell[])[];
}

const toColumn = (title: string): Column => (title.endsWith('_count') ? { title, align: 'right' } : title);

/** The guide's columns with the guide's names, and ours behind them. */
const tablesOf = ({ organizations, admins, admins_outside: outside }: AccessAudit): Record<AuditTable, Printed> => ({
  organizations: {
    title: 'Active users by organization',
    columns: [
      ...['organization_id', 'user_count', 'model_count', 'active_model_count', 'is_active'],
      'counting_user_count',
    ],
    rows: organizations.map((organization) => Object.values<Cell>({ ...organization })),
  },
  admins: {
    title: 'Users with admin role',
    columns: ['email', 'name', 'organization_id', 'last_active_at', 'is_member'],
    rows: admins.map(({ last_active_at_seconds: _, ...admin }) => Object.values<Cell>(admin)),
  },
  outside: {
    title: 'Users with admin role in no organization',
    columns: ['email', 'name', 'last_active_at'],
    rows: outside.map(({ last_active_at_seconds: _, ...admin }) => Object.values<Cell>(admin)),
  },
});
