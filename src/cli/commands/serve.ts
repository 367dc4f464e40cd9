/** `modelgate serve`: the gate, until a signal stops it. */
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { shownDatabase } from '../../config/database.ts';
import { loadConfig, loadSettingsInForce } from '../../config/load.ts';
import { type Config, type Loaded, reload } from '../../config/schema.ts';
import { issuesInLine } from '../../config/issue.ts';
import { secretsOf } from '../../config/secrets.ts';
import { settingReferences } from '../../config/settings.ts';
import type { RunningGate } from '../../gate/start.ts';
import { startNotices } from '../../gate/weaknesses.ts';
import { failureCode } from '../../store/database.ts';
import { type Log, createLog } from '../../telemetry/log.ts';
import { VERSION, commandOf, requireConfig } from '../options.ts';
import { type Report, print, tableOf } from '../report.ts';
import { type Terminal, CommandFailure, EXIT, misused, emphasize } from '../terminal.ts';
import { isForEyes, lineFormat, startText } from '../text-log.ts';

export const addServe = commandOf(
  'serve',
  `run the gate
$ MODELGATE_UPSTREAM_URL=http://127.0.0.1:8080 MODELGATE_PORT=8000 \\
    DATABASE_URL=sqlite:////app/backend/data/webui.db \\
    WEBUI_SECRET_KEY_FILE=/app/backend/.webui_secret_key modelgate serve`,
  (command) =>
    command
      .option('--config <file>', 'YAML file with settings; the environment wins over it')
      .option('--check-config', 'print every mistake in the configuration and stop')
      .option('--show-config', 'print which settings are in force and where each comes from, and stop')
      .option('--settings', 'print every setting that there is, and stop')
      .option('--json', 'with one of these three: print JSON'),
  (options, terminal) => {
    if (options.settings === true) return showSettings(terminal);
    if (options.showConfig === true) return showConfig(options.config, terminal);
    return options.checkConfig === true ? checkConfig(options, terminal) : serve(options.config, terminal);
  },
);

async function serve(file: string | undefined, terminal: Terminal): Promise<number> {
  let onHangUp = (): void => undefined;
  // from the first moment on: it would end the gate otherwise
  terminal.onHangUp(() => onHangUp());
  const loaded = requireConfig(terminal, file);
  requireAuthorities(terminal.environment['NODE_EXTRA_CA_CERTS']);
  await runGate(loaded.config, terminal, (gate, log) => {
    announce(log, loaded.config, gate, terminal);
    onHangUp = createReload(loaded, gate, log, () => loadConfig({ ...terminal, file }));
  });
  return EXIT.done;
}

/** Runs the gate until a signal stops it. @throws CommandFailure where one of the two addresses cannot be listened on */
export async function runGate(
  config: Config,
  terminal: Terminal,
  onStart: (gate: RunningGate, log: Log) => void,
): Promise<void> {
  const { logLevel: level, modelLogLevel: modelLevel, identity, provider } = config;
  const format = lineFormat(config, terminal.screen);
  const secretHeaders = [identity.apiKeyHeader, 'api-key', ...[provider?.user.tokenHeader ?? []].flat()];
  const log = createLog({ level, modelLevel, format, secrets: secretsOf(config), secretHeaders });
  terminal.onBug((error, isFatal) => {
    if (isFatal) log.fatal({ err: error }, 'modelgate ends: an error left it in an unknown state');
    else log.sparingly('error', error, { err: error }, 'something failed in the background');
    return log.flush();
  });
  // loaded only now: mistakes in the configuration are reported without waiting for all of the gate
  const { startGate, ListenFailure } = await import('../../gate/start.ts');
  const gate = await startGate(config, log, VERSION).catch((error: unknown) => {
    throw error instanceof ListenFailure ? new CommandFailure(error.message, EXIT.failed, { cause: error }) : error;
  });
  onStart(gate, log);
  if (!terminal.stop.aborted) await once(terminal.stop, 'abort');
  if (config.drainDelayMs > 0) {
    gate.announceDrain();
    log.info({ delay_ms: config.drainDelayMs }, 'modelgate will stop: /readyz says so, and it serves on for the delay');
    await sleep(config.drainDelayMs);
  }
  log.info({ limit_ms: config.drainTimeoutMs }, 'modelgate stops accepting and finishes what runs');
  const cut = await gate.close();
  log.info({ requests_cut: cut }, 'modelgate has stopped');
  await log.flush();
}

