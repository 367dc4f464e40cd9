/** Bare `http-proxy` as a process: `http-proxy-main.ts UPSTREAM PORT`. */
import { Agent, createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createRequire } from 'node:module';

/** It has no types of its own. */
interface HttpProxy {
  web(incoming: IncomingMessage, outgoing: ServerResponse): void;
  on(event: 'error', listener: (error: Error, incoming: IncomingMessage, outgoing: ServerResponse) => void): void;
}
interface HttpProxyModule {
  readonly createProxyServer: (options: { target: string; agent: Agent; xfwd: boolean }) => HttpProxy;
}

const [upstream = '', port = '0'] = process.argv.slice(2);
const { createProxyServer } = createRequire(import.meta.url)('http-proxy') as HttpProxyModule;
const proxy = createProxyServer({ target: upstream, agent: new Agent({ keepAlive: true }), xfwd: true });
proxy.on('error', (_error, _incoming, outgoing) => outgoing.writeHead(502).end());
createServer((incoming, outgoing) => proxy.web(incoming, outgoing)).listen(Number(port), '127.0.0.1');
