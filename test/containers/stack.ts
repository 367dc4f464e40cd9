/** A Compose stack in a folder of its own, as an operator has it, with a model provider of ours outside. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type Socket, connect, createServer } from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { startProvider, type Provider } from '../support/upstream/providers.ts';
import { freePorts } from '../support/process/ports.ts';
import { closed } from '../support/upstream/upstreams.ts';
import { compose, engine, ENGINE, run } from './engine.ts';
import { copyCheckout, filledIn, lines, writeFolder } from './folder.ts';
import { type Instructions, readInstructions } from './instructions.ts';

const MODELS = ['alpha', 'beta', 'openai/alpha'];
const PREFIX = 'modelgate-test-';
/** A first start of the real backend on a machine that has other things to do. */
const START_MS = 600_000;
/** podman-compose waits for ever for a container that could not be made. */
const COMMAND_MS = 300_000;

export interface Stack extends AsyncDisposable {
  /** Where the operator stands: beside docker-compose.yml. */
  readonly directory: string;
  /** Of nginx, or what stands in front. */
  readonly url: string;
  readonly provider: Provider;
  readonly database: string;
  /** The commands of the README under this title, to be run here. */
  follow(title: string, chapter?: Parameters<typeof readInstructions>[2]): Instructions;
  /** Values of .env; where the folder is a checkout, they are still empty. */
  readonly settings: Readonly<Record<string, string>>;
  /** Gives variables of .env their values, as an operator does: each must stand there, if only as a comment. */
  fillIn(values: Readonly<Record<string, string>>): void;
  compose(...words: string[]): Promise<string>;
  /** Name of the service's container, of the first one where there are several. */
  container(service: string): Promise<string>;
  /** Names of all containers of the service. */
  containers(service: string): Promise<readonly string[]>;
  /** One field of `inspect`, by a Go template. */
  inspect(service: string, template: string): Promise<string>;
  logs(service: string): Promise<string>;
  /** Runs a program in the service's container; must succeed. */
  exec(service: string, ...words: string[]): Promise<string>;
  /** Asks through the published port until the backend answers. */
  ready(): Promise<void>;
}

export interface StackOptions {
  /** Files of the operator's own folder, with the checkout beside it; not given: the folder is a checkout. */
  readonly files?: Readonly<Record<string, string>>;
  /** @param provider host and port of the model provider, as containers reach it */
  readonly settings: (provider: string) => Readonly<Record<string, string>>;
  /** Variables of .env that hold free ports; the first one is where `url` points. */
  readonly ports: readonly string[];
  readonly scheme: 'http' | 'https';
  /** Others than docker-compose.yml, with colons between. */
  readonly composeFiles?: string;
}

let stacks = 0;

