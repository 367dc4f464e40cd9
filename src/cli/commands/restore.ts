/** `modelgate restore`: puts a backup in the place of the database, and keeps what it replaces. */
import { resolve } from 'node:path';
import { asSize } from '../../backend-file/text.ts';
import type { Restoration } from '../../upkeep/restore.ts';
import { prepareRestoration } from '../../upkeep/restore.ts';
import { requireStoreConfig } from '../configured.ts';
import type { DatabaseOptions } from '../options.ts';
import { counted, inSeconds, printable, toSeconds } from '../format.ts';
import { asJson, asLines } from '../report.ts';
import { createStepProgress } from '../progress.ts';
import { askYesNo, declined, requireConsent } from '../prompt.ts';
import type { Terminal } from '../terminal.ts';
import { EXIT, say } from '../terminal.ts';
import { describeFacts, warnOfComplaints } from './copy-facts.ts';

export interface RestoreOptions extends DatabaseOptions {
  readonly yes?: boolean;
}

/** @throws CommandFailure or OperationFailure where nothing was changed */
export async function restore(file: string, options: RestoreOptions, terminal: Terminal): Promise<number> {
  const config = requireStoreConfig(terminal, options);
  requireConsent(terminal, options);
  const steps = createStepProgress(terminal);
  const backup = resolve(terminal.directory, file);
  const started = performance.now();
  const restoration = await prepareRestoration({
    path: config.database.path,
    file: backup,
    backend: config.upstreamUrl,
    now: new Date(),
    signal: terminal.stop,
    say: (sentence) => say(terminal, printable(sentence, false)),
    onStep: steps.onStep,
  }).finally(steps.end);
  const preparedMs = performance.now() - started;
  try {
    if (options.yes !== true && !(await askYesNo(terminal, question(restoration, backup)))) throw declined();
    const resumed = performance.now();
    const kept = await restoration.putInPlace();
    const done: Done = { restoration, backup, kept, elapsedMs: preparedMs + performance.now() - resumed };
    terminal.write(options.json === true ? asJson(toJson(done)) : describe(done));
    warnOfComplaints(terminal, restoration.complaints);
    return EXIT.done;
  } finally {
    restoration.discard();
  }
}

function question({ target, replacedBytes, bytes, facts }: Restoration, backup: string): string {
  const old = replacedBytes === undefined ? '' : ` (${asSize(replacedBytes)}, kept beside it)`;
  return `Put ${printable(backup, false)} (${asSize(bytes)}, ${counted(facts.users, 'user')}) in the place of ${printable(target, false)}${old}?`;
}

interface Done {
  readonly restoration: Restoration;
  readonly backup: string;
  readonly kept: string | undefined;
  readonly elapsedMs: number;
}

function describe({ restoration: { target, facts }, backup, kept, elapsedMs }: Done): string {
  const rows = asLines([
    ['restored', target],
    ['from', backup],
    ['verified', describeFacts(facts)],
    ['replaced', kept === undefined ? 'nothing: there was no database' : `kept as ${kept}`],
    ['time', inSeconds(elapsedMs)],
  ]);
  return `${rows}\nStart the backend and the gate again.\n`;
}

function toJson({ restoration: { target, bytes, facts, complaints }, backup, kept, elapsedMs }: Done): unknown {
  return {
    restored: target,
    from: backup,
    bytes,
    replaced: kept ?? null,
    users: facts.users,
    models: facts.models,
    members: facts.members,
    grants: facts.grants,
    complaints,
    seconds: toSeconds(elapsedMs),
  };
}
