import type { Scope } from '../scope.ts';

/** A path is as long as the client likes. */
const LONGEST_PATH = 512;

/** The path that was judged, or where none was, the one that was sent, without its query. */
export function pathOf({ path, incoming }: Pick<Scope, 'path' | 'incoming'>): string {
  return path === '' ? shownPath(incoming.url) : shortened(path);
}

export function shownPath(url = ''): string {
  return shortened(url.split('?', 1)[0] ?? '');
}

function shortened(shown: string): string {
  return shown.length > LONGEST_PATH ? `${shown.slice(0, LONGEST_PATH)}…` : shown;
}
