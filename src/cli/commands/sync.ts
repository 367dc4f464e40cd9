/** `modelgate model sync`: allows every model of a catalogue, and shows the difference before it is written. */
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { type Command, Option } from '@commander-js/extra-typings';
import type { Operation } from '../../backend-file/transaction.ts';
import type { StoreConfig } from '../../config/schema.ts';
import { fromTable } from '../../organizations/catalogue.ts';
import { fromConfig } from '../../organizations/configured-catalogue.ts';
import { askForModels, fromLive } from '../../organizations/live-catalogue.ts';
import { type SyncPlan, type SyncRequest, applySync, planSync } from '../../organizations/sync.ts';
import { failureCode } from '../../store/database.ts';
import { configureOrganization } from '../configured.ts';
import { type CommandLine, type OptionsOf, inOrganization, onDatabase, toOrigin } from '../options.ts';
import { printable, counted, asJson } from '../report.ts';
import { askYesNo, declined, requireConsent } from '../prompt.ts';
import { type Terminal, CommandFailure, EXIT, say } from '../terminal.ts';
import { CREATE, warnOfOrganization } from './organization-words.ts';
import { type CatalogueSource, SOURCES, describePlan, notesOn } from './sync-lines.ts';

/** Adds `model sync` to the group `model`. */
export function addSync(group: Command, { terminal, exitWith }: Pick<CommandLine, 'terminal' | 'exitWith'>): void {
  declare(group).action(async (options) => exitWith(await syncModels(options, terminal)));
}

const declare = (group: Command) =>
  onDatabase(
    inOrganization(
      group
        .command('sync')
        .description('allow every model of a catalogue, and show the difference before it is written'),
    )
      .addOption(
        new Option('--from <source>', 'where the catalogue is read').choices(SOURCES).default('table' as const),
      )
      .addOption(
        new Option('--url <url>', 'with --from live: the backend (default: MODELGATE_UPSTREAM_URL)').argParser(
          toOrigin,
        ),
      )
      .option('--token-file <file>', "with --from live: an admin's API key or session token, - reads standard input")
      .option('--presets', 'also allow presets by their own ids')
      .option('--remove', 'also switch off what the catalogue does not have')
      .option('--switch-on', 'also switch on again what was switched off')
      .option('--create', CREATE)
      .option('--dry-run', 'show the difference and change nothing')
      .option('--yes', 'write without asking')
      .addHelpText('after', ABOUT_SYNC),
    'modelgate model sync --org mai_client_acme --dry-run',
    'modelgate model sync --org mai_client_acme --from live --token-file admin-key.txt --yes',
  );

const ABOUT_SYNC = `
Where the catalogue comes from:
  table   rows of the backend's model table without a base model, as the guide's migration links them: models that were edited in the backend, and no others
  config  ids that the backend's connections list one by one, with their prefixes, from the configuration in the file
  live    everything that an admin sees at GET /api/models of the running backend. Ask the backend itself: where something on the way, such as the gate, hides models from this admin, that is said and nothing is done

Left out, and said: presets (without --presets), arena models, models that are switched off in the backend, rows and presets that users who are no admins have made, private presets that another organization was granted, ids that a grant would read as patterns. \`modelgate model allow ID\` allows one of them all the same. A model that a grant such as openai/* covers needs no row. A grant that was switched off stays off. --remove touches neither patterns nor presets, arenas and what a provider that does not answer may have.`;

type SyncOptions = OptionsOf<typeof declare>;

/**
 * Shows the plan until it is what is written: another process may change the file while the operator looks at it.
 * @throws CommandFailure or OperationFailure where nothing was changed
 */
async function syncModels(options: SyncOptions, terminal: Terminal): Promise<number> {
  const { from, json = false, dryRun = false } = options;
  refuseContradictions(options);
  if (!dryRun) requireConsent(terminal, options, '--yes, or --dry-run to look at the difference');
  const { config, operation, chosen } = configureOrganization(options, terminal);
  const catalogue = await openCatalogue(options, terminal, { config, operation, organization: chosen.id });
  const request = { chosen, catalogue, remove: options.remove === true, switchOn: options.switchOn === true };
  let plan = await planSync(operation, request);
  for (const note of notesOn(from, plan)) say(terminal, note);
  for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
    const heading = `${printable(chosen.id)}, compared with ${COMPARED_WITH[from]}:\n`;
    if (!json) terminal.write(heading + describePlan(terminal, plan));
    if (dryRun || changesIn(plan) === 0) return finish(plan, false);
    const question = `Write this to ${printable(operation.path, false)}?`;
    if (options.yes !== true && !(await askYesNo(terminal, question))) throw declined();
    const changed = await applySync(operation, request, plan);
    if (changed === undefined) return finish(plan, true);
    say(
      terminal,
      'Another program has changed the file meanwhile: nothing was written, and this is the difference now.',
    );
    plan = changed;
  }
  throw new CommandFailure('The file changes faster than it can be looked at. Nothing was changed. Try again later.');

  function finish({ record, isActive }: SyncPlan, written: boolean): number {
    const facts = { organization: chosen.id, source: from, dry_run: dryRun, written };
    if (json) terminal.write(asJson({ ...facts, ...record }));
    else if (written) terminal.write(`Written: ${counted(changesIn({ record }), 'grant')}.\n`);
    if (written) warnOfOrganization(terminal, chosen, { isActive });
    return EXIT.done;
  }
}

