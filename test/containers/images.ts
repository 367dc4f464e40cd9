/** The images that the tests run: ours is built, the others are pulled, or stood in for where no registry answers. */
import { readFileSync, globSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { installOpenWebui } from '../openwebui/install.ts';
import type { Release } from '../openwebui/release.ts';
import { engine, ENGINE, run } from './engine.ts';

export const ROOT = fileURLToPath(new URL('../../', import.meta.url));
export const MODELGATE = 'localhost/modelgate:0.1.0';
/** The release that the Compose file names, and the one that the fork is made from. */
export const OPEN_WEBUI = 'ghcr.io/open-webui/open-webui:v0.12.4';
export const NODE = nameIn('Dockerfile', /^FROM (node:\S+)/m);
export const NGINX = nameIn('docker-compose.yml', /image: (nginx:\S+)/);
const PROMETHEUS = nameIn('docker-compose.yml', /image: (prom\/prometheus:\S+)/);

/** Of the stack with several gates, by the kind of its stand-in. */
const SERVERS = {
  postgres: nameIn('docker-compose.scale.yml', /image: (pgvector\/\S+)/),
  pgbouncer: nameIn('docker-compose.scale.yml', /image: (edoburu\/\S+)/),
  valkey: nameIn('docker-compose.scale.yml', /image: (valkey\/\S+)/),
};

const STAND_IN = fileURLToPath(new URL('stand-in.sh', import.meta.url));
const PULL_DEADLINE_MS = 300_000;
const BUILD_DEADLINE_MS = 900_000;

function nameIn(file: string, pattern: RegExp): string {
  const [, name] = pattern.exec(readFileSync(join(ROOT, file), 'utf8')) ?? [];
  if (name === undefined) throw new Error(`${file} names no image as ${String(pattern)}`);
  return `docker.io/${name.includes('/') ? name : `library/${name}`}`;
}

/** Vitest calls this once: everything that takes minutes. */
export async function prepareImages(): Promise<void> {
  await provide(NODE, 'node');
  await provide(NGINX, 'nginx');
  await provide(PROMETHEUS, 'prometheus');
  await provideOpenWebui(OPEN_WEBUI, '0.12.4');
  const started = performance.now();
  // with the network of this machine: a registry may be reachable from there alone
  await engine(
    ['build', '--network', 'host', ...(ENGINE === 'podman' ? ['--format', 'docker'] : []), '--tag', MODELGATE, ROOT],
    {
      deadlineMs: BUILD_DEADLINE_MS,
    },
  );
  console.log(`built ${MODELGATE} in ${seconds(started)} s`);
}

/** For the one test that needs them. */
export async function prepareServers(): Promise<void> {
  for (const [kind, name] of Object.entries(SERVERS)) await provide(name, kind);
}

async function provide(name: string, kind: string, ...more: string[]): Promise<void> {
  if ((await run(ENGINE, ['image', 'inspect', name])).code === 0) return;
  const pulled = await run(ENGINE, ['pull', '--quiet', name], { deadlineMs: PULL_DEADLINE_MS });
  if (pulled.code === 0) return;
  const started = performance.now();
  console.log(`NOT THE REAL ${name}: it could not be pulled, a stand-in made on this machine is used`);
  const made = await run(STAND_IN, [name, kind, ...more], { deadlineMs: BUILD_DEADLINE_MS });
  if (made.code !== 0)
    throw new Error(`${name} could be neither pulled nor made here:\n${pulled.stderr}${made.stderr}`);
  console.log(`made ${name} in ${seconds(started)} s`);
}

async function provideOpenWebui(name: string, release: Release): Promise<void> {
  if ((await run(ENGINE, ['image', 'inspect', name])).code === 0) return;
  const { python } = await installOpenWebui(release);
  const [packages] = globSync(join(dirname(dirname(python)), 'lib/python3.11/site-packages'));
  if (packages === undefined) throw new Error('the stand-in for Open WebUI needs an installation made by Python 3.11');
  await provide(name, 'open-webui', packages);
}

const seconds = (since: number): number => Math.round((performance.now() - since) / 1000);
