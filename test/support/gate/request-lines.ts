import type { ServerResponse } from 'node:http';
import type { HeaderEdit } from '../../../src/transport/exchange.ts';
import { requestLines } from '../../../src/transport/headers.ts';

export interface RequestFacts {
  readonly rawHeaders: readonly string[];
  readonly method: string;
  readonly httpVersion: string;
  readonly peer: { readonly address: string; readonly trusted: boolean; readonly encrypted: boolean };
  readonly edit: HeaderEdit;
  readonly via: string;
  readonly streamed: boolean;
  readonly rewritten: boolean;
}

/** The lines that go upstream of a request with these facts, by the id `the-id`. */
export function linesOf({ peer, edit, via, streamed, rewritten, ...facts }: RequestFacts): string[] {
  const outgoing = { req: facts } as unknown as ServerResponse;
  const rewrite = rewritten ? <T>(answer: T) => answer : undefined;
  const request = { requestId: 'the-id', credentialEdit: edit, rewrite, outgoing };
  return requestLines({ via, peerOf: () => peer }, request, streamed);
}
