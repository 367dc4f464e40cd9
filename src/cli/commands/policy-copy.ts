/** What `backup --policy` and its restoration print, and the lines for whole databases of PostgreSQL. */
import { join } from 'node:path';
import { type OperationFailure, unchanged } from '../../backend-file/failure.ts';
import { asSize, shellCommand } from '../../backend-file/text.ts';
import type { PostgresAddress } from '../../config/postgres-url.ts';
import type { PolicyBackup, countsOf } from '../../organizations/policy-backup.ts';
import type { restorePolicy } from '../../organizations/policy-restore.ts';
import { type Report, counted } from '../report.ts';

export const rowsIn = ({ members, grants, budgets }: ReturnType<typeof countsOf>): string =>
  [counted(members, 'membership'), counted(grants, 'grant'), counted(budgets, 'budget')].join(', ');

export function reportBackup(record: PolicyBackup, directory: string, postgres: PostgresAddress | undefined): Report {
  const { deleted, not_deleted: left, meaningless } = record;
  const dump = ['pg_dump', '-Fc', '-f', join(directory, 'openwebui.dump'), '-d'];
  return {
    record,
    parts: [
      [
        ['backup', record.path],
        ['size', asSize(record.bytes)],
        ['verified', rowsIn(record)],
        ['deleted', deleted.length > 0 ? deleted : undefined],
      ],
      postgres === undefined
        ? ''
        : `The whole database, chats and users too:\n  ${shellCommand(...dump, urlFor(postgres))}`,
    ],
    notes: [
      meaningless > 0 && `${counted(meaningless, 'row')} left out: they mean nothing to the gate, or are there twice.`,
      ...left.map(({ path, code }) => `The backup is good, but the old one ${path} could not be deleted (${code}).`),
    ],
    failed: left.length > 0,
  };
}

export function reportRestoration(record: Awaited<ReturnType<typeof restorePolicy>>): Report {
  const { unknown_users: unknown } = record;
  return {
    record,
    parts: [
      [
        ['restored', record.restored],
        ['from', record.from],
        ['rows', rowsIn(record)],
        ['replaced', `kept as ${record.replaced}`],
      ],
    ],
    notes: [unknown > 0 && `${counted(unknown, 'member')} of them the backend does not know: are its users there yet?`],
  };
}

/** For libpq, without the password: it asks for it, or takes PGPASSWORD. */
const urlFor = ({ shown, tls, hosts }: PostgresAddress): string =>
  `${shown}?sslmode=${tls.mode}${hosts.length > 1 ? '&target_session_attrs=read-write' : ''}`;

export function wholeOnPostgres(postgres: PostgresAddress, file: string): OperationFailure {
  const line = shellCommand(
    'pg_restore',
    '--clean',
    '--if-exists',
    '--single-transaction',
    '-d',
    urlFor(postgres),
    file,
  );
  const finding = `${file} is no backup of a policy, and a whole database of PostgreSQL is not replaced from here.`;
  return unchanged(finding, `With the backend and the gate stopped, and a file of pg_dump: \`${line}\``, {
    code: 'misused',
  });
}
