import { startModelgate } from '../support/gate/gate-process.ts';
import type { OpenWebui } from './backend.ts';

export interface RealGate {
  readonly url: string;
  readonly port: number;
  readonly adminUrl: string;
  /** What the gate has written so far: JSON lines. */
  readonly log: () => string;
  readonly close: () => Promise<void>;
}

/**
 * `modelgate serve` as a process of its own in front of a running backend, on the backend's own database. It learns
 * what an operator would tell it, and nothing else: where the backend listens, its data directory and its key.
 *
 * @param settings environment that comes on top
 */
export async function startRealGate(backend: OpenWebui, settings: Record<string, string> = {}): Promise<RealGate> {
  const gate = startModelgate(['serve'], {
    MODELGATE_HOST: '127.0.0.1',
    MODELGATE_PORT: '0',
    MODELGATE_ADMIN_PORT: '0',
    MODELGATE_UPSTREAM_URL: backend.url,
    DATA_DIR: backend.dataDir,
    WEBUI_SECRET_KEY: backend.secretKey,
    ...backend.databaseSettings,
    ...settings,
  });
  const close = async (): Promise<void> => {
    if (gate.child.exitCode === null) gate.kill('SIGTERM');
    await gate.ended();
  };
  try {
    const { url, admin_url: adminUrl } = await gate.line('modelgate listens');
    return {
      url: String(url),
      port: Number(new URL(String(url)).port),
      adminUrl: String(adminUrl),
      log: gate.stdout,
      close,
    };
  } catch (error) {
    gate.kill('SIGKILL');
    throw error;
  }
}
