/** Rates and waits of several processes: where something else takes the processor meanwhile, they say nothing. */
export const TIMED = { retry: 2 };
