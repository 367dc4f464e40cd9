/** A provider as a process: `provider-main.ts PORT`. `?paced` streams 60 events, one every 20 ms; all else 12 at once. */
import { createServer, type ServerResponse } from 'node:http';

const EVENT = `data: ${JSON.stringify({
  id: 'chatcmpl-7f0c',
  object: 'chat.completion.chunk',
  created: 1_763_900_000,
  model: 'provider/model-007',
  choices: [{ index: 0, delta: { content: ' word' }, finish_reason: null }],
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

createServer((incoming, outgoing) => {
  if (incoming.method === 'GET') return void outgoing.end('{}');
  incoming.resume().on('end', () => {
    outgoing.writeHead(200, { 'content-type': 'text/event-stream' });
    if (incoming.url?.endsWith('?paced') === true) return pace(outgoing);
    for (let event = 0; event < UNPACED; event += 1) outgoing.write(EVENT);
    outgoing.end(END);
  });
}).listen(Number(process.argv[2]), '127.0.0.1');
