/** One request over TLS, HTTP/1.1, on a connection of its own: header lines stay apart, and the address can be chosen. */
import { once } from 'node:events';
import { type IncomingMessage, request as plainRequest } from 'node:http';
import { request as secureRequest } from 'node:https';
import { withTimeout } from '../process/with-timeout.ts';

export interface ClientRequest {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Another address of the loopback network stands for another client. */
  readonly from?: string;
}

export interface ClientAnswer {
  readonly status: number;
  /** Lower-case names; repeated fields stay apart. */
  readonly headers: readonly (readonly [string, string])[];
  readonly body: string;
  field(name: string): string | undefined;
}

export async function askOnce(url: string, options: ClientRequest = {}): Promise<ClientAnswer> {
  const { body, from, headers = {} } = options;
  const send = url.startsWith('https:') ? secureRequest : plainRequest;
  const outgoing = send(url, {
    method: options.method ?? (body === undefined ? 'GET' : 'POST'),
    headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
    agent: false,
    // what is too large is said by who is asked, not by the client
    maxHeaderSize: 256 * 1024,
    ...(from === undefined ? {} : { localAddress: from }),
  });
  try {
    outgoing.end(body);
    const [incoming] = (await withTimeout(once(outgoing, 'response'), 20_000, 'an answer')) as [IncomingMessage];
    const { statusCode: status = 0, rawHeaders } = incoming;
    const fields = rawHeaders.flatMap((name, index) =>
      index % 2 === 0 ? [[name.toLowerCase(), rawHeaders[index + 1] ?? ''] as const] : [],
    );
    const parts = (await withTimeout(incoming.toArray(), 20_000, 'the whole answer')) as Buffer[];
    return {
      status,
      headers: fields,
      body: Buffer.concat(parts).toString('utf8'),
      field: (name) => fields.find(([key]) => key === name)?.[1],
    };
  } finally {
    outgoing.destroy();
  }
}
