/** What is measured: the gate as in production, the transport without policy, and bare `http-proxy`. */
import { fileURLToPath } from 'node:url';
import { SETTING_NAMES } from '../../src/config/settings.ts';
import { TEST_SECRET } from '../support/gate/session.ts';
import { freePorts } from '../support/process/ports.ts';
import { MEASURED_CORE, MEASURING_CORE, startPinned, type PinnedProcess } from './pinned-process.ts';

const pathOf = (file: string): string => fileURLToPath(new URL(file, import.meta.url));

export interface GateProcess extends PinnedProcess {
  readonly adminUrl: string;
  /** Of the provider door, where the settings name providers. */
  readonly providerUrl: string;
}

type Settings = Readonly<Record<string, string>>;

const LIMITS = SETTING_NAMES.filter((name) => name.startsWith('MODELGATE_LIMIT_'));

/** Limits that are counted and never met: one user sends here what ten thousand do elsewhere. */
const UNREACHED: Settings = {
  ...all('1000000/1s', ...LIMITS),
  MODELGATE_LIMIT_CONCURRENT_CHATS: '1000000',
};

/** What switches limits off, and security headers too. */
export const WITHOUT_LIMITS: Settings = all('off', ...LIMITS);
export const WITHOUT_LIMITS_AND_HEADERS: Settings = {
  ...WITHOUT_LIMITS,
  ...all('backend', ...SETTING_NAMES.filter((name) => /^MODELGATE_HEADERS_(?!BACKEND)/.test(name))),
};

function all(value: string, ...names: readonly string[]): Settings {
  return Object.fromEntries(names.map((name) => [name, value]));
}

/** `modelgate serve` with its defaults; its log goes nowhere. @returns once it is ready */
export async function startGate(
  upstream: string,
  database: string,
  settings: Settings = UNREACHED,
): Promise<GateProcess> {
  // together: a port that is let go of may be given to the next who asks
  const [port = 0, adminPort = 0, providerPort = 0] = await freePorts(3);
  const adminUrl = `http://127.0.0.1:${adminPort}`;
  const gate = await startPinned({
    program: process.execPath,
    words: [...process.execArgv, pathOf('../../src/main.ts'), 'serve'],
    core: MEASURED_CORE,
    url: `http://127.0.0.1:${port}`,
    probe: `${adminUrl}/readyz`,
    environment: {
      MODELGATE_UPSTREAM_URL: upstream,
      MODELGATE_HOST: '127.0.0.1',
      MODELGATE_PORT: String(port),
      MODELGATE_ADMIN_PORT: String(adminPort),
      DATABASE_URL: `sqlite:///${database}`,
      WEBUI_SECRET_KEY: TEST_SECRET,
      ...('MODELGATE_PROVIDERS' in settings && { MODELGATE_PROVIDER_PORT: String(providerPort) }),
      ...settings,
    },
  });
  return Object.assign(gate, { adminUrl, providerUrl: `http://127.0.0.1:${providerPort}` });
}

export const ACCESS_KEY = 'the-access-key-of-the-backend-in-the-bench';

/** A gate whose address is that of a provider behind its provider door. */
export async function startProviderDoor(provider: string, database: string): Promise<PinnedProcess> {
  const gate = await startGate(provider, database, {
    MODELGATE_PROVIDER_HOST: '127.0.0.1',
    MODELGATE_PROVIDER_ACCESS_KEY: ACCESS_KEY,
    MODELGATE_PROVIDERS: provider,
  });
  return { ...gate, url: `${gate.providerUrl}/${new URL(provider).host}` };
}

/** The same transport with no stage around it. */
export const startBareTransport = (upstream: string): Promise<PinnedProcess> =>
  startScript('bare-transport-main.ts', upstream);

/** What streams answers in a provider's place; on the core of the clients. */
export async function startProvider(): Promise<PinnedProcess> {
  const [port = 0] = await freePorts(1);
  const url = `http://127.0.0.1:${port}`;
  const words = [pathOf('provider-main.ts'), String(port)];
  return startPinned({ program: process.execPath, words, core: MEASURING_CORE, url, probe: url });
}

/** What many gateways are built on, with a keep-alive agent and nothing else. */
export const startHttpProxy = (upstream: string): Promise<PinnedProcess> => startScript('http-proxy-main.ts', upstream);

async function startScript(file: string, upstream: string): Promise<PinnedProcess> {
  const [port = 0] = await freePorts(1);
  const url = `http://127.0.0.1:${port}`;
  return startPinned({
    program: process.execPath,
    words: ['--no-deprecation', pathOf(file), upstream, String(port)],
    core: MEASURED_CORE,
    url,
    probe: `${url}/health`,
  });
}
