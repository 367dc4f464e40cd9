/** A Compose stack in a folder of its own, as an operator has it, with a model provider of ours outside. */
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { startProviderStub } from '../support/provider-stub.ts';
import type { ProviderStub } from '../support/provider-stub.ts';
import { closed, listening } from '../support/upstreams.ts';
import { compose, engine, ENGINE, run } from './engine.ts';
import { NGINX, ROOT } from './images.ts';

export const SECRET = 'a-key-of-the-container-tests-0123456789';
export const MODELS = ['alpha', 'beta', 'gamma'] as const;
const PREFIX = 'modelgate-test-';
/** A first start of the real backend on a machine that has other things to do. */
const START_MS = 600_000;

export interface Stack extends AsyncDisposable {
  readonly directory: string;
  /** Of nginx, or what stands in front. */
  readonly url: string;
  readonly provider: ProviderStub;
  readonly database: string;
  /** The Compose files that count now. */
  readonly files: readonly string[];
  /** The same stack with other files. */
  use(files: readonly string[]): Pick<Stack, 'compose'>;
  compose(...words: string[]): Promise<string>;
  /** Name of the service's container. */
  container(service: string): Promise<string>;
  /** One field of `inspect`, by a Go template. */
  inspect(service: string, template: string): Promise<string>;
  logs(service: string): Promise<string>;
  /** Runs a program in the service's container; must succeed. */
  exec(service: string, ...words: string[]): Promise<string>;
  /** Asks through the published port until the backend answers. */
  ready(): Promise<void>;
}

export interface StackOptions {
  /** Compose files, beside which everything lies; copied from the checkout unless their text is given. */
  readonly files: readonly (string | { readonly name: string; readonly text: string })[];
  readonly env?: Readonly<Record<string, string>>;
  /** Variables of .env that hold free ports; the first one is where `url` points. */
  readonly ports: readonly string[];
  /** In front stands nginx with our configuration, and speaks TLS. */
  readonly edge?: boolean;
}

let stacks = 0;

