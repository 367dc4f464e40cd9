import { GatewayError } from '../errors.ts';
import type { Answered } from './lane.ts';

/** Does the work of a thread, and makes of its failure what can be sent. */
export async function answerAs<T>(work: () => T | Promise<T>): Promise<Answered<T>> {
  try {
    return { value: await work() };
  } catch (error) {
    if (error instanceof GatewayError) return { failure: { code: error.code, detail: error.detail } };
    throw error;
  }
}
