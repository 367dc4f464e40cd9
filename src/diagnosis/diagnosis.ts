/** Everything that `doctor` looks at, in the order in which one thing explains the next. A check that cannot be done is a finding. */
import { OperationFailure, explainFailure, unchanged } from '../backend-file/failure.ts';
import { lockHolders } from '../backend-file/processes.ts';
import { type Operation, ATTEMPT_MS, reading, waiting } from '../backend-file/transaction.ts';
import type { RedisConfig, toRevocations } from '../config/redis.ts';
import { readBackendRelease } from '../store/backend-releases.ts';
import {
  type Connection,
  type FileConnection,
  describeFailure,
  failureCode,
  isBusy,
  noteCompanions,
  openForReading,
} from '../store/database.ts';
import { type Schema, readSchema } from '../store/schema.ts';
import { sizeOf } from '../upkeep/files.ts';
import { checkBackend, checkProviderClocks } from './backend.ts';
import { checkDatabaseFile, checkIntegrity } from './file.ts';
import { type Finding, type Verdict, type Verdicts, findingsOf, ok, problem, unknown, warning } from './finding.ts';
import { checkJournalMode, checkLocks, checkRelease, checkWriteAheadLog } from './journal.ts';
import { checkPostgres } from './postgres.ts';
import { type LedgerSettings, checkPrices } from './prices.ts';
import { checkLedger, checkOtherLedger } from './ledger.ts';
import { type ProviderDoor, providerChecks } from './providers.ts';
import { checkRedis, checkRevocations } from './redis.ts';
import { checkAdmins, checkBudgets, checkForeignRows } from './rows.ts';
import { checkCounter, checkIndexUse, checkStatistics, checkTables, checkUpgrade } from './schema.ts';

interface Diagnosis {
  readonly operation: Operation;
  readonly settings: {
    readonly mistakes: readonly string[];
    readonly weaknesses: readonly { readonly sentence: string; readonly remedy: string; readonly isGrave: boolean }[];
    /** Settings that the gate needs and this command does not have. */
    readonly absent: readonly ('MODELGATE_UPSTREAM_URL' | 'WEBUI_SECRET_KEY')[];
  };
  readonly upstream: URL | undefined;
  readonly secretKeys: readonly string[];
  /** Undefined: there is no provider door. */
  readonly providerDoor?: ProviderDoor | undefined;
  /** Undefined as `providerDoor`. */
  readonly ledger?: LedgerSettings | undefined;
  /** Undefined: no Redis counts the limits. */
  readonly redis?: RedisConfig | undefined;
  /** Undefined: the backend ends no sessions in a Redis. */
  readonly revocations?: ReturnType<typeof toRevocations>;
  /** `DATABASE_ENABLE_SQLITE_WAL`, where this command's environment has it. */
  readonly walWanted: boolean | undefined;
  readonly quick: boolean;
  readonly lockTrial?: Parameters<typeof checkLocks>[2];
  /** With a label of steps, or `copy` and bytes. */
  readonly onProgress: (label: string, done: number, total: number) => void;
}

export async function diagnose(options: Diagnosis): Promise<readonly Finding[]> {
  const { operation, settings, upstream, secretKeys, onProgress } = options;
  const findings = [...findingsOf({ settings: checkSettings(settings) })];
  if (upstream !== undefined) {
    onProgress('asking the backend', 0, 1);
    findings.push(...(await checkBackend(upstream, secretKeys, operation.patience.signal)));
  }
  if (options.redis !== undefined) {
    onProgress('asking Redis', 0, 1);
    const { redis, revocations } = options;
    const { signal } = operation.patience;
    findings.push(...findingsOf({ redis: await checkRedis(redis, signal) }));
    if (revocations !== undefined) {
      const { elsewhere = redis, keyPrefix } = revocations;
      findings.push(...findingsOf({ sessions: await checkRevocations(elsewhere, keyPrefix, signal) }));
    }
  }
  findings.push(...(await lookAround(options)));
  if (operation.postgres !== undefined) {
    onProgress('asking PostgreSQL', 0, 1);
    const found = await checkPostgres(operation.postgres);
    findings.push(...found);
    const isReadable = !found.some(({ name, status }) => status === 'problem' && ['server', 'tables'].includes(name));
    if (isReadable) await lookIntoTables(options, findings);
    return findings;
  }
  const file = checkDatabaseFile(operation.path);
  if (file.some(isUnusable)) return [...findings, ...file];
  const inside = await lookInside(options);
  return [...findings, ...(inside.some(isUnusable) ? file.filter(({ name }) => name === 'file') : file), ...inside];
}

/** What the provider door needs beside the backend's file. */
async function lookAround(options: Diagnosis): Promise<readonly Finding[]> {
  const { providerDoor, ledger, operation, quick, onProgress } = options;
  const growth =
    ledger === undefined
      ? []
      : [...(await checkLedger(ledger)), ...(await checkOtherLedger(ledger, operation.postgres))];
  if (providerDoor === undefined || quick) return findingsOf({ ledger: growth });
  onProgress('asking the providers', 0, 1);
  const clocks = await checkProviderClocks(providerDoor.providers, operation.patience.signal);
  return findingsOf({ 'provider clock': clocks, ledger: growth });
}

const isUnusable = ({ name, status }: Finding): boolean => name === 'file' && status === 'problem';

