/** What SIGHUP does to a running gate: it reads the configuration again, and ends nothing. */
import { issuesInLine } from '../../config/issue.ts';
import { loadConfig } from '../../config/load.ts';
import type { Loaded } from '../../config/parse.ts';
import { reload } from '../../config/reload.ts';
import type { Config } from '../../config/schema.ts';
import type { RunningGate } from '../../gate/start.ts';
import { startNotices } from '../../gate/weaknesses.ts';
import type { Log } from '../../telemetry/log.ts';
import type { Terminal } from '../terminal.ts';

export interface ReloadParts {
  readonly terminal: Pick<Terminal, 'environment' | 'directory'>;
  /** `--config` */
  readonly file: string | undefined;
  readonly log: Log;
  readonly gate: Pick<RunningGate, 'reconfigure'>;
  /** What the gate was started with. */
  readonly loaded: Loaded<Config>;
}

/** @returns what is to be called on each SIGHUP; it never throws, and a configuration with mistakes changes nothing */
export function createReload({ terminal, file, log, gate, loaded }: ReloadParts): () => void {
  let running = loaded;

  function readAgain(): void {
    const read = loadConfig({ ...terminal, file });
    if (read.issues !== undefined) {
      log.error({}, `the configuration has mistakes, the old one goes on: ${issuesInLine(read.issues)}`);
      return;
    }
    const result = reload(running, read);
    const { config } = result.loaded;
    if (result.changed.length > 0) gate.reconfigure(config);
    running = result.loaded;
    tell(result);
    log.setLevels({ level: config.logLevel, modelLevel: config.modelLogLevel });
  }

  /** In any case: somebody waits for it. */
  function tell({ changed, waiting, loaded: { config } }: ReturnType<typeof reload>): void {
    log.setLevels({ level: 'info' });
    if (changed.length > 0) log.info({ settings: changed.join(', ') }, 'these settings have changed and are in force');
    if (waiting.length > 0) {
      log.warn({ settings: waiting.join(', ') }, 'these settings have changed and need a restart');
    }
    if (changed.length > 0) for (const notice of startNotices(config)) log.warn({}, notice);
    else if (waiting.length === 0) log.info({}, 'the configuration was read again and is the same');
  }

  return () => {
    try {
      readAgain();
    } catch (error) {
      log.error({ err: error }, 'the configuration could not be read again, the old one goes on');
    }
  };
}
