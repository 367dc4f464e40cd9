/**
 * Changes the final header lines of an answer in place: the upstream's, a relayed refusal's, or the gate's own. Names
 * are in lower case, as HTTP/2 demands and undici reads them: whoever writes lines keeps to it.
 * Called once an answer, never for an interim one. Must not throw.
 */
export type AnswerEdit = (lines: string[], status: number) => void;
