/**
 * `nginx/modelgate.conf` as it is committed, run by a real nginx. Replaced is what an operator changes (where the gate and
 * the pages are, the certificate), ports and the log's place; a replacement that finds nothing fails.
 */
import { mkdirSync, readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { beforeAll } from 'vitest';
import { until } from '../process/with-timeout.ts';
import { makeCertificate } from './certificate.ts';
import { type NginxOptions, nginxVersion, startNginxProcess } from './nginx-process.ts';

export interface EdgeOptions {
  /** Address of the gate, `http://127.0.0.1:PORT`, or of each. */
  readonly gate: string | readonly string[];
  /** Where the pages come from; the gate where it is left out. */
  readonly pages?: string;
  readonly binary?: string;
  /**
   * The server of port 443 without TLS, HTTP/1.1 alone: scenarios that send bytes of their own, or through a client that
   * knows nothing of certificates. What reads a request is the same in nginx.
   */
  readonly withoutTls?: boolean;
  /** Texts of the file, and what a test puts in their place. */
  readonly replace?: readonly (readonly [text: string, by: string])[];
}

export interface Edge extends AsyncDisposable {
  /** `https://127.0.0.1:PORT`, or `http:` without TLS. */
  readonly url: string;
  readonly port: number;
  /** Where port 80 stands in for. */
  readonly plainUrl: string;
  /** What nginx wrote to its error log so far. */
  errors(): string;
  /** The line of its access log about a request; written after the answer, so it may have to be waited for. */
  line(requestId: string): Promise<Record<string, string>>;
}

const SERVER = 'server modelgate:8080 max_fails=0;';
/** What an operator of the guide's split changes. */
const PAGES = `    # serves them, through the gate.
    ${SERVER}`;

const FOLDER = join(import.meta.dirname, '../../../nginx');

/** Debian's, and whatever `GATE_TEST_NGINX` names, separated as in `PATH`. */
export const NGINX_BINARIES: readonly string[] = [
  'nginx',
  ...(process.env['GATE_TEST_NGINX'] ?? '').split(':').filter((path) => path !== ''),
];

/** One for all tests of the suite that says so, in front of what is started by then. */
export function edgeOfSuite(options: () => EdgeOptions): Edge {
  const edge: Partial<Edge> = {};
  beforeAll(async () => {
    const started = await startEdge(options());
    Object.assign(edge, started);
    return () => started[Symbol.asyncDispose]();
  });
  return edge as Edge;
}

export async function startEdge(options: EdgeOptions): Promise<Edge> {
  const nginx = await startNginxProcess(edgeProcess(options));
  const [plain = 0, port = 0] = nginx.ports;
  return {
    url: `${options.withoutTls === true ? 'http' : 'https'}://127.0.0.1:${port}`,
    port,
    plainUrl: `http://127.0.0.1:${plain}`,
    errors: () => nginx.errors(),
    async line(requestId) {
      const find = () => linesOf(join(nginx.directory, 'access.log')).find((line) => line['request_id'] === requestId);
      await until(() => find() !== undefined, 15_000, `a line of nginx about ${requestId}`);
      return find() ?? {};
    },
    [Symbol.asyncDispose]: () => nginx[Symbol.asyncDispose](),
  };
}

/** How the process is started; for `nginx -t` too. */
export function edgeProcess(options: EdgeOptions): NginxOptions {
  return {
    ...(options.binary === undefined ? {} : { binary: options.binary }),
    ports: 2,
    write: (place) => configuration(options, place),
    ready: { path: '/nginx-healthy', text: 'healthy\n' },
  };
}

function configuration(options: EdgeOptions, { ports, directory }: Parameters<NginxOptions['write']>[0]): string {
  const [plain = 0, port = 0] = ports;
  const tls = options.withoutTls === true ? '' : ' ssl';
  const serversOf = (urls: string | readonly string[]): string =>
    [urls]
      .flat()
      .map((url) => `server ${new URL(url).host} max_fails=0;`)
      .join('\n    ');
  if (tls !== '') {
    mkdirSync(join(directory, 'tls'));
    makeCertificate(join(directory, 'tls'));
  }
  const text = replaceAll(read('modelgate.conf'), [
    ...(options.replace ?? []),
    [PAGES, PAGES.replace(SERVER, serversOf(options.pages ?? options.gate))],
    [SERVER, serversOf(options.gate)],
    ['/var/log/nginx/', `${directory}/`],
    ...(tls === '' ? [] : ([['/etc/nginx/tls/', `${directory}/tls/`]] as const)),
    ...listening(80, plain, ' default_server', ' default_server'),
    ...listening(443, port, ' ssl default_server', `${tls} default_server`),
  ]);
  return tls === '' ? withoutCertificate(text) : text + http2(options.binary, port);
}

/** By version, as the README says: which of the two files goes beside the other. */
function http2(binary: string | undefined, port: number): string {
  const [major = 0, minor = 0, patch = 0] = nginxVersion(binary).split('.').map(Number);
  const isNew = major > 1 || minor > 25 || (minor === 25 && patch >= 1);
  return isNew
    ? read('http2.conf')
    : replaceAll(read('http2-debian-12.conf'), listening(443, port, ' ssl http2', ' ssl http2'));
}

const linesOf = (file: string): Record<string, string>[] =>
  readFileSync(file, 'utf8')
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Record<string, string>);

type Replacements = readonly (readonly [text: string, by: string])[];

/** Both lines, on the loopback interface alone; the second goes where the machine has no IPv6. */
function listening(from: number, to: number, words: string, by: string): Replacements {
  return [
    [`listen ${from}${words};`, `listen 127.0.0.1:${to}${by};`],
    [`listen [::]:${from}${words};`, HAS_IPV6 ? `listen [::1]:${to}${by};` : ''],
  ];
}

const HAS_IPV6 = Object.values(networkInterfaces()).some((addresses) =>
  addresses?.some(({ address }) => address === '::1'),
);

const read = (name: string): string => readFileSync(join(FOLDER, name), 'utf8');
const withoutCertificate = (text: string): string => text.replace(/^\s*ssl_certificate(?:_key)? .*$/gm, '');

function replaceAll(text: string, replacements: Replacements): string {
  return replacements.reduce((current, [from, to]) => {
    if (!current.includes(from)) throw new Error(`the file has no ${JSON.stringify(from)} to replace`);
    return current.replaceAll(from, () => to);
  }, text);
}
