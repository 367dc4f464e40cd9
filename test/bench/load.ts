/** Load by `wrk`, which is not the bottleneck: one thread of it asks for four times what the gate answers. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { MEASURING_CORE, pinned, type PinnedProcess } from './pinned-process.ts';

export interface LoadOptions {
  readonly path: string;
  /** A JSON body makes it a POST. */
  readonly body?: string;
  /** A file of session tokens, one a line, used in turn. */
  readonly tokens: string;
  /** The header field whose value is a token; not set: `Authorization`, behind `Bearer`. */
  readonly field?: string;
  readonly connections: number;
  /** Further header fields of each request. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly seconds: number;
}

export interface LoadFigures {
  readonly requests: number;
  readonly requestsPerSecond: number;
  /** Processor time of the measured process for each request. */
  readonly cpuMicroseconds: number;
  /** How much of its core the measured process had; under full load less than one means that others had the rest. */
  readonly coreShare: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

const SCRIPT = fileURLToPath(new URL('load.lua', import.meta.url));

/** @throws Error if a single answer was not a success: figures of refusals would be worth nothing */
export async function load(target: PinnedProcess, options: LoadOptions): Promise<LoadFigures> {
  const { path, body, tokens, field, connections, seconds } = options;
  const size = `-t 1 -c ${connections} -d ${seconds}s --timeout 10s`.split(' ');
  const [program, ...words] = pinned(MEASURING_CORE, ['wrk', ...size, '-s', SCRIPT, `${target.url}${path}`]);
  const before = target.cpuSeconds();
  const wrk = spawn(program, words, {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: {
      PATH: process.env['PATH'],
      METHOD: body === undefined ? 'GET' : 'POST',
      TOKENS: tokens,
      HEADERS: Object.entries(options.headers ?? {})
        .map((line) => `${line.join('=')}\n`)
        .join(''),
      ...(body === undefined ? {} : { BODY: body }),
      ...(field === undefined ? {} : { FIELD: field }),
    },
  });
  const [output] = await Promise.all([text(wrk.stdout), once(wrk, 'exit')]);
  const cpu = target.cpuSeconds() - before;
  const line = /^\{.*\}$/m.exec(output)?.[0];
  if (line === undefined) throw new Error(`wrk said nothing readable: ${output}`);
  const said = JSON.parse(line) as Record<'requests' | 'seconds' | 'failed' | 'p50Ms' | 'p99Ms', number>;
  if (said.failed > 0) throw new Error(`${said.failed} of ${said.requests} requests failed`);
  return {
    requests: said.requests,
    requestsPerSecond: said.requests / said.seconds,
    cpuMicroseconds: (cpu / said.requests) * 1e6,
    coreShare: cpu / said.seconds,
    p50Ms: said.p50Ms,
    p99Ms: said.p99Ms,
  };
}

/** Until the code that runs is the code that the compiler has made of it: by requests, not by time, on a busy machine. */
export async function warmUp(
  target: PinnedProcess,
  options: Omit<LoadOptions, 'seconds'>,
  requests: number,
): Promise<void> {
  const end = Date.now() + 20_000;
  for (let done = 0; done < requests && Date.now() < end;)
    done += (await load(target, { ...options, seconds: 1 })).requests;
}
