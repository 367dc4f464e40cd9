/**
 * A provider as a process: `provider-main.ts PORT`. `?paced` streams 60 events, one every 20 ms; `?counted` 12 at once with an id
 * of their own, and what they cost; all else 12 at once.
 */
import { createServer, type ServerResponse } from 'node:http';

const EVENT = `data: ${JSON.stringify({
  id: 'chatcmpl-7f0c',
  object: 'chat.completion.chunk',
  created: 1_763_900_000,
  model: 'provider/model-007',
  choices: [{ index: 0, delta: { content: ' word' }, finish_reason: null }],
})}\n\n`;
/** As OpenRouter says it. */
const USAGE = `data: ${JSON.stringify({
  id: 'chatcmpl-7f0c',
  object: 'chat.completion.chunk',
  created: 1_763_900_000,
  model: 'provider/model-007',
  choices: [],
  usage: { prompt_tokens: 31, completion_tokens: 12, total_tokens: 43, cost: 0.000_123 },
})}\n\n`;
const END = 'data: [DONE]\n\n';
const [UNPACED, PACED, EVERY_MS] = [12, 60, 20];

function pace(outgoing: ServerResponse): void {
  let left = PACED;
  const timer = setInterval(() => {
    if (left-- > 0) outgoing.write(EVENT);
    else outgoing.end(END);
  }, EVERY_MS);
  outgoing.on('close', () => clearInterval(timer));
}

let answered = 0;

function answer(outgoing: ServerResponse, id = 'chatcmpl-7f0c', last = ''): void {
  const event = EVENT.replace('chatcmpl-7f0c', id);
  for (let written = 0; written < UNPACED; written += 1) outgoing.write(event);
  outgoing.end(last.replace('chatcmpl-7f0c', id) + END);
}

createServer((incoming, outgoing) => {
  if (incoming.method === 'GET') return void outgoing.end('{}');
  incoming.resume().on('end', () => {
    outgoing.writeHead(200, { 'content-type': 'text/event-stream' });
    if (incoming.url?.endsWith('?paced') === true) return pace(outgoing);
    if (incoming.url?.endsWith('?counted') === true) return answer(outgoing, `chatcmpl-${(answered += 1)}`, USAGE);
    answer(outgoing);
  });
}).listen(Number(process.argv[2]), '127.0.0.1');
