/** Requests at a fixed rate, or as fast as a busy machine answers them: half lists, a quarter chats, a quarter streams. */
import { once } from 'node:events';
import { Agent, type IncomingMessage, request } from 'node:http';
import { text } from 'node:stream/consumers';
import { withTimeout } from '../support/process/with-timeout.ts';

const TICK_MS = 20;
const PATIENCE_MS = 20_000;
/** Requests wait for one here: on a machine that is busy otherwise, nginx would run out of its 512 connections. */
const MAX_SOCKETS = 64;
const MAX_WAITING = 256;

const messages = [{ role: 'user', content: 'hello' }];
const chat = (stream: boolean): string => JSON.stringify({ model: 'A', messages, stream });

/** What is asked, and what a whole answer to it holds. */
const LIST = { path: '/api/models', body: undefined, whole: '"id":"A"' };
const CHAT = { path: '/api/chat/completions', body: chat(false), whole: '"finish_reason":"stop"' };
const STREAM = { path: '/api/chat/completions', body: chat(true), whole: 'data: [DONE]' };
const KINDS = [LIST, CHAT, LIST, STREAM];

/** Begins at once, on kept connections; a client that tries nothing twice. @returns what ends it, with every answer there */
export function startSteadyLoad(url: string, token: string, perSecond: number) {
  const agent = new Agent({ keepAlive: true, maxSockets: MAX_SOCKETS });
  const failures: string[] = [];
  const running = new Set<Promise<void>>();
  const begunAt = performance.now();
  let sent = 0;

  async function send({ path, body, whole }: typeof LIST | typeof CHAT): Promise<void> {
    const method = body === undefined ? 'GET' : 'POST';
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
    const asked = request(`${url}${path}`, { agent, method, headers }).end(body);
    try {
      const [answer] = (await once(asked, 'response')) as [IncomingMessage];
      const found = await text(answer);
      const isWhole = answer.statusCode === 200 && answer.complete && found.includes(whole);
      if (!isWhole) failures.push(`${path} ${answer.statusCode}: ${found.slice(0, 200)}`);
    } catch (error) {
      failures.push(`${path} ${asked.reusedSocket ? 'on a kept connection ' : ''}${String(error)}`);
    }
  }

  const timer = setInterval(() => {
    for (
      const due = ((performance.now() - begunAt) / 1_000) * perSecond;
      sent < due && running.size < MAX_WAITING;
      sent += 1
    ) {
      const one = send(KINDS[sent % KINDS.length] ?? LIST).finally(() => running.delete(one));
      running.add(one);
    }
  }, TICK_MS);
  return {
    async end() {
      clearInterval(timer);
      await withTimeout(Promise.all(running), PATIENCE_MS, 'the last answers');
      agent.destroy();
      return { sent, failures };
    },
  };
}
