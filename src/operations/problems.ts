/** Everything that is wrong about the words of one command, said at once. */
import type { FailureCode } from './failure.ts';
import { OperationFailure } from './failure.ts';

const MOST_PROBLEMS = 20;

interface Refusal {
  /** What would be right, last of all. */
  readonly remedy?: string;
  readonly code?: FailureCode;
}

/** @param consequence a sentence @throws OperationFailure that names every problem, a line each where there are several */
export function refuseAll(
  problems: readonly string[],
  consequence: string,
  { remedy, code = 'failed' }: Refusal = {},
): void {
  if (problems.length === 0) return;
  const shown = problems.slice(0, MOST_PROBLEMS);
  const rest = problems.length - shown.length;
  const more = rest > 0 ? [`and ${rest.toLocaleString('en')} more like these.`] : [];
  const head = `${consequence} ${problems.length.toLocaleString('en')} names are in the way:`;
  const [first = ''] = problems;
  const said = problems.length === 1 ? `${first} ${consequence}` : [head, ...shown, ...more].join('\n  ');
  const between = problems.length === 1 ? ' ' : '\n';
  throw new OperationFailure(remedy === undefined ? said : `${said}${between}${remedy}`, { code });
}
