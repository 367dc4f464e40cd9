/** Whether requests can be served now, and if not why. */
import type { Bypass } from '../config/schema.ts';
import type { StoreHealth } from '../store/store-view.ts';

interface ReadinessParts {
  readonly version: string;
  /** Read for each answer: it may change. */
  readonly mode: 'enforce' | 'report';
  readonly bypass: Bypass | undefined;
  readonly storeHealth: () => Promise<StoreHealth>;
  /** One small request to the backend, and why it was not answered; may be slow, must not reject. */
  readonly upstreamProblem: () => Promise<string | undefined>;
  readonly identityProblem: () => string | undefined;
  readonly isDraining: () => boolean;
}

/** The JSON of `/readyz`. */
export type Readiness = Awaited<ReturnType<ReturnType<typeof createReadiness>>>;

/** Probes that come faster share one answer, so that they cannot keep the backend busy. */
const PROBE_SHARED_MS = 1_000;

/** @returns a function that asks the parts; it never rejects */
export function createReadiness(parts: ReadinessParts, now = () => performance.now()) {
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
      /** The setting that switches filtering and refusing off, or null. */
      bypass: parts.bypass ?? null,
      /** With a `write_problem` no new user can be enrolled; users who are enrolled are served. */
      database: { readable, age_ms: Math.round(ageMs), missing, problem, write_problem: writeProblem },
      upstream: { reachable, problem: unreached ?? null },
      /** The gate stays ready: only a session that the backend issues through it can show that the problem is over. */
      identity: { problem: parts.identityProblem() ?? null },
      version: parts.version,
    };
  };
}
