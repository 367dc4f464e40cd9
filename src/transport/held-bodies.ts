/**
 * Request bodies that are held in memory to be judged: bounded for each payer and for all together, so that many long
 * ones at once end in a 503 for whoever sent them, and not in the end of the process for everybody.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { readBody } from './body.ts';

export interface HeldBodies {
  /**
   * Reads a body whole, as `readBody` does.
   * @param payer whose share it is taken from
   * @throws GatewayError as `readBody` does; `bodies_held` where the payer's share, or all of it, is taken
   */
  read(incoming: IncomingMessage, outgoing: ServerResponse, maxBytes: number, payer: string): Promise<Buffer>;
  /** The body of this exchange is no longer in memory; the end of its answer says so too. */
  release(outgoing: ServerResponse): void;
}

interface Holding {
  readonly payer: string;
  bytes: number;
}

/** Where bodies of this length are all that is allowed, so many of them may still come at once. */
const LEAST_SHARE_BYTES = 100 * 1024 * 1024;
const SHARES = 2;

/** @param maxBodyBytes the longest body: one is always held, and two of two payers */
export function createHeldBodies(maxBodyBytes: number): HeldBodies {
  const share = Math.max(maxBodyBytes, LEAST_SHARE_BYTES);
  const holdings = new WeakMap<ServerResponse, Holding>();
  const heldBy = new Map<string, number>();
  let held = 0;

  function add(holding: Holding, bytes: number): void {
    held += bytes;
    holding.bytes += bytes;
    const ofPayer = (heldBy.get(holding.payer) ?? 0) + bytes;
    if (ofPayer > 0) heldBy.set(holding.payer, ofPayer);
    else heldBy.delete(holding.payer);
  }

  function release(outgoing: ServerResponse): void {
    const holding = holdings.get(outgoing);
    if (holding === undefined) return;
    holdings.delete(outgoing);
    add(holding, -holding.bytes);
  }

  function hold(outgoing: ServerResponse, payer: string): Holding {
    const known = holdings.get(outgoing);
    if (known !== undefined) return known;
    const holding = { payer, bytes: 0 };
    holdings.set(outgoing, holding);
    outgoing.once('close', () => release(outgoing));
    return holding;
  }

  return {
    read: (incoming, outgoing, maxBytes, payer) =>
      readBody(incoming, outgoing, maxBytes, (size) => {
        const holding = hold(outgoing, payer);
        const more = size - holding.bytes;
        const isFull = held + more > SHARES * share || (heldBy.get(payer) ?? 0) + more > share;
        if (!isFull) add(holding, more);
        return !isFull;
      }),
    release,
  };
}
