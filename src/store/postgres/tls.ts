/** libpq's `sslmode` in Node's words. `pg` has another meaning for `require`, and is about to change it. */
import { readFile } from 'node:fs/promises';
import type { ConnectionOptions } from 'node:tls';
import type { PostgresHost, PostgresTls } from '../../config/postgres-url.ts';
import { PostgresFailure } from './failure.ts';

export type TlsOptions = ConnectionOptions | false;

/** Read at each connection: certificates are renewed while the gate runs. @throws PostgresFailure that names the file */
export async function tlsOptions(tls: PostgresTls, { host }: PostgresHost): Promise<TlsOptions> {
  const { mode, rootCertificate: root } = tls;
  if (mode === 'disable' || host.startsWith('/')) return false;
  // as libpq: with an authority at hand, `require` proves as much as `verify-ca`
  const proves = mode.startsWith('verify-') || (mode === 'require' && root !== undefined);
  const [ca, cert, key, crl] = await Promise.all([
    root === undefined || root === 'system' || !proves ? undefined : read('sslrootcert', root),
    read('sslcert', tls.certificate),
    read('sslkey', tls.key),
    proves ? read('sslcrl', tls.revoked) : undefined,
  ]);
  return {
    rejectUnauthorized: proves,
    ...(ca !== undefined && { ca }),
    ...(cert !== undefined && { cert }),
    ...(key !== undefined && { key }),
    ...(crl !== undefined && { crl }),
    // any name will do
    ...(mode !== 'verify-full' && { checkServerIdentity: () => undefined }),
  };
}

async function read(parameter: string, path: string | undefined): Promise<Buffer | undefined> {
  if (path === undefined) return undefined;
  try {
    return await readFile(path);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
    throw new PostgresFailure(`The file of ${parameter} (${path}) cannot be read: ${code}.`, code);
  }
}
