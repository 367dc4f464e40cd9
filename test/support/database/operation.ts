/** An operation without a command around it, and how it fails. */
import { expect } from 'vitest';
import { OperationFailure } from '../../../src/backend-file/failure.ts';
import type { Operation } from '../../../src/backend-file/transaction.ts';
import type { TestDatabase } from './database.ts';
import { policyPlaceOf } from './policy-place.ts';
import { addressOf } from './postgres-policy.ts';

export interface TestOperation extends Operation {
  /** What was said about waiting. */
  readonly said: readonly string[];
  /** As Ctrl-C. */
  stop(): void;
}

/** An operation on this file, or on the PostgreSQL of this URL, as a command makes one. */
export function operationOn(path: string, longestMs = 5_000): TestOperation {
  const stopping = new AbortController();
  const said: string[] = [];
  return {
    path,
    postgres: path.startsWith('postgresql:') ? addressOf(path) : undefined,
    patience: { longestMs, signal: stopping.signal, say: (sentence) => void said.push(sentence) },
    said,
    stop: () => stopping.abort(),
  };
}

/** An operation on a test's database, on whichever engine it is. */
export async function operationOf(database: TestDatabase): Promise<TestOperation> {
  const { url } = await policyPlaceOf(database);
  return operationOn(url.startsWith('sqlite:') ? database.path : url);
}

/** The sentence of an `OperationFailure`; fails where there is none, or another error. */
export async function failureOf(operation: Promise<unknown>): Promise<string> {
  const error: unknown = await operation.then(
    () => new Error('it did not fail'),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(OperationFailure);
  return error instanceof Error ? error.message : '';
}

/** What an operation returns: its record, and what is known beside it, as one. */
export async function flattened<T extends { readonly record: object }>(
  operation: Promise<T>,
): Promise<T['record'] & Omit<T, 'record'>> {
  const { record, ...beside } = await operation;
  return { ...record, ...beside };
}
