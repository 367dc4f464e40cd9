/**
 * Which release of Open WebUI has written a file, by the revision of alembic's last migration.
 *
 * Source: the chain of `migrations/versions` of 0.12.4, each revision under the first release whose date in CHANGELOG.md is
 * not before the revision's own; the last nine carry no date and stand where the changelog speaks of what they add.
 */
import type { Connection } from './database.ts';
import { columnsOf } from './schema.ts';

/** The first release of each revision, and the revisions in the order of the chain, oldest first. */
const REVISIONS = `
  0.3.0 7e5b5dc7342b
  0.3.16 ca81bd47c050
  0.3.23 c0fbf31ca0db
  0.3.31 6a39f3d8e55c
  0.3.33 242a2047eae0 1af9b942657b 3ab32c4b8f59 c69f45358db4 c29facfe716b af906e964978 4ace53fd72c8
  0.4.0 922e7a387820
  0.5.0 57c599a3cb57 7826ab40b532
  0.5.3 3781e22d8b01
  0.6.6 9f0c9cd09105
  0.6.16 d31026856c01
  0.6.23 018012973d35 3af16a1c9fb6
  0.6.27 38d63c18f30f
  0.6.32 a5c220713937
  0.6.37 37f288994c47
  0.6.41 2f1211949ecc b10670c03dd5 90ef40d4714e 3e0e00844bb0
  0.6.42 6283dc0e4d8d 81cc2ce44d79 c440947495f3
  0.8.0 374d2f66af06 8452d01d26d7 f1e2d3c4b5a6 a1b2c3d4e5f6
  0.8.1 b2c3d4e5f6a7
  0.9.0 a3dd5bedd151 d4e5f6a7b8c9 b7c8d9e0f1a2 e1f2a3b4c5d6 c1d2e3f4a5b6 56359461a091
  0.9.3 4de81c2a3af1 a0b1c2d3e4f5
  0.9.6 3c9b0ca343fd 461111b60977
  0.10.0 3ff2c63645b8 4c5ce3d2f27f 7b3f2a9c1d4e 42e2978c7933
  0.11.0 856c5b02fb54 9a1b2c3d4e5f c49178636c78 b0018471bbbe 55f1302ac17c 959eaac8f909 f0bd01a18a3d
  0.11.1 1ce6ade7d93b 6d09d1bf1f23 d4c1a8e37b62
  0.12.0 a7d3e9f2b641 b8e4f0a3c752 d6a8c3f912ab e7b9d4a023bc f8c0e5b134cd
  0.12.1 b8f2c6d91a04 c92da83b017f 0bd252b206fb
`
  .trim()
  .split('\n')
  .map((line) => line.trim().split(' '));

/** The newest release that modelgate was tested with. */
export const NEWEST_KNOWN_RELEASE = '0.12.4';

/** `newer`: of a newer release, or a fork with migrations of its own. `unmarked`: of none since 0.3, or just being made. */
export type BackendRelease = ReturnType<typeof toBackendRelease> | { readonly kind: 'unmarked' };

/** @throws SqliteError where the file cannot be read */
export function readBackendRelease(connection: Connection): BackendRelease {
  if (!columnsOf(connection, 'alembic_version').has('version_num')) return { kind: 'unmarked' };
  const revision = connection.prepare<[]>('SELECT version_num FROM alembic_version').pluck().get();
  return typeof revision === 'string' ? toBackendRelease(revision) : { kind: 'unmarked' };
}

/** @returns the first release with this revision, such as `0.6.23`, and `before`, the first one without it */
export function toBackendRelease(revision: string) {
  const place = REVISIONS.findIndex(([, ...revisions]) => revisions.includes(revision));
  const since = REVISIONS[place]?.[0];
  if (since === undefined) return { kind: 'newer', revision } as const;
  const before = REVISIONS[place + 1]?.[0];
  return { kind: 'known', revision, since, before, journal: journalOf(since) } as const;
}

/**
 * The mode that the backend sets at every connect, unless its `DATABASE_ENABLE_SQLITE_WAL` says otherwise.
 * Source: `internal/db.py` and `env.py` of every release from 0.6.0 to 0.10.2, and of 0.12.4.
 */
function journalOf(since: string) {
  if (isOlder(since, '0.6.23')) return 'none';
  return isOlder(since, '0.9.0') ? 'backend_delete' : 'backend_wal';
}

/** By number. */
export const isOlder = (release: string, than: string): boolean =>
  release.localeCompare(than, 'en', { numeric: true }) < 0;
