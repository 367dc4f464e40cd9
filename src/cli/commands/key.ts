/** `modelgate key set`, `list` and `remove`: keys of their own that organizations have with providers. No output has one. */
import { Option } from '@commander-js/extra-typings';
import { quoted, quotedFew } from '../../backend-file/text.ts';
import { reading } from '../../backend-file/transaction.ts';
import { loadConfig, loadStoreConfig } from '../../config/load.ts';
import type { LedgerConfig } from '../../config/usage.ts';
import { nearest } from '../../nearest.ts';
import { requireOrganization } from '../../organizations/organizations.ts';
import type { Connection } from '../../store/database.ts';
import { listOpenrouterKeys } from '../../store/provider-settings.ts';
import { createOrganizationKeys, endOf } from '../../usage/keys.ts';
import { accept } from '../configuration-failure.ts';
import { environmentWith } from '../database.ts';
import { changingLedger, ifReadable, readingLedger } from '../ledger.ts';
import { type UsageOptions, contextOn, groupOf, usageCommand } from '../options.ts';
import { tableOf } from '../report.ts';
import { type Terminal, CommandFailure, EXIT, askHidden, misused } from '../terminal.ts';

const PROVIDER = ['--provider <host>', 'host of the provider, with its port where the address has one'] as const;

const MAI_DATABASE = new Option(
  '--database <file>',
  "the backend's SQLite file, for keys that mAI keeps (default: of DATABASE_URL, where it is set)",
);

const addSet = usageCommand(
  'set',
  `give an organization a key of its own with a provider
The provider door then sends it for every call that this organization pays for, from the next one on. The key is read from standard input, and asked for on a terminal. It is kept encrypted with MODELGATE_KEYS_SECRET.
$ modelgate key set mai_client_acme --provider openrouter.ai < key.txt`,
  (command) => command.argument('<org>', 'id of the organization').requiredOption(...PROVIDER),
  async (organization, options, { config, ledger, terminal }) => {
    const secret = requireSecret(config);
    const provider = requireProvider(options.provider, config.providerHosts);
    const isChecked = await checkOrganization(organization, options, terminal);
    const key = await readKey(terminal, options, `Key of ${quoted(organization)} for ${provider}: `);
    const set = (connection: Connection) => {
      const keys = createOrganizationKeys(connection, secret);
      const result = keys.open(organization, provider).kind === 'none' ? 'added' : 'replaced';
      return { organization, provider, ends_with: keys.set(organization, provider, key, Date.now()), result };
    };
    const record = await changingLedger(ledger, set, { mayBeNew: true });
    return {
      record,
      parts: [tableOf([record], { ...COLUMNS, key: ({ ends_with: end }) => shownEnd(end), result: 'result' })],
      notes: [
        !isChecked &&
          `No database is named, so it was not checked whether there is an organization ${quoted(organization)}.`,
      ],
    };
  },
);

const addList = usageCommand(
  'list',
  `list the keys of organizations, of each its last four characters
Where a database is named, those too that mAI keeps for openrouter.ai: each counts where none was set here.
$ modelgate key list
$ modelgate key list --database data/webui.db`,
  (command) => command.addOption(MAI_DATABASE),
  async (options, { config: { keysSecret }, ledger, terminal }) => {
    const found = await readingLedger(ledger, (connection) => createOrganizationKeys(connection, keysSecret).list());
    const own = found.map(({ endsWith, setAt, ...key }) => ({
      ...{ ...key, ends_with: endsWith, set_at: new Date(setAt).toISOString(), source: 'modelgate' as const },
    }));
    const ofMai = await readKeysOfMai(options, terminal);
    const keys = [...own, ...(ofMai.keys ?? [])].toSorted(byPlace);
    const table = tableOf(keys, {
      ...COLUMNS,
      key: ({ ends_with: end }) => shownEnd(end),
      set: ({ set_at: at }) => at ?? 'by mAI',
      state: (key) => stateOf(key, own),
    });
    const why = keysSecret === undefined ? 'is not set' : 'is another one than when these keys were set';
    return {
      record: { keys },
      parts: [keys.length === 0 ? 'No organization has a key of its own.' : table],
      notes: [
        own.some(({ opens }) => !opens) &&
          `MODELGATE_KEYS_SECRET ${why}. Calls that they would pay for are refused. Bring the secret back, or set the keys again, or remove them.`,
        ofMai.problem !== undefined && `The keys that mAI keeps are not known. ${ofMai.problem}`,
      ],
    };
  },
);

const addRemove = usageCommand(
  'remove',
  `take a key of an organization away
Its calls are then made with the key that all organizations share.
$ modelgate key remove mai_client_acme --provider openrouter.ai`,
  (command) => command.argument('<org>', 'id of the organization').requiredOption(...PROVIDER),
  async (organization, options, { config, ledger }) => {
    const provider = options.provider.toLowerCase();
    await changingLedger(ledger, (connection) => {
      if (createOrganizationKeys(connection, config.keysSecret).remove(organization, provider)) return;
      const sentence = `${quoted(organization)} has no key of its own for ${quoted(provider)}. Nothing was changed. To see all of them: \`modelgate key list\``;
      throw new CommandFailure(sentence);
    });
    const record = { organization, provider, result: 'deleted' };
    return { record, parts: [tableOf([record], { ...COLUMNS, result: 'result' })] };
  },
);

export const addKey = groupOf(
  'key',
  `set, list and remove keys that organizations have with providers
$ modelgate key list
$ modelgate help key set`,
  ...[addSet, addList, addRemove],
);

const COLUMNS = { organization: 'organization', provider: 'provider' } as const;

