/** Which release of the backend has written the file. */
import type { BackendRelease } from '../../store/backend-releases.ts';
import { NEWEST_KNOWN_RELEASE } from '../../store/backend-releases.ts';
import { quoted } from '../quoted.ts';
import type { Finding } from './finding.ts';
import { ok, warning } from './finding.ts';

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
