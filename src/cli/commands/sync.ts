/** `modelgate model sync`: allows every model of a catalogue, and shows the difference before it is written. */
import { createReadStream } from 'node:fs';
import { resolve } from 'node:path';
import { Option } from '@commander-js/extra-typings';
import { quoted } from '../../backend-file/text.ts';
import {
  type LeftOut,
  type SyncPlan,
  type SyncRequest,
  LEFT_OUT,
  applySync,
  fromTable,
  planSync,
} from '../../organizations/catalogue.ts';
import { askForModels, fromConfig, fromLive } from '../../organizations/provider-catalogue.ts';
import { failureCode } from '../../store/database.ts';
import { CREATE, organizationCommand, toOrigin } from '../options.ts';
import { type Notes, amounts, counted, grouped, print, printable, whole } from '../report.ts';
import { type Terminal, misused, emphasize, askForConsent, requireConsent } from '../terminal.ts';
import { noteOnSwitch } from './member.ts';

export const addSync = organizationCommand(
  'sync',
  `allow every model of a catalogue, and show the difference before it is written
Where the catalogue comes from:
  table   rows of the backend's model table without a base model, as the guide's migration links them: models that were edited in the backend, and no others
  config  ids that the backend's connections list one by one, with their prefixes, from the configuration in the file
  live    everything that an admin sees at GET /api/models of the running backend. Ask the backend itself: where something on the way, such as the gate, hides models from this admin, that is said and nothing is done

Left out, and said: presets (without --presets), arena models, models that are switched off in the backend, rows and presets that users who are no admins have made, private presets that another organization was granted, ids that a grant would read as patterns. \`modelgate model allow ID\` allows one of them all the same. A model that a grant such as openai/* covers needs no row. A grant that was switched off stays off. --remove touches neither patterns nor presets, arenas and what a provider that does not answer may have.
$ modelgate model sync --org mai_client_acme --dry-run
$ modelgate model sync --org mai_client_acme --from live --token-file admin-key.txt --yes`,
  (command) =>
    command
      .addOption(
        new Option('--from <source>', 'where the catalogue is read')
          .choices(['table', 'config', 'live'] as const)
          .default('table' as const),
      )
      .option('--url <url>', 'with --from live: the backend (default: MODELGATE_UPSTREAM_URL)', toOrigin)
      .option('--token-file <file>', "with --from live: an admin's API key or session token, - reads standard input")
      .option('--presets', 'also allow presets by their own ids')
      .option('--remove', 'also switch off what the catalogue does not have')
      .option('--switch-on', 'also switch on again what was switched off')
      .addOption(CREATE)
      .option('--dry-run', 'show the difference and change nothing')
      .option('--yes', 'write without asking'),
  async (options, { config, operation, chosen, terminal }) => {
    const { from, json = false, dryRun = false, presets = false, remove = false, switchOn = false } = options;
    if (!dryRun) requireConsent(terminal, options, '--yes, or --dry-run to look at the difference');
    const catalogue = await openCatalogue(options, terminal, config.upstreamUrl);
    const request = { chosen, catalogue, presets, remove, switchOn };
    const plan = await planSync(operation, request);
    const { record } = plan;
    const head = `${printable(chosen.id)}, compared with ${COMPARED_WITH[from]}:`;
    const parts = json ? [] : [`${head}\n${describePlan(terminal, record)}`];
    await print(terminal, {}, { parts, notes: notesOn(from, plan) });
    const changes = record.allow.length + record.switch_on.length + record.switch_off.length;
    const written = !dryRun && changes > 0;
    if (written) {
      await askForConsent(terminal, options, `Write this to ${whole(operation.path)}?`);
      await applySync(operation, request, plan);
    }
    return {
      record: { organization: chosen.id, source: from, dry_run: dryRun, written, ...record },
      parts: written ? [`Written: ${counted(changes, 'grant')}.`] : [],
      notes: [written && noteOnSwitch(chosen.id, plan.isActive)],
    };
  },
);

type From = keyof typeof COMPARED_WITH;

const COMPARED_WITH = {
  table: "the backend's model table",
  config: "the connections in the backend's configuration",
  live: 'the running backend',
} as const;

/** A backend that is asked is asked once: what it said then is what is shown and written. */
async function openCatalogue(
  { from, url, tokenFile }: { readonly from: From; readonly url?: URL; readonly tokenFile?: string },
  terminal: Terminal,
  upstreamUrl: URL | undefined,
): Promise<SyncRequest['catalogue']> {
  if (from !== 'live') {
    const idle = url !== undefined ? '--url' : tokenFile !== undefined ? '--token-file' : undefined;
    if (idle === undefined) return from === 'table' ? fromTable : fromConfig;
    throw misused(`${idle} means nothing without --from live.`);
  }
  const backend = url ?? upstreamUrl;
  if (backend === undefined) throw misused(WHICH_BACKEND);
  if (tokenFile === undefined) throw misused(WHICH_TOKEN);
  const credential = await readCredential(terminal, tokenFile);
  const live = await askForModels({ url: backend, credential, signal: terminal.stop });
  return (source) => fromLive(live, source);
}

