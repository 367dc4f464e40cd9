/** Debian's Prometheus with the committed configuration, pointed at a gate of the test and in more of a hurry. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse, stringify } from 'yaml';
import { freePorts } from '../support/process/ports.ts';
import { until, withTimeout } from '../support/process/with-timeout.ts';

const CONFIG = fileURLToPath(new URL('../../config/', import.meta.url));
const PATIENCE_MS = 30_000;

export interface Series {
  readonly metric: Readonly<Record<string, string>>;
  /** Seconds and value, oldest first. */
  readonly values: readonly (readonly [seconds: number, value: number])[];
}

export interface Prometheus extends AsyncDisposable {
  readonly url: string;
  /** @returns the series of a query between two times in seconds @throws Error with Prometheus's own words */
  range(query: string, from: number, to: number, step?: number): Promise<Series[]>;
  /** @returns `data` of a route under `/api/v1/` */
  ask(route: string): Promise<unknown>;
}

/** @throws Error that names the Debian package where there is none */
export function promtool(...words: string[]): { readonly code: number | null; readonly output: string } {
  const { error, status, stdout, stderr } = spawnSync('promtool', words, { encoding: 'utf8' });
  if (error !== undefined) throw new Error('promtool is missing: this test needs the Debian package prometheus');
  return { code: status, output: stdout + stderr };
}

/** @param target host and port of the admin listener @param every seconds between two scrapes */
export async function startPrometheus(target: string, every = 1): Promise<Prometheus> {
  const directory = mkdtempSync(join(tmpdir(), 'modelgate-prometheus-'));
  const file = join(directory, 'prometheus.yml');
  writeFileSync(file, configurationFor(target, every));
  const [port] = await freePorts(1);
  const url = `http://127.0.0.1:${port}`;
  const child = spawn(
    'prometheus',
    [
      `--config.file=${file}`,
      `--storage.tsdb.path=${join(directory, 'data')}`,
      `--web.listen-address=127.0.0.1:${port}`,
      '--log.level=warn',
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let output = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (output += text));
  child.on('error', () => (output += 'prometheus is missing: this test needs the Debian package prometheus'));
  const exited = once(child, 'close');
  const close = async (): Promise<void> => {
    child.kill('SIGTERM');
    await withTimeout(exited, PATIENCE_MS, 'prometheus ends');
    rmSync(directory, { recursive: true, force: true });
  };
  const ready = async (): Promise<boolean> => {
    if (child.exitCode !== null || child.pid === undefined) throw new Error(`prometheus ended: ${output}`);
    return (await fetch(`${url}/-/ready`).catch(() => undefined))?.ok === true;
  };
  try {
    await until(ready, PATIENCE_MS, 'prometheus is ready');
  } catch (error) {
    await close();
    throw error;
  }
  return { ...askAt(url), url, [Symbol.asyncDispose]: close };
}

function askAt(url: string): Pick<Prometheus, 'ask' | 'range'> {
  const ask = async (route: string): Promise<unknown> => {
    const answer = (await (await fetch(`${url}/api/v1/${route}`)).json()) as { data?: unknown; error?: string };
    if (answer.error !== undefined) throw new Error(answer.error);
    return answer.data;
  };
  return {
    ask,
    async range(query, from, to, step = 1) {
      const words = new URLSearchParams({ query, start: String(from), end: String(to), step: String(step) });
      const { result } = (await ask(`query_range?${words.toString()}`)) as { result: RawSeries[] };
      return result.map(({ metric, values }) => ({
        metric,
        values: values.map(([seconds, value]) => [seconds, Number(value)] as const),
      }));
    },
  };
}

interface RawSeries {
  readonly metric: Record<string, string>;
  readonly values: readonly [number, string][];
}

/** What is committed, but for the target, the times, and where the rules stand. */
function configurationFor(target: string, every: number): string {
  const config = parse(readFileSync(join(CONFIG, 'prometheus.yml'), 'utf8')) as {
    global: Record<string, string>;
    rule_files: string[];
    scrape_configs: { static_configs: { targets: string[] }[] }[];
  };
  config.global = { scrape_interval: `${every}s`, scrape_timeout: `${every}s`, evaluation_interval: '1s' };
  config.rule_files = config.rule_files.map((name) => join(CONFIG, name));
  for (const job of config.scrape_configs) job.static_configs = [{ targets: [target] }];
  return stringify(config);
}