/** Writes everything into a new folder; nothing is started yet. */
export async function createStack(options: StackOptions): Promise<Stack> {
  const project = `${PREFIX}${process.pid}-${++stacks}`;
  const directory = mkdtempSync(join(tmpdir(), `${project}-`));
  const provider = await startProviderStub({ models: MODELS, gapMs: 250 });
  const network = `172.30.${100 + ((process.pid + stacks) % 150)}`;
  const door = await openToContainers(provider);
  const ports = await freePorts(options.ports.length);
  const files = options.files.map((file) => writeFile(directory, file));
  if (options.edge === true) await writeEdge(directory);
  writeEnvironment(directory, {
    OPENROUTER_API_KEY: 'provider-key',
    OPENROUTER_EXTERNAL_USER: 'mai_client_acme',
    ORGANIZATION_NAME: '"Acme and Sons"',
    WEBUI_SECRET_KEY: SECRET,
    ENABLE_MODEL_FILTER: 'true',
    BYPASS_MODEL_ACCESS_CONTROL: 'false',
    NETWORK_PREFIX: network,
    OPENAI_API_BASE_URL: `http://${network}.1:${door.port}/v1`,
    ...Object.fromEntries(options.ports.map((name, index) => [name, String(ports[index])])),
    ...options.env,
  });

  const withFiles =
    (names: readonly string[]) =>
    (...words: string[]) =>
      compose([...names.flatMap((name) => ['-f', name]), '-p', project, ...words], {
        cwd: directory,
        deadlineMs: START_MS,
      });
  const inProject = withFiles(files);
  const container = (service: string) => containerOf(project, service);
  const url = `${options.edge === true ? 'https' : 'http'}://127.0.0.1:${ports[0]}`;
  return {
    directory,
    url,
    provider,
    database: join(directory, 'data/webui.db'),
    files,
    use: (names) => ({ compose: withFiles(names) }),
    compose: inProject,
    container,
    inspect: async (service, template) => engine(['inspect', '--format', template, await container(service)]),
    async logs(service) {
      const { stdout, stderr } = await run(ENGINE, ['logs', await container(service)]);
      return stdout + stderr;
    },
    exec: async (service, ...words) => engine(['exec', await container(service), ...words]),
    ready: () => eventually(() => answers(`${url}/health`), `an answer of ${url}/health`),
    async [Symbol.asyncDispose]() {
      await inProject('down', '-v').catch(() => undefined);
      await removeProject(project);
      await door.close();
      await provider.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** Removes what a run left behind that was killed. */
export async function removeAbandoned(): Promise<void> {
  const listed = await engine(['ps', '-a', '--format', '{{.Names}}']);
  const projects = new Set(
    [...listed.matchAll(/^modelgate-test-(\d+)-\d+/gm)].map(([project, pid]) => [project, Number(pid)] as const),
  );
  for (const [project, pid] of projects) if (!isAlive(pid)) await removeProject(project);
}

/** Asks again, seldom enough to leave the machine to those who are waited for. */
export async function eventually(condition: () => boolean | Promise<boolean>, label: string): Promise<void> {
  const end = Date.now() + START_MS;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`${label}: not true after ${START_MS} ms`);
    await delay(500);
  }
}

export async function answers(url: string): Promise<boolean> {
  const answer = await fetch(url, { signal: AbortSignal.timeout(10_000) }).catch(() => undefined);
  await answer?.body?.cancel();
  return answer?.ok === true;
}

/** podman-compose and Docker Compose give their containers the same label, and different names. */
async function containerOf(project: string, service: string): Promise<string> {
  const labels = [`com.docker.compose.project=${project}`, `com.docker.compose.service=${service}`];
  const filters = labels.flatMap((label) => ['--filter', `label=${label}`]);
  const [name = ''] = (await engine(['ps', '-a', ...filters, '--format', '{{.Names}}'])).split('\n');
  if (name === '') throw new Error(`${project} has no container of the service ${service}`);
  return name;
}

async function removeProject(project: string): Promise<void> {
  const label = ['--filter', `label=com.docker.compose.project=${project}`];
  const ids = (await engine(['ps', '-a', '--quiet', ...label])).split('\n').filter(Boolean);
  if (ids.length > 0) await run(ENGINE, ['rm', '--force', '--volumes', ...ids]);
  const networks = (await engine(['network', 'ls', '--quiet', '--filter', `name=${project}`]))
    .split('\n')
    .filter(Boolean);
  for (const network of networks) await run(ENGINE, ['network', 'rm', '--force', network]);
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

function writeFile(directory: string, file: StackOptions['files'][number]): string {
  if (typeof file === 'string') copyFileSync(join(ROOT, file), join(directory, file));
  else writeFileSync(join(directory, file.name), file.text);
  return typeof file === 'string' ? file : file.name;
}

/** nginx's files, and a certificate that this process believes. */
async function writeEdge(directory: string): Promise<void> {
  mkdirSync(join(directory, 'tls'));
  cpSync(join(ROOT, 'nginx'), join(directory, 'nginx'), { recursive: true });
  // where Debian's nginx stands in for the newer one of the Compose file
  const { stderr: version } = await run(ENGINE, ['run', '--rm', '--network', 'none', NGINX, 'nginx', '-v']);
  if (/nginx\/1\.(?:\d|1\d|2[0-4])\./.test(version)) {
    copyFileSync(join(ROOT, 'nginx/http2-debian-12.conf'), join(directory, 'nginx/http2.conf'));
  }
  const words = 'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost';
  const names = 'subjectAltName=DNS:localhost,IP:127.0.0.1';
  const files = ['-addext', names, '-keyout', 'privkey.pem', '-out', 'fullchain.pem'];
  const made = await run('openssl', [...words.split(' '), ...files], { cwd: join(directory, 'tls') });
  if (made.code !== 0) throw new Error(`openssl made no certificate: ${made.stderr}`);
  const certificate = readFileSync(join(directory, 'tls/fullchain.pem'), 'utf8');
  setDefaultCACertificates([...getCACertificates('default'), certificate]);
}

function writeEnvironment(directory: string, values: Readonly<Record<string, string>>): void {
  const lines = Object.entries(values).map(([name, value]) => `${name}=${value}\n`);
  writeFileSync(join(directory, '.env'), lines.join(''), { mode: 0o600 });
}

/** The stub listens on the loopback interface, which containers cannot reach: this passes their connections on. */
async function openToContainers(provider: ProviderStub): Promise<{ port: number; close: () => Promise<void> }> {
  const { port: inner } = new URL(provider.url);
  const open = new Set<Socket>();
  const door = createServer((outside) => {
    open.add(outside.on('close', () => open.delete(outside)));
    const inside = connect(Number(inner), '127.0.0.1');
    outside.pipe(inside).pipe(outside);
    outside.on('error', () => inside.destroy());
    inside.on('error', () => outside.destroy());
  });
  await new Promise<void>((resolve) => door.listen(0, '0.0.0.0', resolve));
  const { port } = door.address() as { port: number };
  return {
    port,
    close() {
      // whoever was at the other end is gone, and cannot say so any more
      for (const socket of open) socket.destroy();
      return closed(door);
    },
  };
}

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  const ports = await Promise.all(servers.map((server) => listening(server)));
  await Promise.all(servers.map((server) => closed(server)));
  return ports;
}