type Place = Readonly<Record<'organization' | 'provider' | 'source', string>>;

const byPlace = (left: Place, right: Place): number => (nameOf(left) < nameOf(right) ? -1 : 1);
const nameOf = ({ organization, provider, source }: Place): string => [organization, provider, source].join('\n');

/** @param own those that were set here */
function stateOf({ opens, ...key }: Place & { readonly opens: boolean }, own: readonly Place[]): string {
  const isReplaced =
    key.source === 'mai' &&
    own.some(({ organization, provider }) => organization === key.organization && provider === key.provider);
  if (isReplaced) return 'replaced by the one that was set here';
  return opens ? 'in use' : 'cannot be read';
}

const shownEnd = (endsWith: string): string => `…${endsWith}`;

function requireSecret({ keysSecret }: LedgerConfig): string {
  if (keysSecret !== undefined) return keysSecret;
  throw new CommandFailure(NO_SECRET, EXIT.misused, { code: 'configuration_invalid' });
}

const NO_SECRET =
  'Keys of organizations are encrypted with a secret, and none is set. Set MODELGATE_KEYS_SECRET or MODELGATE_KEYS_SECRET_FILE, the same for the gate (openssl rand -hex 32 makes one).';

/** A misspelled host would be a key that is never used. @throws CommandFailure with exit code 2, without a key that stands in its place */
function requireProvider(typed: string, hosts: readonly string[]): string {
  const provider = typed.toLowerCase();
  if (!/^[^\s/]+$/.test(provider)) {
    throw misused('--provider takes a host such as openrouter.ai, without scheme and path. Nothing was changed.');
  }
  if (hosts.length === 0 || hosts.includes(provider)) return provider;
  const meant = nearest(provider, hosts);
  const known = meant === undefined ? `They are ${quotedFew(hosts, 5)}.` : `Did you mean ${quoted(meant)}?`;
  throw misused(`--provider is the host of none of MODELGATE_PROVIDERS. Nothing was changed. ${known}`);
}

/** @returns undefined where no database is named @throws CommandFailure where the one of `--database` cannot be one */
function findBackend(options: UsageOptions, terminal: Terminal) {
  const { database, config: file } = options;
  const environment = environmentWith(terminal, database);
  const parsed = loadStoreConfig({ environment, directory: terminal.directory, file });
  if (parsed.issues !== undefined && database === undefined) return undefined;
  return contextOn(accept(parsed, { database }).config, terminal, options);
}

/** @returns false where no database is named @throws OperationFailure where the database knows no such organization */
async function checkOrganization(id: string, options: UsageOptions, terminal: Terminal): Promise<boolean> {
  const backend = findBackend(options, terminal);
  if (backend === undefined) return false;
  const { config, operation } = backend;
  const chosen = { id, isConfigured: id === config.organization?.id, mayBeNew: false };
  await reading(operation, 'organizations', (connection, schema) =>
    requireOrganization(connection, schema, chosen, 'change'),
  );
  return true;
}

/** @returns a problem where a database that only the settings name cannot be read @throws OperationFailure where one of `--database` cannot */
async function readKeysOfMai(options: UsageOptions, terminal: Terminal): Promise<FoundOfMai> {
  const backend = findBackend(options, terminal);
  if (backend === undefined) return {};
  const environment = environmentWith(terminal, options.database);
  const door = loadConfig({ environment, directory: terminal.directory, file: options.config });
  const accessKeys = door.issues === undefined ? (door.config.provider?.accessKeys ?? []) : [];
  const read = async (): Promise<FoundOfMai> => {
    const stored = await reading(backend.operation, 'backend', listOpenrouterKeys);
    // what mAI sends to the provider door stands in the same column
    const ofProvider = stored.filter(({ key }) => !accessKeys.includes(key));
    return {
      keys: ofProvider.map(({ organization, key }) => ({
        ...{ organization, provider: MAI_PROVIDER, opens: CARRIED.test(key) },
        ...{ ends_with: endOf(key), set_at: null, source: 'mai' },
      })),
    };
  };
  return options.database === undefined ? ifReadable(read) : read();
}

interface FoundOfMai {
  readonly keys?: readonly KeyOfMai[];
  readonly problem?: string;
}

interface KeyOfMai {
  readonly organization: string;
  readonly provider: string;
  readonly opens: boolean;
  readonly ends_with: string;
  readonly set_at: null;
  readonly source: 'mai';
}

const MAI_PROVIDER = 'openrouter.ai';

/** Longer than any key there is. */
const LONGEST = 8_192;
/** What a header can carry. */
const CARRIED = /^[!-~]+$/;

/** Never from the command line, which every process of the machine can read. @throws CommandFailure, without the text */
async function readKey(terminal: Terminal, { json }: UsageOptions, question: string): Promise<string> {
  const { input, error } = terminal.screen;
  if (input && (json === true || !error)) throw misused(`The key is read from standard input: … < key.txt`);
  const typed = input ? await askHidden(terminal, question) : await readAll(terminal);
  if (typed === undefined) throw new CommandFailure('Nothing was changed.', EXIT.failed, { code: 'declined' });
  const key = typed.trim();
  if (key.length <= LONGEST && CARRIED.test(key)) return key;
  const from = input ? 'What was typed' : 'Standard input';
  const found = key === '' ? 'is empty' : 'holds something else';
  throw misused(
    `${from} ${found}: the key as the provider has given it is expected, one line without spaces. Nothing was changed.`,
  );
}

async function readAll({ input }: Terminal): Promise<string> {
  let text = '';
  for await (const chunk of input().setEncoding('utf8')) if ((text += String(chunk)).length > 2 * LONGEST) break;
  return text;
}
