/** Whether requests can be served now, and if not why, for whoever decides where to send them. */
import type { StoreHealth } from '../store/store-view.ts';
import type { Bypass } from '../config/schema.ts';

export interface ReadinessParts {
  readonly version: string;
  /** Looked at for each answer: it may change. */
  readonly mode: 'enforce' | 'report';
  readonly bypass: Bypass | undefined;
  readonly storeHealth: () => Promise<StoreHealth>;
  /** One small request to the backend, and why it was not answered; may be slow, must not reject. */
  readonly upstreamProblem: () => Promise<string | undefined>;
  readonly identityProblem: () => string | undefined;
  readonly isDraining: () => boolean;
}

/** The JSON of `/readyz`. */
export interface Readiness {
  readonly ready: boolean;
  readonly draining: boolean;
  readonly mode: 'enforce' | 'report';
  /** The setting that switches filtering and refusing off, or null. */
  readonly bypass: Bypass | null;
  readonly database: {
    readonly readable: boolean;
    readonly age_ms: number;
    readonly missing: readonly string[];
    readonly problem: string | null;
    /** Why no new user can be enrolled. It stays ready: who is enrolled is served. */
    readonly write_problem: string | null;
  };
  readonly upstream: { readonly reachable: boolean; readonly problem: string | null };
  /**
   * Why nobody who signs in is known to the gate. It stays ready: only a session that the backend issues through it can
   * show that the problem is over.
   */
  readonly identity: { readonly problem: string | null };
  readonly version: string;
}

/** Probes that come faster share one answer, so that nobody can use them to keep the backend busy. */
const PROBE_SHARED_MS = 1_000;

/** @returns a function that asks the parts; it never rejects */
export function createReadiness(
  parts: ReadinessParts,
  now: () => number = () => performance.now(),
): () => Promise<Readiness> {
  let probe: { readonly startedAt: number; readonly result: Promise<string | undefined> } | undefined;
  const upstreamProblem = (): Promise<string | undefined> => {
    if (probe === undefined || now() - probe.startedAt >= PROBE_SHARED_MS) {
      probe = { startedAt: now(), result: parts.upstreamProblem() };
    }
    return probe.result;
  };
  return async () => {
    const unreached = await upstreamProblem();
    const reachable = unreached === undefined;
    const { readable, ageMs, missing, problem = null, writeProblem = null } = await parts.storeHealth();
    const draining = parts.isDraining();
    return {
      ready: readable && reachable && !draining,
      draining,
      mode: parts.mode,
      bypass: parts.bypass ?? null,
      database: { readable, age_ms: Math.round(ageMs), missing, problem, write_problem: writeProblem },
      upstream: { reachable, problem: unreached ?? null },
      identity: { problem: parts.identityProblem() ?? null },
      version: parts.version,
    };
  };
}
