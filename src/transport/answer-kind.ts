/** What the upstream's own fields say about the answer that follows them; values as undici gives them. */

/** A coding beside chunked would be left in the body while the field that names it is dropped. */
export function isOddlyCoded(coding: string | string[] | undefined): boolean {
  return coding !== undefined && (typeof coding !== 'string' || coding.trim().toLowerCase() !== 'chunked');
}

/** Server-sent events (HTML Living Standard 9.2): open for as long as a model writes. */
export function isEventStream(type: unknown): boolean {
  return typeof type === 'string' && type.startsWith('text/event-stream');
}
