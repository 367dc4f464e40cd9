/** The thread in which SQLite reads and writes the backend's file while requests are served; see `threaded-file.ts`. */
import { workerData } from 'node:worker_threads';
import type { Line } from './bounded-call.ts';
import { answerCalls } from './bounded-call.ts';
import { describeFailure, failureCode, isBusy } from './database.ts';
import { enrol } from './enrolment.ts';
import { isDiskFull } from './file-access.ts';
import { isOutage } from './file-state.ts';
import { Freshness } from './freshness.ts';
import { initializeWhereIncomplete } from './initialize.ts';
import { UnreadableSchema } from './reader.ts';
import type { FileAnswer, FileQuestion, FileStatus, Outcome } from './file-questions.ts';

interface OpenFile {
  readonly freshness: Freshness;
  /** As it was last told. */
  told: FileStatus | undefined;
}

const files = new Map<number, OpenFile>();
let now = 0;

function answer(question: FileQuestion): FileAnswer {
  now = question.now;
  const file = files.get(question.file) ?? open(question);
  try {
    return answerOf(file, perform(file.freshness, question));
  } catch (error) {
    // a mistake of ours: the caller throws it where it can be seen
    return answerOf(file, { mistake: String(error) });
  }
}

const answerOf = (file: OpenFile, outcome: Outcome): FileAnswer => ({
  outcome,
  goodAt: file.freshness.goodAt,
  status: news(file),
});

function open({ file: id, path, busyTimeoutMs, known }: FileQuestion): OpenFile {
  const freshness = new Freshness({ path, busyTimeoutMs, now: () => now });
  freshness.generation = known.generation;
  Object.assign(freshness.epochs, known.epochs);
  const file = { freshness, told: undefined };
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
    return {
      failure: {
        code: failureCode(error),
        problem: describeFailure(error, path),
        isLocked: isBusy(error),
        isBackendMissing: error instanceof UnreadableSchema,
      },
    };
  }
}

function isTold({ freshness, told }: OpenFile): boolean {
  const isSame = told?.generation === freshness.generation && told.failures === freshness.failures;
  return (
    isSame &&
    told.problem === freshness.problem &&
    told.missing === freshness.missing &&
    told.file === freshness.file &&
    told.damage === freshness.damage
  );
}

/** @returns what the caller does not know yet: with most questions nothing is new */
function news(file: OpenFile): FileStatus | undefined {
  if (isTold(file)) return undefined;
  const { generation, epochs, problem, isLocked, missing, damage, failures, errors, file: number } = file.freshness;
  file.told = { generation, epochs: { ...epochs }, problem, isLocked, missing, damage, failures, errors, file: number };
  return file.told;
}

// only `threaded-file.ts` starts this thread, and asks nothing else
answerCalls(workerData as Line, (question) => answer(question as FileQuestion));
