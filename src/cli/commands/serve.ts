/** `modelgate serve`: the gate, until a signal stops it. */
import type { Command } from '@commander-js/extra-typings';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { issuesInLine } from '../../config/issue.ts';
import { loadConfig, loadSettingsInForce } from '../../config/load.ts';
import type { Loaded } from '../../config/parse.ts';
import { reload } from '../../config/reload.ts';
import type { Config } from '../../config/schema.ts';
import { settingReferences } from '../../config/settings.ts';
import type { RunningGate } from '../../gate/start.ts';
import { startNotices } from '../../gate/weaknesses.ts';
import { type Log, createLog } from '../../telemetry/log.ts';
import { requireConfig } from '../configured.ts';
import type { CommandLine, OptionsOf } from '../options.ts';
import { asJson, asLines, asTable, emphasize } from '../report.ts';
import { type Terminal, CommandFailure, EXIT } from '../terminal.ts';
import { isForEyes, lineFormat, startText } from '../text-log.ts';

/** Adds `serve`. */
export function addServe({ program, terminal, exitWith, version }: CommandLine): void {
  declare(program).action(async (options) => {
    if (options.settings === true) exitWith(showSettings(options, terminal));
    else if (options.showConfig === true) exitWith(showConfig(options, terminal));
    else exitWith(await serve(options, terminal, version));
  });
}

const declare = (program: Command) =>
  program
    .command('serve')
    .description('run the gate')
    .option('--config <file>', 'YAML file with settings; the environment wins over it')
    .option('--check-config', 'print every mistake in the configuration and stop')
    .option('--show-config', 'print which settings are in force and where each comes from, and stop')
    .option('--settings', 'print every setting that there is, and stop')
    .option('--json', 'with one of these three: print JSON')
    .addHelpText(
      'after',
      `
Example:
  $ MODELGATE_UPSTREAM_URL=http://127.0.0.1:8080 MODELGATE_PORT=8000 \\
    DATABASE_URL=sqlite:////app/backend/data/webui.db \\
    WEBUI_SECRET_KEY_FILE=/app/backend/.webui_secret_key modelgate serve`,
    );

type ServeOptions = OptionsOf<typeof declare>;

/** @returns the exit code, once the gate has stopped @throws CommandFailure where it cannot start */
async function serve(options: ServeOptions, terminal: Terminal, version: string): Promise<number> {
  if (options.checkConfig === true && options.json === true) return checkAsJson(options, terminal);
  let onHangUp = (): void => undefined;
  // from the first moment on: it would end the gate otherwise
  terminal.onHangUp(() => onHangUp());
  const loaded = requireConfig(terminal, options.config);
  const { config } = loaded;
  if (options.checkConfig === true) {
    terminal.write('The configuration is valid.\n');
    return EXIT.done;
  }
  requireAuthorities(terminal.environment['NODE_EXTRA_CA_CERTS']);
  const log = createGateLog(config, terminal.screen);
  terminal.onBug((error, isFatal) => {
    if (isFatal) log.fatal({ err: error }, 'modelgate ends: an error left it in an unknown state');
    else log.sparingly('error', error, { err: error }, 'something failed in the background');
    return log.flush();
  });
  const gate = await startGate(config, log, version);
  announce(log, config, gate, version, terminal);
  onHangUp = createReload({ terminal, file: options.config, log, gate, loaded });
  if (!terminal.stop.aborted) await once(terminal.stop, 'abort');
  log.info({ limit_ms: config.drainTimeoutMs }, 'modelgate stops accepting and finishes what runs');
  const cut = await gate.close();
  log.info({ requests_cut: cut }, 'modelgate has stopped');
  await log.flush();
  return EXIT.done;
}

/** @throws CommandFailure where one of the two addresses cannot be listened on */
export async function startGate(config: Config, log: Log, version: string): Promise<RunningGate> {
  // loaded only now: mistakes in the configuration are reported without waiting for all of the gate
  const gate = await import('../../gate/start.ts');
  try {
    return await gate.startGate(config, log, version);
  } catch (error) {
    throw error instanceof gate.ListenFailure
      ? new CommandFailure(error.message, EXIT.failed, { cause: error })
      : error;
  }
}

