/** The stage before the decision: the access key, the address, and what of the request goes on to the provider. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { GatewayError } from '../errors.ts';
import type { Stage } from '../stage.ts';
import type { HeaderLines } from '../transport/exchange.ts';
import { type createAddresses, baseOf } from './address.ts';
import { matchEndpoint } from './endpoints.ts';
import type { Provider, ProviderScope } from './scope.ts';

/**
 * Where the backend puts a connection's key: most of them in `Authorization`, Azure's in `api-key`, Anthropic's in
 * `x-api-key` (routers/openai.py `get_headers_and_cookies`, 0.12.4).
 */
const KEY_PLACES: ReadonlySet<string> = new Set(['authorization', 'api-key', 'x-api-key']);

type AccessKeys = ReturnType<typeof createAccessKeys>;

/** @param keys all that are valid: several while one takes the place of another */
export function createAccessKeys(keys: readonly string[]) {
  const known = keys.map(digestOf);
  /** Each is compared, in constant time: how long it takes says nothing of the keys. */
  const isKnown = (key: string): boolean => {
    const digest = digestOf(key);
    return known.map((one) => timingSafeEqual(one, digest)).includes(true);
  };
  /** @returns the places with a key; undefined where there is none, or one that is not an access key */
  return function placesOfKey(rawHeaders: HeaderLines): ReadonlySet<string> | undefined {
    const places = new Set<string>();
    for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
      const name = (rawHeaders[index] ?? '').toLowerCase();
      if (!KEY_PLACES.has(name)) continue;
      const value = rawHeaders[index + 1] ?? '';
      const key = name === 'authorization' ? /^Bearer +(\S+)$/i.exec(value)?.[1] : value;
      if (places.has(name) || key === undefined || !isKnown(key)) return undefined;
      places.add(name);
    }
    return places.size === 0 ? undefined : places;
  };
}

const digestOf = (key: string): Buffer => createHash('sha256').update(key).digest();

/** Header lines of our own. The provider's key is in the places of the access key, as the provider of that connection expects it. */
export function ownLines({ provider, keyPlaces }: ProviderScope, key: string | undefined): string[] {
  const places = key === undefined ? [] : [...keyPlaces];
  const keys = places.flatMap((place) => [place, place === 'authorization' ? `Bearer ${key}` : String(key)]);
  return ['host', provider.url.host, 'accept-encoding', 'identity', ...keys];
}

interface AdmissionParts {
  readonly placesOfKey: AccessKeys;
  readonly readAddress: ReturnType<typeof createAddresses<Provider>>;
  /** Names of header fields in lower case that say for whom the backend calls. */
  readonly identityHeaders: ReadonlySet<string>;
}

/** @throws GatewayError `access_key_invalid` (401), `path_ambiguous` (400), `provider_unknown` (404) */
export function admit({ placesOfKey, readAddress, identityHeaders }: AdmissionParts): Stage<ProviderScope> {
  return function admit(c, next) {
    const scope = c.get('scope');
    const { rawHeaders, method = '', url = '' } = scope.incoming;
    const places = placesOfKey(rawHeaders);
    if (places === undefined) throw new GatewayError('access_key_invalid');
    const { provider, path, target, query } = readAddress(url);
    const { endpoint, name, modelInPath } = matchEndpoint(method, path);
    Object.assign(scope, { provider, target, query, endpoint, endpointName: name, modelInPath, keyPlaces: places });
    scope.path = `/${provider.url.host}${baseOf(provider.url)}${path}`;
    scope.surface = { kind: endpoint?.kind ?? 'refused' };
    scope.credentialEdit = {
      remove: removedNames(rawHeaders, identityHeaders),
      add: ownLines(scope, provider.key),
    };
    return next();
  };
}

/** Keys and cookies are the backend's; who a user is concerns no provider. */
const REMOVED = ['host', 'authorization', 'api-key', 'x-api-key', 'cookie', 'accept-encoding'];
/** A list that is kept is whole; no other endpoint knows conditions. */
const CONDITIONAL = ['if-none-match', 'if-modified-since', 'if-range', 'range'];
const IDENTITY_PREFIX = /^x-(?:openwebui|modelgate)-/;

function removedNames(rawHeaders: HeaderLines, identityHeaders: ReadonlySet<string>): ReadonlySet<string> {
  const removed = new Set([...REMOVED, ...CONDITIONAL, ...identityHeaders]);
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = (rawHeaders[index] ?? '').toLowerCase();
    if (IDENTITY_PREFIX.test(name)) removed.add(name);
  }
  return removed;
}
