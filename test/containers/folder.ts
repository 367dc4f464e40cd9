/** The folder that an operator works in, and what lies there. */
import { copyFileSync, cpSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ENGINE, run } from './engine.ts';
import { NGINX, ROOT } from './images.ts';

/** Of the checkout, what containers are made of and what lies beside the Compose file. */
const CHECKOUT = [
  ...['Dockerfile', '.dockerignore', '.npmrc', 'LICENSE', 'package.json', 'package-lock.json', 'src'],
  ...['.env.example', 'config', 'docker-compose.yml', 'docker-compose.scale.yml', 'nginx'],
];

/** @returns the folder of a new checkout */
export async function copyCheckout(parent: string): Promise<string> {
  const directory = join(parent, 'modelgate');
  for (const name of CHECKOUT) cpSync(join(ROOT, name), join(directory, name), { recursive: true });
  // where Debian's nginx stands in for the newer one of the Compose file
  const { stderr: version } = await run(ENGINE, ['run', '--rm', '--network', 'none', NGINX, 'nginx', '-v']);
  if (/nginx\/1\.(?:\d|1\d|2[0-4])\./.test(version)) {
    copyFileSync(join(ROOT, 'nginx/http2-debian-12.conf'), join(directory, 'nginx/http2.conf'));
  }
  return directory;
}

/** @returns a new folder with these files, and the checkout beside it */
export function writeFolder(parent: string, files: Readonly<Record<string, string>>): string {
  const directory = join(parent, 'mai');
  mkdirSync(directory);
  for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text);
  symlinkSync(ROOT, join(parent, 'modelgate'));
  return directory;
}

export const lines = (values: Readonly<Record<string, string>>): string =>
  Object.entries(values)
    .map(([name, value]) => `${name}=${value}\n`)
    .join('');

/** @returns the text of .env with these values @throws Error where one has no line, not even a commented one */
export function filledIn(text: string, values: Readonly<Record<string, string>>): string {
  return Object.entries(values).reduce((before, [name, value]) => {
    const line = new RegExp(`^#?${name}=.*$`, 'm');
    if (!line.test(before)) throw new Error(`.env says nothing of ${name}`);
    return before.replace(line, () => `${name}=${value}`);
  }, text);
}
