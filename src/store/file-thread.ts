/** The thread in which SQLite reads and writes the backend's file while requests are served; see `threaded-file.ts`. */
import { workerData } from 'node:worker_threads';
import { type Line, answerCalls } from './bounded-call.ts';
import { describeFailure, failureCode, isBusy, isDiskFull } from './database.ts';
import { isOutage } from './file-state.ts';
import { Freshness } from './freshness.ts';
import { type EnrolmentWrite, enrol, initializeWhereIncomplete, type InitializeOptions } from './initialize.ts';
import { UnreadableSchema } from './schema.ts';
import type { PointCall } from './queries.ts';

/** What is known of the file. */
export type FileStatus = ReturnType<typeof statusOf>;

const statusOf = ({ generation, epochs, problem, isLocked, missing, damage, failures, errors, file }: Freshness) => ({
  ...{ generation, epochs: { ...epochs }, problem, isLocked, missing, damage, failures, errors, file },
});

export type FileTask =
  | { readonly kind: 'look'; readonly anew?: boolean }
  | { readonly kind: 'read'; readonly calls: readonly PointCall[] }
  | ({ readonly kind: 'initialize' } & InitializeOptions)
  | ({ readonly kind: 'enrol' } & EnrolmentWrite)
  | { readonly kind: 'space' }
  | { readonly kind: 'close' };

export interface FileQuestion {
  /** Which of the files of this process. */
  readonly file: number;
  readonly path: string;
  readonly busyTimeoutMs: number;
  /** The caller's clock. */
  readonly now: number;
  /** What the caller knows: a thread that takes the place of another one goes on from here. */
  readonly known: Pick<FileStatus, 'generation' | 'epochs'>;
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
/** Why the file could not be written. */
export type WriteFailure = ReturnType<typeof failureOf>;

interface OpenFile {
  readonly freshness: Freshness;
  /** As the caller knows it. */
  known: FileStatus | undefined;
}

const files = new Map<number, OpenFile>();
let now = 0;

function answer(question: FileQuestion) {
  now = question.now;
  const file = files.get(question.file) ?? open(question);
  let outcome: Outcome;
  try {
    outcome = perform(file.freshness, question);
  } catch (error) {
    outcome = { mistake: String(error) };
  }
  return { outcome, goodAt: file.freshness.goodAt, status: news(file) };
}

function open({ file: id, path, busyTimeoutMs, known }: FileQuestion): OpenFile {
  const freshness = new Freshness({ path, busyTimeoutMs, now: () => now });
  freshness.generation = known.generation;
  Object.assign(freshness.epochs, known.epochs);
  const file = { freshness, known: undefined };
  files.set(id, file);
  return file;
}

function perform(freshness: Freshness, { file, path, task }: FileQuestion): Outcome {
  switch (task.kind) {
    case 'look':
      if (task.anew === true) freshness.expire();
      freshness.look();
      return {};
    case 'read':
      return { value: task.calls.map(({ name, args }) => freshness.read(name, ...args)) };
    case 'initialize':
      return attempt(() => initializeWhereIncomplete(path, task), path);
    case 'enrol':
      return attempt(() => enrol(path, task), path);
    case 'space':
      return { value: isDiskFull(path) };
    case 'close':
      freshness.close();
      files.delete(file);
      return {};
  }
}

function attempt(write: () => unknown, path: string): Outcome {
  try {
    return { value: write() };
  } catch (error) {
    if (!isOutage(error)) throw error;
    return { failure: failureOf(error, path) };
  }
}

const failureOf = (error: unknown, path: string) => ({
  code: failureCode(error),
  problem: describeFailure(error, path),
  isLocked: isBusy(error),
  /** The backend has not made its own tables yet. */
  isBackendMissing: error instanceof UnreadableSchema,
});

/** @returns what the caller does not know yet: with most questions nothing is new */
function news(file: OpenFile): FileStatus | undefined {
  const { freshness, known } = file;
  // the others change only with these
  const names = ['generation', 'failures', 'problem', 'missing', 'file', 'damage'] as const;
  if (names.every((name) => known?.[name] === freshness[name])) return undefined;
  return (file.known = statusOf(freshness));
}

// only `threaded-file.ts` starts this thread, and asks nothing else
answerCalls(workerData as Line, (question) => answer(question as FileQuestion));
