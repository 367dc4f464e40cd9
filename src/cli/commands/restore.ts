/** `modelgate restore`: puts a backup in the place of the database, and keeps what it replaces. */
import { resolve } from 'node:path';
import { asSize } from '../../backend-file/text.ts';
import { type Restoration, prepareRestoration } from '../../upkeep/restore.ts';
import { requireStoreConfig } from '../configured.ts';
import { type CommandLine, onDatabase } from '../options.ts';
import { askYesNo, createStepProgress, declined, requireConsent } from '../prompt.ts';
import { asJson, asLines, counted, inSeconds, printable } from '../report.ts';
import { EXIT, say } from '../terminal.ts';
import { describeFacts, warnOfComplaints } from './backup.ts';

const DESCRIPTION =
  'Put a backup in the place of the database. The backup is unpacked beside it and checked before anything is touched. ' +
  'Refuses while a process has the database open, holds a lock on it, or a backend answers at MODELGATE_UPSTREAM_URL: stop ' +
  'the backend and the gate first. What is replaced is kept as webui.db.replaced.YYYYmmdd_HHMMSS, with all that it holds.';

/** Adds `restore`. */
export function addRestore({ program, terminal, exitWith }: CommandLine): void {
  const command = program
    .command('restore')
    .summary('put a backup in the place of the database; the backend and the gate must be stopped')
    .description(DESCRIPTION)
    .argument('<file>', 'backup made by `modelgate backup`, or any copy of the database, compressed or not')
    .option('--yes', 'do it without asking');
  const example = 'modelgate restore /backups/mai/webui_20260131_030000.db.gz --database data/webui.db';
  onDatabase(command, example).action(async (file, options) => {
    const config = requireStoreConfig(terminal, options);
    requireConsent(terminal, options);
    const steps = createStepProgress(terminal);
    const backup = resolve(terminal.directory, file);
    const restoration = await prepareRestoration({
      path: config.database.path,
      file: backup,
      backend: config.upstreamUrl,
      now: new Date(),
      signal: terminal.stop,
      say: (sentence) => say(terminal, printable(sentence, false)),
      onStep: steps.onStep,
    }).finally(steps.end);
    try {
      if (options.yes !== true && !(await askYesNo(terminal, question(restoration, backup)))) throw declined();
      const done = await restoration.putInPlace();
      terminal.write(options.json === true ? asJson(done) : describe(done));
      warnOfComplaints(terminal, done.complaints);
      exitWith(EXIT.done);
    } finally {
      restoration.discard();
    }
  });
}

function question({ target, replacedBytes, bytes, users }: Restoration, backup: string): string {
  const old = replacedBytes === undefined ? '' : ` (${asSize(replacedBytes)}, kept beside it)`;
  return `Put ${printable(backup, false)} (${asSize(bytes)}, ${counted(users, 'user')}) in the place of ${printable(target, false)}${old}?`;
}

function describe(done: Awaited<ReturnType<Restoration['putInPlace']>>): string {
  const rows = asLines([
    ['restored', done.restored],
    ['from', done.from],
    ['verified', describeFacts(done)],
    ['replaced', done.replaced === null ? 'nothing: there was no database' : `kept as ${done.replaced}`],
    ['time', inSeconds(done.seconds * 1000)],
  ]);
  return `${rows}\nStart the backend and the gate again.\n`;
}
