/** Options of the commands on usage, budgets and prices, and the names behind the ids of a ledger. */
import { InvalidArgumentError, Option } from '@commander-js/extra-typings';
import { OperationFailure } from '../../backend-file/failure.ts';
import { quoted, quotedFew } from '../../backend-file/text.ts';
import { nearest } from '../../nearest.ts';
import { readAccounts } from '../../organizations/accounts.ts';
import { parsePattern } from '../../policy/grant.ts';
import { daySpan, monthSpan, parseTimeZone } from '../../policy/period.ts';
import type { Connection } from '../../store/database.ts';
import { organizationsIn } from '../../usage/slots.ts';
import { WHICH_DATABASE } from '../configuration-failure.ts';
import { type DatabaseOptions, configureOperation, toFile } from '../options.ts';
import { type Terminal, CommandFailure } from '../terminal.ts';

export const CSV = new Option(
  '--csv',
  'print CSV: UTF-8, RFC 4180; cells that a spreadsheet would run as formulas begin with an apostrophe',
).conflicts('json');

export const DATABASE = new Option(
  '--database <file>',
  "the backend's SQLite file, for names of people and organizations (default: of DATABASE_URL, where it is set)",
).argParser(toFile);

export const monthOption = (use: string) => new Option('--month <month>', `${use}, such as 2026-11`).argParser(toMonth);

export const zoneOption = (use: string) => new Option('--time-zone <zone>', use).argParser(toZone);

function toMonth(text: string): string {
  if (monthSpan(text, 'UTC') !== undefined) return text;
  throw new InvalidArgumentError('expected a month such as 2026-11.');
}

export function toDay(text: string): string {
  if (daySpan(text, 'UTC') !== undefined) return text;
  throw new InvalidArgumentError('expected a day, such as 2026-11-30.');
}

function toZone(text: string): string {
  const zone = parseTimeZone(text);
  if (zone !== undefined) return zone;
  const meant = nearest(text, Intl.supportedValuesOf('timeZone'));
  const asked = meant === undefined ? '' : ` Did you mean ${meant}?`;
  throw new InvalidArgumentError(`expected a time zone of IANA's list, such as Europe/Warsaw.${asked}`);
}

/** An id, or a beginning of ids before a `*`. */
export function toPattern(text: string): string {
  const isId = parsePattern(text) !== undefined;
  if (isId && !text.slice(0, -1).includes('*')) return text;
  throw new InvalidArgumentError(
    isId ? 'only a * at the very end stands for anything.' : 'it can be the id of no model.',
  );
}

/** @returns undefined where no database of the backend is named @throws OperationFailure where the one that is cannot be read */
export async function accountsIn(options: DatabaseOptions, terminal: Terminal) {
  try {
    const { operation, config } = configureOperation(options, terminal);
    return await readAccounts(operation, config.organization);
  } catch (error) {
    if (error instanceof CommandFailure && error.message === WHICH_DATABASE) return undefined;
    throw error;
  }
}

/** @returns the organization, or all that pay for calls @throws OperationFailure where the ledger knows none of this name */
export function requireKnown(connection: Connection, organization: string | undefined): readonly string[] {
  const known = organizationsIn(connection).filter((id) => id !== '');
  if (organization === undefined) return known;
  if (known.includes(organization)) return [organization];
  const meant = nearest(organization, known);
  const hint = meant === undefined ? `It has: ${quotedFew(known, 5) || 'none'}.` : `Did you mean ${quoted(meant)}?`;
  const sentence = `The ledger has no calls of an organization ${quoted(organization)}. ${hint}`;
  throw new OperationFailure(sentence, { code: 'no_such_organization' });
}
