/** Why a backend cannot be reached, in words for whoever runs it; clients are told only that it cannot. */

/** @returns what follows its name in a sentence, without the full stop: `refuses the connection: … (ECONNREFUSED)` */
export function unreachableBecause(error: unknown): string {
  const code = codeOf(error);
  const found = REASONS.find(([pattern]) => pattern.test(code));
  return `${found?.[1] ?? 'cannot be asked'} (${code})`;
}

/** undici and `fetch` hide what has happened one or two causes deep. */
function codeOf(error: unknown): string {
  let deepest = 'no reason given';
  for (let at = error, depth = 0; at instanceof Error && depth < 5; at = at.cause, depth += 1) {
    if ('code' in at && typeof at.code === 'string') return at.code;
    deepest = /^(Type)?Error$/.test(at.name) ? at.message : at.name;
  }
  return deepest;
}

const REASONS: readonly (readonly [pattern: RegExp, what: string])[] = [
  [/^ECONNREFUSED/, 'refuses the connection: does the backend run, and is the port right?'],
  [/^(ENOTFOUND|EAI_)/, 'is a name that cannot be resolved'],
  [/^(EHOSTUNREACH|ENETUNREACH)/, 'cannot be reached from here'],
  [/^(ECONNRESET|UND_ERR_SOCKET|EPIPE)/, 'has closed the connection without an answer'],
  [/TIMEOUT/i, 'does not answer in time'],
  [/^HPE_|^HTTPParser|^UND_ERR_(HEADERS|INVALID)/, 'does not speak HTTP there'],
  [/^(EPROTO|ERR_SSL)/, 'does not speak TLS there: is it http and not https?'],
  [/CERT|SELF_SIGNED|UNABLE_TO_VERIFY/, 'shows a certificate that is not trusted; NODE_EXTRA_CA_CERTS=FILE adds one'],
];
