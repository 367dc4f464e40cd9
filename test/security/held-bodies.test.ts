/** Memory is what a gate that reads bodies can be robbed of: many long ones at once, by one user or without one. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { chat } from '../support/gate/attacks.ts';
import { type TestGate, startTestGate } from '../support/gate/gate.ts';
import { requestText } from '../support/gate/raw-connection.ts';
import { startUpstream } from '../support/upstream/upstreams.ts';
import { until, withTimeout } from '../support/process/with-timeout.ts';

const CHAT = '/api/chat/completions';
const MB = 1024 * 1024;
/** Hundreds of megabytes go through a process that has other things to do. */
const PATIENCE_MS = 40_000;

const arrived: { body: Buffer; outgoing: ServerResponse }[] = [];
/** Takes every body, and answers when the test says so. */
function take(incoming: IncomingMessage, outgoing: ServerResponse): void {
  const chunks: Buffer[] = [];
  incoming
    .on('data', (chunk: Buffer) => chunks.push(chunk))
    .on('end', () => {
      arrived.push({ body: Buffer.concat(chunks), outgoing: outgoing.writeHead(200) });
      outgoing.flushHeaders();
    });
}

const chatOf = (bytes: number): string => JSON.stringify(chat('A', { note: 'x'.repeat(bytes) }));

describe('bodies that are held to be judged', { timeout: 120_000 }, () => {
  let gate: TestGate;
  beforeAll(async () => {
    const backend = await startUpstream(take);
    gate = await startTestGate({ MODELGATE_UPSTREAM_URL: backend.origin });
    return async () => {
      await gate[Symbol.asyncDispose]();
      await backend.close();
    };
  });

  /** A chat of which so much is sent, and the rest is not. */
  async function begin(user: string, bytes: number): Promise<{ socket: Socket; text: () => string }> {
    const socket = connect(gate.port, '127.0.0.1').on('error', () => undefined);
    onTestFinished(() => void socket.destroy());
    let text = '';
    socket.setEncoding('latin1').on('data', (more: string) => (text += more));
    const headers = [await gate.authorization(user), `Content-Length: ${99 * MB}`];
    socket.write(requestText(`POST ${CHAT}`, headers, `{"model":"A","note":"${'x'.repeat(bytes)}`));
    await until(() => socket.writableLength === 0 || text !== '', PATIENCE_MS, 'the gate to take it');
    return { socket, text: () => text };
  }
  const whole = async (user: string, bytes: number) => {
    const known = arrived.length;
    const answer = gate.ask(user, CHAT, JSON.parse(chatOf(bytes)) as object).then(async (got) => {
      await got.text();
      return got;
    });
    let isAnswered = false;
    void answer.then(() => (isAnswered = true));
    await until(() => arrived.length > known || isAnswered, PATIENCE_MS, 'the chat to arrive, or an answer');
    return { answer, body: arrived[known]?.body, end: endAll };
  };
  const endAll = () => {
    for (const { outgoing } of arrived) outgoing.end();
  };

  test('are what was sent, however long', async () => {
    for (const bytes of [1_000, 70_000, 3_000_000]) {
      const { body, answer, end } = await whole('ann', bytes);
      expect(body?.equals(Buffer.from(chatOf(bytes)))).toBe(true);
      end();
      expect((await answer).status).toBe(200);
    }
  });

  test('take no more of one user than the longest body, and nothing from another one', async () => {
    const first = await begin('ann', 60 * MB);
    const second = await begin('ann', 60 * MB);
    await until(() => second.text() !== '', PATIENCE_MS, 'a refusal');
    expect(second.text()).toMatch(/^HTTP\/1\.1 503 /);
    expect(second.text()).toMatch(/retry-after: \d/i);
    expect(first.text()).toBe('');
    const other = await whole('cyd', 60 * MB);
    expect(other.body?.length).toBeGreaterThan(60 * MB);
    other.end();
    expect((await other.answer).status).toBe(200);

    first.socket.destroy();
    const again = async (): Promise<number> => {
      const { answer, end } = await whole('ann', 60 * MB);
      end();
      return (await answer).status;
    };
    await until(async () => (await again()) === 200, PATIENCE_MS, 'the share of the one who left');
  });

  test('are let go of once the backend has them, while its answer goes on', async () => {
    const one = await whole('ann', 60 * MB);
    const two = await withTimeout(whole('ann', 60 * MB), PATIENCE_MS, 'the second chat to arrive');
    expect([one.body, two.body].map((body) => (body?.length ?? 0) > 60 * MB)).toEqual([true, true]);
    endAll();
    expect([(await one.answer).status, (await two.answer).status]).toEqual([200, 200]);
  });
});
