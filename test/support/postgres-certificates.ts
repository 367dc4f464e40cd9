/** An authority, a certificate for `localhost` that it signed, one for the role, and an authority that signed nothing. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROLE } from './postgres.ts';

export interface Certificates extends Disposable {
  /** The path of a file: `authority.crt`, `server.crt`, `server.key`, `role.crt`, `role.key`, `stranger.crt`. */
  path(name: string): string;
  text(name: string): string;
}

export function makeCertificates(): Certificates {
  const cwd = mkdtempSync(join(tmpdir(), 'modelgate-certificates-'));
  const openssl = (words: string): void => void execFileSync('openssl', words.split(' '), { cwd, stdio: 'pipe' });
  const key = '-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes';
  for (const name of ['authority', 'stranger'])
    openssl(`req -x509 ${key} -days 2 -subj /CN=${name} -keyout ${name}.key -out ${name}.crt`);
  for (const [name, subject] of [
    ['server', 'localhost'],
    ['role', ROLE],
  ] as const) {
    writeFileSync(join(cwd, `${name}.ext`), `subjectAltName=DNS:${subject}\n`);
    openssl(`req -new ${key} -subj /CN=${subject} -keyout ${name}.key -out ${name}.csr`);
    const signer = '-CA authority.crt -CAkey authority.key -CAcreateserial -days 2';
    openssl(`x509 -req -in ${name}.csr ${signer} -extfile ${name}.ext -out ${name}.crt`);
  }
  const path = (name: string): string => join(cwd, name);
  return {
    path,
    text: (name) => readFileSync(path(name), 'utf8'),
    [Symbol.dispose]: () => rmSync(cwd, { recursive: true }),
  };
}
