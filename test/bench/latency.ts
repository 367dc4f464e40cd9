/** What the gate adds at a modest, steady rate: the same request to the backend itself and through the gate, in turn. */
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { bed } from './bed.ts';
import { startGate } from './contenders.ts';
import { judged, median, quantile, rounded, type Row, type Scale } from './measurement.ts';
import { pause } from './pinned-process.ts';

const PER_SECOND = 200;
const SECONDS = { quick: 3, default: 15, full: 60 } as const satisfies Record<Scale, number>;

export async function measureLatency(scale: Scale): Promise<Row[]> {
  const { backend, database, tokensOf, user, chat } = await bed();
  await using gate = await startGate(backend.url, database.path);
  const token = readFileSync(await tokensOf([user]), 'utf8');
  const open = (url: string) => new Clients(new URL(url), requestText(token, chat));
  const [straight, through] = [open(backend.url), open(gate.url)];
  await run(straight, through, 5);
  const before = { straight: straight.times.length, through: through.times.length };
  await run(straight, through, SECONDS[scale]);
  straight.close();
  through.close();
  const direct = straight.times.slice(before.straight);
  const gated = through.times.slice(before.through);
  const added = (share: number): number => quantile(gated, share) - quantile(direct, share);
  const numbers = {
    addedP50: rounded(added(0.5), 3),
    addedP99: rounded(added(0.99), 3),
    directP50: rounded(median(direct), 3),
    directP99: rounded(quantile(direct, 0.99), 3),
    gateP50: rounded(median(gated), 3),
    gateP99: rounded(quantile(gated, 0.99), 3),
    requests: gated.length,
  };
  return [
    {
      what: `added latency at ${PER_SECOND} requests per second, p50`,
      figure: `${numbers.addedP50} ms (${numbers.gateP50} against ${numbers.directP50})`,
      budget: '≤ 0.5 ms',
      state: judged(numbers.addedP50 <= 0.5),
      numbers,
    },
    {
      what: `added latency at ${PER_SECOND} requests per second, p99`,
      figure: `${numbers.addedP99} ms (${numbers.gateP99} against ${numbers.directP99})`,
      budget: '≤ 3 ms',
      state: judged(numbers.addedP99 <= 3),
      numbers: {},
    },
  ];
}

/** Sends at the rate whether or not answers have come (open loop), one to each side in turn. */
async function run(straight: Clients, through: Clients, seconds: number): Promise<void> {
  const startedAt = performance.now();
  for (let sent = 0; sent < PER_SECOND * seconds;) {
    const due = Math.floor(((performance.now() - startedAt) / 1_000) * PER_SECOND);
    for (; sent < due; sent += 1) {
      straight.send();
      through.send();
    }
    await pause(1);
  }
  await pause(100);
}

/** Keep-alive connections, as many as are needed at once; the shortest path between a write and a clock. */
class Clients {
  /** Milliseconds from a request written to its answer read. */
  readonly times: number[] = [];
  readonly #url: URL;
  readonly #request: Buffer;
  readonly #idle: Socket[] = [];
  readonly #all: Socket[] = [];

  constructor(url: URL, request: Buffer) {
    this.#url = url;
    this.#request = request;
  }

  send(): void {
    const socket = this.#idle.pop() ?? this.#open();
    const startedAt = performance.now();
    socket.once('data', (answer: Buffer) => {
      this.times.push(performance.now() - startedAt);
      if (!answer.subarray(0, 12).equals(OK)) throw new Error(`an answer was ${answer.toString('latin1', 0, 200)}`);
      this.#idle.push(socket);
    });
    socket.write(this.#request);
  }

  close(): void {
    for (const socket of this.#all) socket.destroy();
  }

  #open(): Socket {
    const socket = connect(Number(this.#url.port), this.#url.hostname).setNoDelay(true);
    this.#all.push(socket);
    return socket;
  }
}

const OK = Buffer.from('HTTP/1.1 200');

function requestText(token: string, body: string): Buffer {
  const lines = [
    'POST /api/chat/completions HTTP/1.1',
    'Host: gate.test',
    `Authorization: Bearer ${token}`,
    'Content-Type: application/json',
    `Content-Length: ${Buffer.byteLength(body)}`,
  ];
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n${body}`);
}