const ATTEMPTS = 5;

const COMPARED_WITH: Readonly<Record<CatalogueSource, string>> = {
  table: "the backend's model table",
  config: "the connections in the backend's configuration",
  live: 'the running backend',
};

const changesIn = ({ record: { allow, switch_on, switch_off } }: Pick<SyncPlan, 'record'>): number =>
  allow.length + switch_on.length + switch_off.length;

function refuseContradictions({ from, url, tokenFile }: SyncOptions): void {
  if (from === 'live') return;
  const idle = url !== undefined ? '--url' : tokenFile !== undefined ? '--token-file' : undefined;
  if (idle === undefined) return;
  throw new CommandFailure(`${idle} means nothing without --from live.`, EXIT.misused);
}

/** A backend that is asked is asked once: what it said then is what is shown and written. */
async function openCatalogue(
  { from, presets, url, tokenFile }: SyncOptions,
  terminal: Terminal,
  {
    config,
    operation,
    organization,
  }: { readonly config: StoreConfig; readonly operation: Operation; readonly organization: string },
): Promise<SyncRequest['catalogue']> {
  const wishes = { presets: presets === true, organization };
  if (from === 'table') return (connection, schema) => fromTable(connection, schema, wishes);
  if (from === 'config') return (connection, schema) => fromConfig(connection, schema, wishes);
  const backend = url ?? config.upstreamUrl;
  if (backend === undefined) {
    throw new CommandFailure(
      'Where is the backend? Name it with --url http://open-webui:8080, or set MODELGATE_UPSTREAM_URL.',
      EXIT.misused,
    );
  }
  if (tokenFile === undefined) {
    throw new CommandFailure(
      "The backend shows all of its models to admins only: --token-file FILE names a file with an admin's API key or session token, - reads standard input.",
      EXIT.misused,
    );
  }
  const { signal } = operation.patience;
  const live = await askForModels({ url: backend, credential: await readCredential(terminal, tokenFile), signal });
  return (connection, schema) => fromLive(live, connection, schema, wishes);
}

// The credential with which a command asks the backend: from a file or standard input, never from the command line.

const LONGEST = 16_384;

/**
 * @param file `-` reads standard input to its end
 * @throws CommandFailure where there is none, or no credential in it; its text is in no sentence
 */
async function readCredential(terminal: Terminal, file: string): Promise<string> {
  const from = file === '-' ? 'Standard input' : `The file ${printable(file, false)}`;
  const text = await (file === '-' ? readInput(terminal) : readNamed(terminal, file, from));
  const credential = text.trim().replace(/^Bearer +/i, '');
  // what a header field can carry (RFC 6750 section 2.1)
  if (!/^[\w.~+/=-]+$/.test(credential)) {
    throw new CommandFailure(
      `${from} ${credential === '' ? 'is empty' : 'holds something else'}: one line with an API key (sk-…) or the token of a session is expected, of an admin.`,
      EXIT.misused,
    );
  }
  return credential;
}

async function readInput({ input }: Terminal): Promise<string> {
  let text = '';
  for await (const chunk of input().setEncoding('utf8')) {
    text += String(chunk);
    if (text.length > LONGEST) break;
  }
  return text;
}

async function readNamed({ directory }: Terminal, file: string, from: string): Promise<string> {
  try {
    const text = await readFile(resolve(directory, file), 'utf8');
    return text.length > LONGEST ? '\0' : text;
  } catch (error) {
    const code = failureCode(error);
    const what = code === 'ENOENT' ? 'is not there' : code === 'EACCES' ? 'may not be read' : 'cannot be read';
    throw new CommandFailure(`${from} ${what} (${code}).`, EXIT.misused, { cause: error });
  }
}
