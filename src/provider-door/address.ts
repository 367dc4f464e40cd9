/**
 * Where a request goes: `http://modelgate:8081/` and behind it the provider's address without its scheme. Open WebUI decides
 * much by the text of that address (`openrouter.ai`, `api.anthropic.com`), which so stays in it.
 */
import { GatewayError } from '../errors.ts';

interface ProviderAddress {
  /** The provider's base URL. */
  readonly url: URL;
}

interface Addressed<P> {
  readonly provider: P;
  /** Behind the provider's base, with a slash at its beginning. */
  readonly path: string;
  /** Path and query as the provider is asked for them, byte for byte as they came. */
  readonly target: string;
  readonly query: string;
}

/**
 * @returns a reader of request targets. Where one base is the beginning of another, the longer one counts.
 * @throws GatewayError `path_ambiguous` (400), `provider_unknown` (404)
 */
export function createAddresses<P extends ProviderAddress>(providers: readonly P[]) {
  const byLength = providers
    .map((provider) => ({ provider, base: `/${provider.url.host}${baseOf(provider.url)}` }))
    .toSorted((a, b) => b.base.length - a.base.length);

  return function readAddress(received: string): Addressed<P> {
    const given = decodedHost(received);
    if (!CLEAN.test(given)) throw ambiguous('Found a character that must not stand in it, or an empty or dot segment.');
    const [raw = '', ...more] = given.split('?');
    const [host = ''] = raw.slice(1).split('/', 1);
    // Names of hosts have no letter case (RFC 9110 4.2.3), paths have
    const whole = `/${host.toLowerCase()}${raw.slice(1 + host.length)}`;
    const found = byLength.find(({ base }) => whole === base || whole.startsWith(`${base}/`));
    if (found === undefined) throw unknownProvider(host, providers);
    const { provider, base } = found;
    const target = given.slice(1 + host.length);
    return { provider, path: whole.slice(base.length) || '/', target: target || '/', query: more.join('?') };
  };
}

/** The brackets of an IPv6 host, which some clients encode in a path. */
export const decodedHost = (path: string): string => path.replace(/^\/%5B([\da-f:.]+)%5D(?=[:/]|$)/i, '/[$1]');

/** Without the slash at its end. */
export const baseOf = ({ pathname }: URL): string => pathname.replace(/\/+$/, '');

/** No percent-encoding in the path: every endpoint is spelled in plain letters, and so is each model of Azure. */
const CLEAN = /^(?:\/(?!\.{1,2}(?:[/?]|$))[\w.~!$&'()*+,;=:@[\]-]+)+\/?(?:\?[!"$-~]*)?$/;

const ambiguous = (detail: string) => new GatewayError('path_ambiguous', { detail });

function unknownProvider(host: string, providers: readonly ProviderAddress[]): GatewayError {
  const isKnownHost = providers.some(({ url }) => url.host === host.toLowerCase());
  const found = isKnownHost ? 'Its path is not below the address of this provider' : `"${host.slice(0, 100)}" is none`;
  const expected = 'Expected http://modelgate:PORT/ and behind it an address of MODELGATE_PROVIDERS without its scheme';
  return new GatewayError('provider_unknown', { detail: `${found}. ${expected}, such as openrouter.ai/api/v1.` });
}