/** @returns a log that shows nothing of what this configuration keeps secret */
export function createGateLog(config: Config, screen: Terminal['screen']): Log {
  const { logLevel: level, modelLogLevel: modelLevel, identity } = config;
  const format = lineFormat(config, screen);
  return createLog({ level, modelLevel, format, secrets: identity.secretKeys, secretHeaders: [identity.apiKeyHeader] });
}

function announce(log: Log, config: Config, gate: RunningGate, version: string, terminal: Terminal): void {
  const { policy, organization } = config;
  const isText = isForEyes(config, terminal.screen);
  if (isText) terminal.write(startText(config, { ...gate, version }));
  for (const notice of startNotices(config)) log.warn({}, notice);
  if (isText) return;
  log.info(
    {
      version,
      node: process.version,
      url: gate.url,
      admin_url: gate.adminUrl,
      upstream: config.upstream.url.origin,
      database: config.database.path,
      mode: policy.mode,
      bypass: policy.bypass ?? null,
      denial: policy.denial,
      admin_access: policy.adminAccess,
      direct_connections: policy.directConnections,
      organization: organization?.id ?? null,
      auto_enroll: organization?.autoEnroll ?? false,
    },
    'modelgate listens',
  );
}

// SIGHUP reads the configuration again, and ends nothing.

interface ReloadParts {
  readonly terminal: Pick<Terminal, 'environment' | 'directory'>;
  /** `--config` */
  readonly file: string | undefined;
  readonly log: Log;
  readonly gate: Pick<RunningGate, 'reconfigure'>;
  /** What the gate was started with. */
  readonly loaded: Loaded<Config>;
}

/** @returns what each SIGHUP calls; it never throws, and a configuration with mistakes changes nothing */
function createReload({ terminal, file, log, gate, loaded }: ReloadParts): () => void {
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
    announceChanges(result);
    log.setLevels({ level: config.logLevel, modelLevel: config.modelLogLevel });
  }

  /** At any level of the log: an operator waits for it. */
  function announceChanges({ changed, waiting, loaded: { config } }: ReturnType<typeof reload>): void {
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

function checkAsJson({ config: file }: ServeOptions, terminal: Terminal): number {
  const { issues = [] } = loadConfig({ ...terminal, file });
  terminal.write(asJson({ valid: issues.length === 0, issues }));
  return issues.length === 0 ? EXIT.done : EXIT.misused;
}

// `modelgate serve --settings` and `--show-config`: what can be set, and what is.

/** @returns the exit code: 0 */
function showSettings({ json }: ServeOptions, terminal: Terminal): number {
  const settings = settingReferences();
  const described = settings.map(({ name, default: fallback, example, meaning }) => {
    const value = fallback === null ? `none, e.g. ${example}` : fallback === '' ? 'empty' : fallback;
    return `${emphasize(terminal, 'bold', name)}\n${asLines([
      ['  default', value],
      ['  meaning', meaning],
    ])}`;
  });
  terminal.write(json === true ? asJson({ settings }) : described.join('\n'));
  return EXIT.done;
}

/** @throws CommandFailure where the configuration has mistakes: then nothing is in force */
function showConfig({ config: file, json }: ServeOptions, terminal: Terminal): number {
  requireConfig(terminal, file);
  const settings = loadSettingsInForce({ ...terminal, file });
  const shown = settings.map(({ name, value, source }) => [name, value ?? '(not shown)', source]);
  terminal.write(json === true ? asJson({ settings }) : asTable(terminal, ['setting', 'value', 'from'], shown));
  return EXIT.done;
}

// Certificates of the operator's own, by which a backend that speaks TLS is believed.

/**
 * Node only warns of a file that it cannot read, and then reaches no backend whose certificate was meant.
 *
 * @param file of `NODE_EXTRA_CA_CERTS`
 * @throws CommandFailure where it holds no certificate
 */
function requireAuthorities(file: string | undefined): void {
  if (file === undefined || file === '') return;
  try {
    new X509Certificate(readFileSync(file));
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    const found = REASONS[code] ?? 'holds no certificate in PEM';
    throw new CommandFailure(
      `NODE_EXTRA_CA_CERTS=${file} ${found}. Give the file with the certificate that signed the backend's, or leave the variable out.`,
      EXIT.misused,
      { cause: error },
    );
  }
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'does not exist',
  EACCES: 'may not be read by this user',
  EISDIR: 'is a folder',
};