const WHICH_BACKEND = 'Where is the backend? Name it with --url http://open-webui:8080, or set MODELGATE_UPSTREAM_URL.';
const WHICH_TOKEN =
  "The backend shows all of its models to admins only: --token-file FILE names a file with an admin's API key or session token, - reads standard input.";
const LONGEST = 16_384;

/** Never from the command line. @param file `-` reads standard input to its end @throws CommandFailure, without its text */
async function readCredential({ input, directory }: Terminal, file: string): Promise<string> {
  const from = file === '-' ? 'Standard input' : `The file ${whole(file)}`;
  const source = file === '-' ? input() : createReadStream(resolve(directory, file));
  let text = '';
  try {
    for await (const chunk of source.setEncoding('utf8')) if ((text += String(chunk)).length > LONGEST) break;
  } catch (error) {
    const code = failureCode(error);
    const what = code === 'ENOENT' ? 'is not there' : code === 'EACCES' ? 'may not be read' : 'cannot be read';
    throw misused(`${from} ${what} (${code}).`, { cause: error });
  }
  const credential = text.trim().replace(/^Bearer +/i, '');
  // what a header field can carry (RFC 6750 section 2.1)
  if (text.length <= LONGEST && /^[\w.~+/=-]+$/.test(credential)) return credential;
  throw misused(
    `${from} ${credential === '' ? 'is empty' : 'holds something else'}: one line with an API key (sk-…) or the token of a session is expected, of an admin.`,
  );
}

type Differences = SyncPlan['record'];

function describePlan(terminal: Terminal, record: Differences): string {
  const { allow, switch_on, switch_off, stays_off, unchanged, covered } = record;
  const line = (mark: string, colour: 'green' | 'red' | 'dim', id: string, meaning = ''): string =>
    emphasize(terminal, colour, `${mark} ${printable(id)}${meaning === '' ? '' : `  ${meaning}`}`);
  const few = (ids: readonly string[], meaning: string): readonly string[] => {
    const rest = ids.length > FEW + 1 ? ids.length - FEW : 0;
    const shown = [...ids.slice(0, ids.length - rest), ...(rest > 0 ? [`… and ${grouped(rest)} more`] : [])];
    return shown.map((id) => line('=', 'dim', id, meaning));
  };
  const summary = amounts({
    'to allow': allow.length,
    'to switch on again': switch_on.length,
    'to switch off': switch_off.length,
    'allowed already': unchanged.length + covered.length,
    'off and staying off': stays_off.length,
  });
  return [
    ...allow.map((id) => line('+', 'green', id)),
    ...switch_on.map((id) => line('~', 'green', id, 'switched on again')),
    ...switch_off.map((id) => line('-', 'red', id)),
    ...few(stays_off, 'off, and stays off (--switch-on would switch it on)'),
    ...Array.from(
      Map.groupBy(covered, ({ by }) => by),
      ([by, { length }]) => line('=', 'dim', by, `covers ${counted(length, 'model')}: no row needed`),
    ),
    ...few(record.not_in_catalogue, 'not in the catalogue; stays on (--remove would switch it off)'),
    ...few(record.uncertain, 'not in the catalogue, which may be incomplete; stays on'),
    `${summary.join(', ') || 'Nothing to allow'}.`,
  ].join('\n');
}

const FEW = 10;

function notesOn(source: From, { record, isEmpty }: SyncPlan): Notes {
  const { left_out: leftOut, gaps, switch_off, owners } = record;
  return [
    isEmpty && 'The catalogue is empty: --from table, config and live look at different places.',
    ...LEFT_OUT.map((why) => {
      const ids = leftOut[why] ?? [];
      const shown = ids.slice(0, 3).map((id) => `${quoted(id)}${ownerOf(owners[id])}`);
      const more = ids.length > 3 ? `, and ${grouped(ids.length - 3)} more` : '';
      return ids.length > 0 && `Left out ${WHY_LEFT_OUT[why].replace('…', `: ${shown.join(', ')}${more}.`)}`;
    }),
    ...gaps,
    source === 'table' &&
      switch_off.length > 0 &&
      'The table has a row for a model only if it was edited in the backend: what is switched off here may be there all the same. --from live knows.',
  ];
}

const ownerOf = (owner: Differences['owners'][string] | undefined): string =>
  owner === undefined
    ? ''
    : ` of ${quoted('user' in owner ? (owner.user.email ?? owner.user.id) : owner.organization)}`;

const TO_ALLOW = 'To allow one all the same: `modelgate model allow ID`';

const WHY_LEFT_OUT: Readonly<Record<LeftOut, string>> = {
  presets: 'as presets… A preset works as soon as its base is allowed, and --presets allows it itself.',
  arena: `as arenas, which pick any of their members… ${TO_ALLOW}`,
  switched_off: 'as switched off in the backend…',
  unusable: 'because no request can name them, or they would be read as patterns…',
  of_users: `because users who are no admins have made them… ${TO_ALLOW}`,
  of_organizations: `as private presets of other organizations… ${TO_ALLOW}`,
};
