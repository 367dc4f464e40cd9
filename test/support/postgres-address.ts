/** Addresses of test servers, parsed as the settings are. */
import { type PostgresAddress, parsePostgresUrl } from '../../src/config/postgres-url.ts';

/** @throws Error where the URL is none */
export function addressOf(url: string): PostgresAddress {
  const address = parsePostgresUrl(url);
  if (typeof address === 'string') throw new Error(address);
  return address;
}
