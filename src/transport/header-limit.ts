/** Longest head of a message, start line and header lines together, in either direction; what is said beyond it. */

/** As much as Open WebUI itself takes and gives: the cookies of a sign-in by OAuth grow with the groups of the user. */
export const MAX_HEADER_BYTES = 64 * 1024;

/** @returns a sentence for whoever sees the refusal; it names the setting, since only the operator can help */
export function beyondHeaderLimit(maxHeaderBytes: number): string {
  return `They have more than ${sizeText(maxHeaderBytes)} (MODELGATE_MAX_HEADER).`;
}

function sizeText(bytes: number): string {
  return bytes % 1024 === 0 ? `${bytes / 1024} KB` : `${bytes} bytes`;
}