function checkSettings({ mistakes, weaknesses, absent }: Diagnosis['settings']): readonly Verdict[] {
  const found = [
    ...mistakes.map((mistake) => problem(mistake, 'Correct it: the gate does not start like this.')),
    ...weaknesses.map(({ sentence, remedy, isGrave }) => (isGrave ? problem : warning)(`${sentence}.`, remedy)),
  ];
  if (found.length === 0) found.push(ok('Model access is enforced; nothing is switched off or weakened.'));
  if (absent.length > 0) {
    const names = absent.join(' and ').replace('WEBUI_SECRET_KEY', '$& or $&_FILE');
    const isAlone = !absent.includes('MODELGATE_UPSTREAM_URL');
    const unchecked = isAlone ? 'the secret key was' : 'the backend and its clock and the secret key were';
    const finding = `Not set for this command: ${names}; so ${unchecked} not checked.`;
    found.push(unknown(finding, 'Run it with the environment of the gate, such as in its container.'));
  }
  return found;
}

/** On PostgreSQL, in one transaction: an error of a check ends none of the others. Locks are not waited for: who holds one has been said. */
async function lookIntoTables(options: Diagnosis, findings: Finding[]): Promise<void> {
  const { providerDoor } = options;
  const patience = { ...options.operation.patience, longestMs: 0, say: () => undefined };
  const operation = { ...options.operation, patience };
  const run = createRunner(operation, findings);
  const look = async (connection: Connection, schema: Schema): Promise<Verdicts> => {
    const ofDoor = providerDoor && providerChecks(connection, schema, readBackendRelease(connection), providerDoor);
    const checks = { admins: () => checkAdmins(connection), ...ofDoor, ...rowChecks(connection, schema, options) };
    for (const [name, check] of Object.entries<Check>(checks)) {
      connection.exec('SAVEPOINT checking');
      await run(name, check);
      connection.exec('ROLLBACK TO checking');
    }
    return [];
  };
  await run('tables', () => reading(operation, 'organizations', look));
}

async function lookInside(options: Diagnosis): Promise<readonly Finding[]> {
  const { operation, quick, onProgress, lockTrial } = options;
  const { path, patience } = operation;
  const findings: Finding[] = [];
  const run = createRunner(operation, findings);
  // before this process makes one
  const walBytes = sizeOf(`${path}-wal`);
  using opened = new DisposableStack();
  opened.defer(noteCompanions(path));
  const connection = opened.adopt(openForReading(path, ATTEMPT_MS), (one) => void one.close());
  let seen: ReturnType<typeof read> | undefined;
  await run('file', () => ((seen = read(connection)), []));
  const checks = seen && checksOf(connection, seen, options, walBytes);
  for (const [name, check] of Object.entries(checks ?? UNREADABLE)) await run(name, check);
  if (!findings.some(isUnusable)) {
    onProgress('trying the locks', 0, 1);
    await run('locks', () => checkLocks(path, patience.signal, lockTrial));
  }
  if (seen !== undefined && !quick) {
    const { mode } = seen;
    onProgress('reading the whole file', 0, 1);
    await run('integrity', () => checkIntegrity(operation, mode, (done, total) => onProgress('copy', done, total)));
  }
  return findings;
}

const read = (connection: FileConnection) => ({
  schema: readSchema(connection),
  release: readBackendRelease(connection),
  mode: String(connection.pragma('journal_mode', { simple: true })),
});

type Check = () => Verdicts | Promise<Verdicts>;

const UNREADABLE: Readonly<Record<string, Check>> = { tables: () => unknown('Not checked: the file cannot be read.') };

function checksOf(
  connection: Connection,
  { schema, release, mode }: ReturnType<typeof read>,
  options: Diagnosis,
  walBytes: number,
): Readonly<Record<string, Check>> {
  const { operation, providerDoor, walWanted } = options;
  return {
    tables: () => checkTables(schema),
    ...(schema.backendReady && {
      'version counter': () => checkCounter(schema),
      release: () => checkRelease(release),
      admins: () => checkAdmins(connection),
      upgrade: () => checkUpgrade(connection, schema),
      ...(providerDoor && providerChecks(connection, schema, release, providerDoor)),
    }),
    ...(schema.backendReady &&
      schema.problem === undefined && {
        'index use': () => checkIndexUse(connection, schema),
        statistics: () => checkStatistics(connection),
        ...rowChecks(connection, schema, options),
      }),
    'journal mode': () => checkJournalMode(mode, release, walWanted),
    ...(mode === 'wal' && { 'write-ahead log': () => checkWriteAheadLog(walBytes, lockHolders(operation.path)) }),
  };
}

const rowChecks = (connection: Connection, schema: Schema, { providerDoor, ledger }: Diagnosis) => ({
  'foreign rows': () => checkForeignRows(connection, schema),
  budgets: () => checkBudgets(connection),
  ...(providerDoor && ledger && { prices: () => checkPrices(connection, schema, providerDoor, ledger) }),
});

/** Runs a check, waits for locks, and keeps what it says, or its error. */
function createRunner({ path, patience }: Operation, findings: Finding[]) {
  let left = patience;
  return async (name: string, check: Check): Promise<void> => {
    try {
      findings.push(...findingsOf({ [name]: await waiting(path, left, check) }));
    } catch (error) {
      if (patience.signal.aborted) throw unchanged('Stopped.', '', { cause: error });
      if (isBusy(error)) left = { ...patience, longestMs: 0, say: () => undefined };
      findings.push(...findingsOf({ [name]: failed(error, path) }));
    }
  };
}

function failed(error: unknown, path: string): Verdict {
  if (error instanceof OperationFailure) return problem(error.message, 'See above.');
  const failure = explainFailure(error, path);
  if (failure !== undefined && isBusy(error)) return unknown(`Not checked: ${failure.finding}`, failure.remedy);
  if (failure !== undefined) return problem(failure.finding, failure.remedy);
  if (!failureCode(error).startsWith('SQLITE_')) throw error;
  // what was prepared has another shape now
  return unknown(`Not checked: ${describeFailure(error)}.`, 'Try again; the backend may be migrating.');
}
