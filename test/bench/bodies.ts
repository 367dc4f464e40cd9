/** What one long body, of any shape, costs all other users: their latency, and the memory of the process. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { bed } from './bed.ts';
import { startGate } from './contenders.ts';
import { judged, quantile, rounded, type Row, type Scale } from './measurement.ts';
import { type PinnedProcess, pause } from './pinned-process.ts';

const MB = 1_000_000;
const SIZES = { quick: [1, 20], default: [1, 8, 20, 60, 99], full: [1, 8, 20, 60, 99] } as const satisfies Record<
  Scale,
  readonly number[]
>;
/** The limit of the Compose file. */
const CONTAINER_BYTES = 768 * 1024 * 1024;
const LONGEST_WAIT_MS = 50;
const MOST_GROWTH = 8;
/** A thread with its modules, and what is kept of garbage, whatever the length. */
const FIXED_BYTES = 80 * MB;

/** Many different keys: `[0-9a-z]` of the index. */
const numbered = (bytes: number, write: (id: string) => string): string => {
  const parts: string[] = [];
  for (let index = 0, length = 0; length < bytes; index++) {
    const part = write(index.toString(36));
    parts.push(part);
    length += part.length + 1;
  }
  return parts.join();
};
const repeated = (text: string, bytes: number): string => text.repeat(Math.floor(bytes / text.length));

const SHAPES: Readonly<Record<string, (bytes: number) => string>> = {
  'a text': (bytes) => `"${repeated('a', bytes)}"`,
  escapes: (bytes) => `"${repeated('\\u0041', bytes)}"`,
  numbers: (bytes) => `[${repeated('123456,', bytes)}1]`,
  'empty objects': (bytes) => `[${repeated('{},', bytes)}{}]`,
  keys: (bytes) => `{${numbered(bytes, (id) => `"${id}":1`)}}`,
  nesting: (bytes) => `${'['.repeat(bytes / 2)}${']'.repeat(bytes / 2)}`,
  messages: (bytes) =>
    `[${numbered(bytes, (id) => `{"id":"${id}","role":"user","content":"${repeated('hello ', 1_000)}","parentId":null}`)}]`,
};

interface Figures {
  readonly delays: readonly number[];
  readonly status: number;
  readonly growthBytes: number;
}

export async function measureBodies(scale: Scale): Promise<Row[]> {
  const { backend, database, tokensOf, user, chat } = await bed();
  const token = readFileSync(await tokensOf([user]), 'utf8');
  await using gate = await startGate(backend.url, database.path);
  using container = confine(gate);
  const small = { gate, token, body: chat };
  for (let warm = 0; warm < 200; warm++) await send(small);
  const idle = await observe(small, () => pause(2_000).then(() => 0));
  const rows: Row[] = [
    {
      what: 'others, while no long body is read',
      figure: `p50 ${ms(idle, 0.5)} ms, p99 ${ms(idle, 0.99)} ms, longest ${ms(idle, 1)} ms; ${container.words}`,
      budget: '',
      state: 'for comparison',
      numbers: {},
    },
  ];
  for (const [shape, write] of Object.entries(SHAPES)) {
    for (const size of SIZES[scale]) {
      // Made before anything is measured, as bytes: this process measures too
      const body = Buffer.from(`${chat.slice(0, -1)},"more":${write(size * MB)}}`);
      await pause(200);
      rows.push(rowOf(shape, size, body.length, idle, await observe(small, () => send({ gate, token, body }))));
    }
  }
  return rows;
}

function rowOf(shape: string, size: number, bytes: number, idle: Figures, figures: Figures): Row {
  const { delays, status, growthBytes } = figures;
  const growth = growthBytes / bytes;
  const longest = quantile(delays, 1);
  const isSmall = growthBytes <= MOST_GROWTH * bytes + FIXED_BYTES;
  const fits = status === 200 || status === 400 || status === 413;
  return {
    what: `others, while ${size} MB of ${shape} are read (${status})`,
    figure: `p50 ${ms(figures, 0.5)} ms, longest ${ms(figures, 1)} ms; memory + ${rounded(growthBytes / MB, 0)} MB (${rounded(growth, 1)} ×)`,
    budget: `${LONGEST_WAIT_MS} ms longer than otherwise; ${MOST_GROWTH} × and ${FIXED_BYTES / MB} MB`,
    state: judged(fits && isSmall && longest - quantile(idle.delays, 1) <= LONGEST_WAIT_MS),
    numbers: {
      longestMs: rounded(longest, 1),
      p50Ms: rounded(quantile(delays, 0.5), 2),
      growth: rounded(growth, 2),
      status,
    },
  };
}

const ms = ({ delays }: Figures, share: number): number => rounded(quantile(delays, share), 1);

interface Sent {
  readonly gate: PinnedProcess;
  readonly token: string;
  readonly body: string | Buffer;
  readonly agent?: Agent;
}

/** A hundred small chats a second on a connection of their own, each from when it was due, while `work` goes on. */
async function observe(small: Sent, work: () => Promise<number>): Promise<Figures> {
  const { gate } = small;
  const agent = new Agent({ keepAlive: true, maxSockets: 64 });
  const rssBefore = gate.rssBytes();
  writeFileSync(`/proc/${gate.pid}/clear_refs`, '5');
  const pending: Promise<number>[] = [];
  const state = { isDone: false };
  const working = work().finally(() => (state.isDone = true));
  const startedAt = performance.now();
  for (let due = startedAt; !state.isDone; due += 10) {
    await pause(Math.max(0, due - performance.now()));
    const sentAt = performance.now();
    pending.push(send({ ...small, agent }).then(() => performance.now() - sentAt));
  }
  const status = await working;
  const delays = await Promise.all(pending);
  agent.destroy();
  return { delays, status, growthBytes: Math.max(0, peakBytesOf(gate.pid) - rssBefore) };
}

/** @returns the status; 0 where the gate did not answer */
function send({ gate, token, body, agent }: Sent): Promise<number> {
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
  return new Promise((resolve) => {
    const outgoing = request(`${gate.url}/api/chat/completions`, { method: 'POST', headers, agent });
    outgoing.on('error', () => resolve(0));
    outgoing.on('response', (answer) => answer.resume().on('close', () => resolve(answer.statusCode ?? 0)));
    outgoing.end(body);
  });
}

/** The highest since it was last asked to forget (proc(5): `clear_refs`, `VmHWM`). */
const peakBytesOf = (pid: number): number =>
  Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024;

/** Puts the process into a container of 768 MB without swap, where this user may make one (cgroup 2, or 1). */
function confine({ pid }: PinnedProcess): Disposable & { readonly words: string } {
  for (const [folder, limit] of [
    ['/sys/fs/cgroup', 'memory.max'],
    ['/sys/fs/cgroup/memory', 'memory.limit_in_bytes'],
  ] as const) {
    const own = `${folder}/modelgate-bench-${pid}`;
    try {
      mkdirSync(own);
      writeFileSync(`${own}/${limit}`, String(CONTAINER_BYTES));
      writeFileSync(`${own}/cgroup.procs`, String(pid));
      return { words: 'in 768 MB', [Symbol.dispose]: () => void spawnSync('rmdir', [own]) };
    } catch {
      try {
        rmdirSync(own);
      } catch {
        // it could not be made
      }
    }
  }
  return { words: 'no container of 768 MB could be made here', [Symbol.dispose]: () => undefined };
}
