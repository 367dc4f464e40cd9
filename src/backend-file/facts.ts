/** What a copy must have in common with what it was copied from, and what operators recognise their database by. */
import type { Finding } from '../diagnosis/finding.ts';
import { ok, warning } from '../diagnosis/finding.ts';
import type { BackendRelease } from '../store/backend-releases.ts';
import { NEWEST_KNOWN_RELEASE } from '../store/backend-releases.ts';
import type { Connection } from '../store/database.ts';
import { readSchema } from '../store/schema-reader.ts';
import { OperationFailure } from './failure.ts';
import { quoted } from './text.ts';
import { requireTables } from './transaction.ts';

export interface DatabaseFacts {
  /** Every table, index, view and trigger, as `kind name`. */
  readonly objects: readonly string[];
  readonly users: number;
  readonly models: number;
  /** Rows of `organization_members`; 0 where there is no such table. */
  readonly members: number;
  /** Rows of `organization_models`; 0 where there is no such table. */
  readonly grants: number;
}

/** To be called in one transaction. @throws OperationFailure where it is no database of Open WebUI, naming `path` */
export function readFacts(connection: Connection, path: string): DatabaseFacts {
  requireTables(path, readSchema(connection), 'backend');
  const objects = connection
    .prepare<[], string>("SELECT type || ' ' || name FROM sqlite_schema ORDER BY 1")
    .pluck()
    .all();
  const count = (sql: string): number => connection.prepare<[], number>(sql).pluck().get() ?? 0;
  const has = (table: string): boolean => objects.includes(`table ${table}`);
  return {
    objects,
    users: count('SELECT count(*) FROM "user"'),
    models: count('SELECT count(*) FROM model'),
    members: has('organization_members') ? count('SELECT count(*) FROM organization_members') : 0,
    grants: has('organization_models') ? count('SELECT count(*) FROM organization_models') : 0,
  };
}

/** @throws OperationFailure where the copy is not what was read */
export function requireSame(original: DatabaseFacts, copy: DatabaseFacts, path: string): void {
  const differing = (['users', 'models', 'members', 'grants'] as const).find((what) => original[what] !== copy[what]);
  if (differing === undefined && original.objects.join('\n') === copy.objects.join('\n')) return;
  throw new OperationFailure(
    `The copy of ${path} does not hold what was read (${differing ?? 'tables'} differ), and was thrown away. Nothing was changed. Try again; if it stays so, look into the log of the system for errors of the disk.`,
  );
}

// Which release of the backend has written the file.

const NAME = 'release';

/** Pure: whether this modelgate knows the release. */
export function checkRelease(release: BackendRelease): Finding {
  if (release.kind === 'known') {
    return { ...ok(NAME, `The file was written by ${nameOfRelease(release)}.`), revision: release.revision };
  }
  return warning(NAME, `The file ${unknownRelease(release)}.`, UNKNOWN_REMEDY);
}

/** Also for whoever is about to write to such a file. @returns undefined for a release that is known */
export function doubtAbout(release: BackendRelease): string | undefined {
  return release.kind === 'known' ? undefined : `the file ${unknownRelease(release)}`;
}

function unknownRelease(release: Exclude<BackendRelease, { kind: 'known' }>): string {
  return release.kind === 'newer'
    ? `is newer than this modelgate knows, or a fork's: migration ${quoted(release.revision)} is none of Open WebUI 0.3.0 to ${NEWEST_KNOWN_RELEASE}`
    : 'carries no mark of a migration of Open WebUI (table alembic_version)';
}

const UNKNOWN_REMEDY = 'Look for a newer modelgate. Make a backup before you change anything: `modelgate backup DIR`';

/** Such as `Open WebUI 0.6.16 or later, before 0.6.23`. */
export function nameOfRelease({ since, before }: Extract<BackendRelease, { kind: 'known' }>): string {
  return before === undefined
    ? `Open WebUI ${since} to ${NEWEST_KNOWN_RELEASE}`
    : `Open WebUI ${since} or later, before ${before}`;
}