function announce(log: Log, config: Config, gate: RunningGate, terminal: Terminal): void {
  const { policy, organization } = config;
  const isText = isForEyes(config, terminal.screen);
  if (isText) terminal.write(startText(config, { ...gate, version: VERSION }));
  for (const notice of startNotices(config)) log.warn({}, notice);
  if (isText) return;
  log.info(
    {
      version: VERSION,
      node: process.version,
      url: gate.url,
      admin_url: gate.adminUrl,
      ...(gate.providerUrl === undefined ? {} : { provider_url: gate.providerUrl }),
      upstream: config.upstream.url.origin,
      database: shownDatabase(config.database),
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

/** @returns what each SIGHUP calls: it never throws, and a configuration with mistakes changes nothing */
function createReload(loaded: Loaded<Config>, gate: RunningGate, log: Log, load: () => ReturnType<typeof loadConfig>) {
  let running = loaded;
  return (): void => {
    try {
      const read = load();
      if (read.issues !== undefined) {
        log.error({}, `the configuration has mistakes, the old one goes on: ${issuesInLine(read.issues)}`);
        return;
      }
      const { changed, waiting, loaded: next } = reload(running, read);
      const { config } = next;
      if (changed.length > 0) gate.reconfigure(config);
      running = next;
      // at any level of the log: an operator waits for it
      log.setLevels({ level: 'info' });
      const [now, later] = [changed.join(', '), waiting.join(', ')];
      if (now !== '') log.info({ settings: now }, 'these settings have changed and are in force');
      if (later !== '') log.warn({ settings: later }, 'these settings have changed and need a restart');
      if (now !== '') for (const notice of startNotices(config)) log.warn({}, notice);
      else if (later === '') log.info({}, 'the configuration was read again and is the same');
      log.setLevels({ level: config.logLevel, modelLevel: config.modelLogLevel });
    } catch (error) {
      log.error({ err: error }, 'the configuration could not be read again, the old one goes on');
    }
  };
}

async function checkConfig(
  { config: file, json }: { readonly config?: string; readonly json?: true },
  terminal: Terminal,
) {
  if (json !== true) requireConfig(terminal, file);
  const { issues = [] } = loadConfig({ ...terminal, file });
  const valid = issues.length === 0;
  await print(terminal, { json: json === true }, { record: { valid, issues }, parts: ['The configuration is valid.'] });
  return valid ? EXIT.done : EXIT.misused;
}

function showSettings(terminal: Terminal): Report {
  const settings = settingReferences();
  const parts = settings.map(({ name, default: fallback, example, meaning }) => {
    const value = fallback === null ? `none, e.g. ${example}` : fallback === '' ? 'empty' : fallback;
    return `${emphasize(terminal, 'bold', name)}\n  default  ${value}\n  meaning  ${meaning}`;
  });
  return { record: { settings }, parts };
}

function showConfig(file: string | undefined, terminal: Terminal): Report {
  requireConfig(terminal, file);
  const settings = loadSettingsInForce({ ...terminal, file });
  const value = (setting: (typeof settings)[number]): string => setting.value ?? '(not shown)';
  return { record: { settings }, parts: [tableOf(settings, { setting: 'name', value, from: 'source' })] };
}

/** Of a file that it cannot read Node only warns, and then reaches no backend whose certificate was meant. */
function requireAuthorities(file: string | undefined): void {
  if (file === undefined || file === '') return;
  try {
    new X509Certificate(readFileSync(file));
  } catch (error) {
    const found = REASONS[failureCode(error)] ?? 'holds no certificate in PEM';
    const remedy = "Give the file with the certificate that signed the backend's, or leave the variable out.";
    throw misused(`NODE_EXTRA_CA_CERTS=${file} ${found}. ${remedy}`, { cause: error });
  }
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'does not exist',
  EACCES: 'may not be read by this user',
  EISDIR: 'is a folder',
};
