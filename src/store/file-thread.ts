/** The thread in which SQLite reads and writes the backend's file while requests are served; see `threaded-file.ts`. */
import { workerData } from 'node:worker_threads';
import { type Line, answerCalls } from './bounded-call.ts';
import { Unreadable, describeFailure, failureCode, isBusy, isDiskFull, isOutage } from './database.ts';
import { Freshness } from './freshness.ts';
import { type Organization, ROLES_NOT_ENROLLED, enrol, initializeWhereIncomplete } from './initialize.ts';
import { reportMade } from './made.ts';
import type { FileStatus, PointCall } from './queries.ts';

export type FileTask =
  | { readonly kind: 'start' | 'look' | 'probe' | 'close' }
  | { readonly kind: 'read'; readonly calls: readonly PointCall[] };

/** What the thread must know of a file with the first question. */
export interface FileSettings {
  readonly path: string;
  readonly busyTimeoutMs: number;
  /** What a thread that has died has initialized already. */
  readonly initialized?: number;
  readonly organization?: Organization | undefined;
  /** Do users without any membership join the organization when their memberships are first read? */
  readonly autoEnroll?: boolean;
}

export interface FileQuestion {
  /** Which of the files of this process. */
  readonly file: number;
  readonly settings: FileSettings;
  /** The caller's clock. */
  readonly now: number;
  readonly task: FileTask;
}

/** The status is absent where nothing else is new, and the value where there is none. */
export type FileAnswer = ReturnType<typeof answer>;

export type Warn = (message: string, fields: Record<string, unknown>) => void;

interface OpenFile extends FileSettings {
  readonly freshness: Freshness;
  /** As the caller knows it. */
  known: FileStatus | undefined;
  /** When the next attempt to initialize may be. */
  initializeAt: number;
}

const INITIALIZE_EVERY_MS = 5_000;
/** How long a write waits while requests are served; and before any is, with all users of a large file to link. */
const SERVING_BUSY_MS = 25;
const STARTING_BUSY_MS = 2_000;
/** After a failed write: a read-only file would cost every request an attempt. */
const ENROL_AGAIN_MS = 5_000;

const files = new Map<number, OpenFile>();
let now = 0;

/** Lines for the log, which the caller writes. */
let warnings: Parameters<Warn>[] = [];
const warn: Warn = (...line) => void warnings.push(line);

function answer({ file: id, settings, now: moment, task }: FileQuestion) {
  now = moment;
  warnings = [];
  const file = files.get(id) ?? open(id, settings);
  let [value, mistake]: [unknown, string | undefined] = [undefined, undefined];
  try {
    value = perform(file, id, task);
  } catch (error) {
    // of ours: the caller throws it where it can be seen
    mistake = String(error);
  }
  return { value, mistake, warnings, goodAt: file.freshness.goodAt, status: news(file) };
}

function open(id: number, settings: FileSettings): OpenFile {
  const freshness = new Freshness({ ...settings, now: () => now });
  freshness.status.initialized = settings.initialized ?? 0;
  const file = { ...settings, freshness, known: undefined, initializeAt: Number.NEGATIVE_INFINITY };
  files.set(id, file);
  return file;
}

function perform(file: OpenFile, id: number, task: FileTask): unknown {
  switch (task.kind) {
    case 'start':
    case 'look':
      file.freshness.look();
      initialize(file, task.kind === 'start' ? STARTING_BUSY_MS : SERVING_BUSY_MS);
      return file.freshness.probeDoubted();
    case 'read':
      return readSome(file, task.calls);
    case 'probe':
      file.freshness.probe();
      return isDiskFull(file.path);
    case 'close':
      file.freshness.close();
      return files.delete(id);
  }
}

/** Once for each file: what an operator removes from it later is theirs to remove. */
function initialize(file: OpenFile, busyTimeoutMs: number): void {
  const { path, organization, freshness } = file;
  const { status } = freshness;
  const { file: number, missing } = status;
  if (missing === undefined || number === status.initialized || now < file.initializeAt) return;
  file.initializeAt = now + INITIALIZE_EVERY_MS;
  const { value, failure } = write(file, 'initialization', () =>
    initializeWhereIncomplete(path, busyTimeoutMs, organization),
  );
  if (failure === undefined) {
    status.initialized = number;
    status.obstacle = undefined;
    // undefined where nothing was missing
    if (value !== undefined) status.notMade = reportMade(value, warn);
    freshness.look(true);
  } else if (!failure.isEarly) {
    const { code, problem } = failure;
    status.notMade = missing.map((name) => `${name} (not made: ${code})`);
    status.obstacle = `the policy tables could not be made: ${problem}`;
    warn('the policy tables could not be initialized', { problem, missing });
  }
}

/** Of one question: what others ask is answered in between. */
const READ_MS = 4;

/** @returns the answers of the first calls, of one at least */
function readSome(file: OpenFile, calls: readonly PointCall[]) {
  const until = performance.now() + READ_MS;
  const found: ReturnType<typeof read>[] = [];
  for (const call of calls) {
    found.push(read(file, call));
    if (performance.now() >= until) break;
  }
  return found;
}

/** Enrols a user, too. A file that cannot be written costs the membership, never the request. */
function read({ path, organization, autoEnroll, freshness }: OpenFile, { name, key: user }: PointCall) {
  const { status } = freshness;
  const found = freshness.read(name, user);
  if (name !== 'membershipsOf' || organization === undefined || autoEnroll !== true) return found;
  const isMember = found === undefined || found.value !== undefined;
  const isTooSoon = status.enrolment !== undefined && now < status.enrolment.metAt + ENROL_AGAIN_MS;
  if (isMember || isTooSoon || ROLES_NOT_ENROLLED.has(freshness.read('accountOf', user)?.value?.role ?? 'pending'))
    return found;
  const { value, failure } = write({ path, freshness }, 'enrolment', () =>
    enrol(path, SERVING_BUSY_MS, organization.id, user),
  );
  status.enrolment = failure && { ...failure, metAt: now };
  if (failure !== undefined) {
    warn('a new user could not be enrolled', { user, organization: organization.id, problem: failure.problem });
  }
  return value === true ? freshness.read(name, user) : found;
}

/** @returns what `act` does, or why the file cannot be written */
function write<T>({ path, freshness }: Pick<OpenFile, 'path' | 'freshness'>, name: string, act: () => T) {
  try {
    return { value: act(), failure: undefined };
  } catch (error) {
    if (!isOutage(error)) throw error;
    const { status } = freshness;
    const failure = {
      ...{ code: failureCode(error), problem: describeFailure(error, path), isLocked: isBusy(error) },
      /** The backend has not made its own tables yet: nothing has failed. */
      isEarly: error instanceof Unreadable,
    };
    const key = `${name} ${failure.code}`;
    const count = (status.writeErrors[key] ?? 0) + 1;
    if (!failure.isEarly) status.writeErrors = { ...status.writeErrors, [key]: count };
    return { value: undefined, failure };
  }
}

/** @returns what the caller does not know yet: with most questions nothing is new */
function news(file: OpenFile): FileStatus | undefined {
  const { status } = file.freshness;
  const isNews = (name: string) => file.known?.[name as keyof FileStatus] !== status[name as keyof FileStatus];
  if (!Object.keys(status).some(isNews)) return undefined;
  file.known = { ...status };
  return status;
}

// only `threaded-file.ts` starts this thread, and asks nothing else
answerCalls(workerData as Line, (question) => answer(question as FileQuestion));
