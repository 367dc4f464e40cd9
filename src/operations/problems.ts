/** Everything that is wrong about the words of one command, said at once. */
import { OperationFailure } from './failure.ts';

const MOST_PROBLEMS = 20;

/** @param consequence a sentence @returns one sentence after it for each problem, a line each where there are several */
export function describeProblems(problems: readonly string[], consequence: string): string {
  if (problems.length === 1) return `${problems.join('')} ${consequence}`;
  const shown = problems.slice(0, MOST_PROBLEMS);
  const rest = problems.length - shown.length;
  const more = rest > 0 ? [`and ${rest.toLocaleString('en')} more like these.`] : [];
  const head = `${consequence} ${problems.length.toLocaleString('en')} names are in the way:`;
  return [head, ...shown, ...more].join('\n  ');
}

/** @throws OperationFailure that names every problem, where there is one */
export function refuseAll(problems: readonly string[], consequence: string): void {
  if (problems.length > 0) throw new OperationFailure(describeProblems(problems, consequence));
}
