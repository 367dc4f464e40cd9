/** The thread in which SQLite reads and writes the backend's file while requests are served; see `threaded-file.ts`. */
import { workerData } from 'node:worker_threads';
import { type Line, answerCalls } from './bounded-call.ts';
import { isDiskFull } from './database.ts';
import { Freshness } from './freshness.ts';
import { type InitializeOptions, ROLES_NOT_ENROLLED, enrol, initializeWhereIncomplete } from './initialize.ts';
import type { PointCall } from './queries.ts';
import { UnreadableSchema, isOutage } from './schema.ts';
import { type FileStatus, type WriteFailure, describeWriteFailure } from './source.ts';

export type FileTask =
  | { readonly kind: 'look' | 'probe' | 'close' }
  /** `enrolling`: the organization that users without any membership join when their memberships are read. */
  | { readonly kind: 'read'; readonly calls: readonly PointCall[]; readonly enrolling: string | undefined }
  | ({ readonly kind: 'initialize' } & InitializeOptions);

export interface FileQuestion {
  /** Which of the files of this process. */
  readonly file: number;
  readonly path: string;
  readonly busyTimeoutMs: number;
  /** The caller's clock. */
  readonly now: number;
  readonly task: FileTask;
}

/** Nothing of it: the file could not be read, and the status says why. */
export interface Outcome {
  readonly value?: unknown;
  readonly failure?: WriteFailure;
  /** Of ours: the caller throws it where it can be seen. */
  readonly mistake?: string;
}

/** The status is absent where nothing else is new. */
export type FileAnswer = ReturnType<typeof answer>;

interface OpenFile {
  readonly path: string;
  readonly freshness: Freshness;
  /** As the caller knows it. */
  known: FileStatus | undefined;
}

const ENROL_BUSY_MS = 25;
/** After a failed write: a read-only file would cost every request an attempt. */
const ENROL_AGAIN_MS = 5_000;

const files = new Map<number, OpenFile>();
let now = 0;

function answer(question: FileQuestion) {
  now = question.now;
  const file = files.get(question.file) ?? open(question);
  let outcome: Outcome;
  try {
    outcome = perform(file, question);
  } catch (error) {
    outcome = { mistake: String(error) };
  }
  return { outcome, goodAt: file.freshness.goodAt, status: news(file) };
}

function open({ file: id, path, busyTimeoutMs }: FileQuestion): OpenFile {
  const file = { path, freshness: new Freshness({ path, busyTimeoutMs, now: () => now }), known: undefined };
  files.set(id, file);
  return file;
}

function perform(file: OpenFile, { file: id, task }: FileQuestion): Outcome {
  const { freshness, path } = file;
  switch (task.kind) {
    case 'look':
      freshness.look();
      return {};
    case 'read':
      return { value: task.calls.map((call) => read(file, call, task.enrolling)) };
    case 'initialize': {
      const outcome = write(file, 'initialization', () => initializeWhereIncomplete(path, task));
      if (outcome.failure === undefined) freshness.look(true);
      return outcome;
    }
    case 'probe':
      freshness.probe();
      return { value: isDiskFull(path) };
    case 'close':
      freshness.close();
      files.delete(id);
      return {};
  }
}

/** A file that cannot be written costs the membership, never the request. */
function read(file: OpenFile, { name, key: user }: PointCall, organization: string | undefined) {
  const { freshness } = file;
  const { status } = freshness;
  const found = freshness.read(name, user);
  if (name !== 'membershipsOf' || organization === undefined) return found;
  const isMember = found === undefined || (found.value as readonly unknown[]).length > 0;
  const isTooSoon = status.enrolment !== undefined && now < status.enrolment.metAt + ENROL_AGAIN_MS;
  if (isMember || isTooSoon || ROLES_NOT_ENROLLED.has(freshness.read('roleOf', user)?.value ?? 'pending')) return found;
  const { value, failure } = write(file, 'enrolment', () => enrol(file.path, ENROL_BUSY_MS, organization, user));
  status.enrolment = failure && { ...failure, user, metAt: now };
  return value === true ? freshness.read('membershipsOf', user) : found;
}

function write({ path, freshness }: OpenFile, name: 'enrolment' | 'initialization', act: () => unknown): Outcome {
  try {
    return { value: act() };
  } catch (error) {
    if (!isOutage(error)) throw error;
    const failure = describeWriteFailure(error, path);
    // where the backend has not made its own tables yet, nothing has failed
    if (!(error instanceof UnreadableSchema)) {
      const { status } = freshness;
      const key = `${name} ${failure.code}`;
      status.writeErrors = { ...status.writeErrors, [key]: (status.writeErrors[key] ?? 0) + 1 };
    }
    return { failure };
  }
}

/** @returns what the caller does not know yet: with most questions nothing is new */
function news(file: OpenFile): FileStatus | undefined {
  const { status } = file.freshness;
  // with the others, one of these changes too
  const names = ['generation', 'failures', 'problem', 'missing', 'file', 'damage', 'enrolment', 'writeErrors'] as const;
  if (names.every((name) => file.known?.[name] === status[name])) return undefined;
  file.known = { ...status };
  return status;
}

// only `threaded-file.ts` starts this thread, and asks nothing else
answerCalls(workerData as Line, (question) => answer(question as FileQuestion));
