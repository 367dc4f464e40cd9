import type { Operation } from '../../src/operations/backend-file.ts';

export interface TestOperation extends Operation {
  /** What was said about waiting. */
  readonly said: readonly string[];
  /** As Ctrl-C. */
  stop(): void;
}

/** An operation on this file, as a command makes one. */
export function operationOn(path: string, longestMs = 5_000): TestOperation {
  const stopping = new AbortController();
  const said: string[] = [];
  return {
    path,
    patience: { longestMs, signal: stopping.signal, say: (sentence) => void said.push(sentence) },
    said,
    stop: () => stopping.abort(),
  };
}
