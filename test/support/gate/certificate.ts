import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';

/** `fullchain.pem` and `privkey.pem` in a folder that is there: for this machine, self-signed, believed by this process. */
export function makeCertificate(directory: string): void {
  const words = 'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost';
  const names = 'subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1';
  const files = ['-addext', names, '-keyout', 'privkey.pem', '-out', 'fullchain.pem'];
  execFileSync('openssl', [...words.split(' '), ...files], { cwd: directory, stdio: 'pipe' });
  const certificate = readFileSync(join(directory, 'fullchain.pem'), 'utf8');
  setDefaultCACertificates([...getCACertificates('default'), certificate]);
}