/** Writes everything into a new folder; nothing is started yet. */
export async function createStack(options: StackOptions): Promise<Stack> {
  const project = `${PREFIX}${process.pid}-${++stacks}`;
  const parent = mkdtempSync(join(tmpdir(), `${project}-`));
  const directory = options.files === undefined ? await copyCheckout(parent) : writeFolder(parent, options.files);
  const environment = join(directory, '.env');
  const provider = await startProvider({ models: MODELS, gapMs: 250 });
  const network = `172.30.${100 + ((process.pid + stacks) % 150)}`;
  const door = await openToContainers(provider);
  const ports = await freePorts(options.ports.length);
  const settings = {
    OPENROUTER_API_KEY: 'provider-key',
    WEBUI_SECRET_KEY: 'a-key-of-the-container-tests-0123456789',
    NETWORK_PREFIX: network,
    ...Object.fromEntries(options.ports.map((name, index) => [name, String(ports[index])])),
    ...options.settings(`${addressOfMachine()}:${door.port}`),
  };
  if (options.files !== undefined) writeFileSync(environment, lines(settings), { mode: 0o600 });

  const env = {
    COMPOSE_PROJECT_NAME: project,
    ...(options.composeFiles !== undefined && { COMPOSE_FILE: options.composeFiles }),
  };
  const inFolder = { cwd: directory, env, deadlineMs: COMMAND_MS };
  const containers = (service: string) => containersOf(project, service);
  const container = async (service: string) => (await containers(service))[0] ?? '';
  const url = `${options.scheme}://127.0.0.1:${ports[0]}`;
  return {
    directory,
    url,
    provider,
    database: join(directory, 'data/webui.db'),
    follow: (title, chapter) => readInstructions(title, inFolder, chapter),
    settings,
    fillIn: (values) => writeFileSync(environment, filledIn(readFileSync(environment, 'utf8'), values)),
    compose: (...words) => compose(words, inFolder),
    container,
    containers,
    inspect: async (service, template) => engine(['inspect', '--format', template, await container(service)]),
    async logs(service) {
      const { stdout, stderr } = await run(ENGINE, ['logs', await container(service)]);
      return stdout + stderr;
    },
    exec: async (service, ...words) => engine(['exec', await container(service), ...words]),
    async ready() {
      await eventually(() => answers(`${url}/health`), `an answer of ${url}/health`).catch(async (error: unknown) => {
        throw new Error(`${String(error)}\n${await describeProject(project)}`);
      });
    },
    async [Symbol.asyncDispose]() {
      await compose(['down', '-v'], inFolder).catch(() => undefined);
      await removeProject(project);
      await door.close();
      await provider.close();
      rmSync(parent, { recursive: true, force: true });
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
async function containersOf(project: string, service: string): Promise<readonly string[]> {
  const labels = [`com.docker.compose.project=${project}`, `com.docker.compose.service=${service}`];
  const filters = labels.flatMap((label) => ['--filter', `label=${label}`]);
  const names = (await engine(['ps', '-a', ...filters, '--format', '{{.Names}}'])).split('\n').filter(Boolean);
  if (names.length === 0) throw new Error(`${project} has no container of the service ${service}`);
  return names.toSorted();
}

/** Each container with its state and the last that it wrote: what a failure that never comes back leaves to look at. */
async function describeProject(project: string): Promise<string> {
  const ofProject = ['--filter', `label=com.docker.compose.project=${project}`];
  const listed = await engine(['ps', '-a', ...ofProject, '--format', '{{.Names}} {{.Status}}']);
  const states = listed.split('\n').filter((line) => line !== '');
  const parts = states.map(async (state) => {
    const { stdout, stderr } = await run(ENGINE, ['logs', '--tail', '15', state.split(' ')[0] ?? '']);
    return `${state}\n${stdout}${stderr}`;
  });
  return (await Promise.all(parts)).join('\n');
}

async function removeProject(project: string): Promise<void> {
  const label = ['--filter', `label=com.docker.compose.project=${project}`];
  const ids = (await engine(['ps', '-a', '--quiet', ...label])).split('\n').filter(Boolean);
  if (ids.length > 0) await run(ENGINE, ['rm', '--force', '--volumes', ...ids]);
  const networks = (await engine(['network', 'ls', '--quiet', '--filter', `name=${project}`]))
    .split('\n')
    .filter(Boolean);
  for (const network of networks) await run(ENGINE, ['network', 'rm', '--force', network]);
  // podman-compose has one, Docker Compose none
  if (ENGINE === 'podman') await run(ENGINE, ['pod', 'rm', '--force', `pod_${project}`]);
  const volumes = (await engine(['volume', 'ls', '--quiet', ...label])).split('\n').filter(Boolean);
  for (const volume of volumes) await run(ENGINE, ['volume', 'rm', '--force', volume]);
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

/** An address that containers in any network of this machine can reach. */
function addressOfMachine(): string {
  const addresses = Object.values(networkInterfaces()).flatMap((some) => some ?? []);
  const found = addresses.find(({ family, internal }) => family === 'IPv4' && !internal);
  if (found === undefined) throw new Error('this machine has no address but its own loopback');
  return found.address;
}

/** The stub listens on the loopback interface, which containers cannot reach: this passes their connections on. */
async function openToContainers(provider: Provider): Promise<{ port: number; close: () => Promise<void> }> {
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
      // the other end is gone, and cannot say so any more
      for (const socket of open) socket.destroy();
      return closed(door);
    },
  };
}
