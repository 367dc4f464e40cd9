import { randomUUID } from 'node:crypto';
import { type Account, send, through } from './backend-client.ts';
import type { Release } from './release.ts';
import { type Tenants, askPermitted } from './tenants.ts';

/** A member of acme who wants a model that acme does not have. */
export interface Attack {
  readonly name: string;
  /** Releases on which it reaches the provider through a gate that is switched off: elsewhere it proves nothing. */
  readonly worksWithout: readonly Release[];
  /** Where its parts do not exist at all, it is not tried. */
  readonly onlyOn?: readonly Release[];
  /** The model it is after, where it is not the other organization's. */
  readonly model?: string;
  run(attempt: Attempt): Promise<void>;
}

export const FORBIDDEN = 'beta';

/** One attack on one gate. */
export class Attempt {
  readonly tenants: Tenants;
  readonly attacker: Account;
  readonly port: number;
  /** What others do happens at the backend itself: what the attacked gate thinks of them is not the question. */
  readonly bob: Account;
  readonly ada: Account;

  constructor(tenants: Tenants, gateUrl: string) {
    this.tenants = tenants;
    this.attacker = through(tenants.ann, gateUrl);
    this.port = Number(new URL(gateUrl).port);
    this.bob = through(tenants.bob, tenants.backend.url);
    this.ada = through(tenants.ada, tenants.backend.url);
  }

  /** Sends and reads the whole answer, of whatever status. @returns its JSON, or undefined */
  async post(path: string, body?: unknown, method = 'POST'): Promise<Answered> {
    const response = await send(this.attacker, method, path, body);
    const text = await response.text();
    try {
      return JSON.parse(text) as Answered;
    } catch {
      return {};
    }
  }

  /** An id that no other attempt uses. */
  unique(prefix: string): string {
    return `${prefix}-${randomUUID().slice(0, 8)}`;
  }
}

/** @returns the requests of the attacker that have reached a provider for a model which the attacker may not have */
export async function reachedBy(run: Attack['run'], tenants: Tenants, url = tenants.gate.url): Promise<string[]> {
  tenants.forget();
  await run(new Attempt(tenants, url));
  await tenants.quiet();
  // sent last, arrives last: what the attack has set in motion is on its way by now
  await askPermitted(through(tenants.ann, url), 'alpha');
  await tenants.quiet();
  return tenants.forbidden(tenants.ann);
}

/** The few members of answers that an attack goes on with; all absent where it was refused. */
export interface Answered {
  readonly id?: string;
  readonly [key: string]: unknown;
}

export const BOTH: readonly Release[] = ['0.6.18', '0.12.4'];
export const OLD: readonly Release[] = ['0.6.18'];
export const NEW: readonly Release[] = ['0.12.4'];
