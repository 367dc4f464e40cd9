/** `modelgate model allow`, `deny` and `list`: what an organization grants. */
import type { Command } from '@commander-js/extra-typings';
import { quoted, quotedFew, shellCommand } from '../../backend-file/text.ts';
import { closestModel } from '../../organizations/catalogue.ts';
import { allowModels, denyModels, listGrants } from '../../organizations/grants.ts';
import { describeObstacles } from '../../organizations/standing.ts';
import { type OptionsOf, CREATE, ORG, commandOf, configureOrganization, groupOf, onDatabase } from '../options.ts';
import { counted, print } from '../report.ts';
import type { Terminal } from '../terminal.ts';
import { noteOnSwitch, notesOnReturn } from './member.ts';
import { addSync } from './sync.ts';

const declareAllow = (group: Command) =>
  onDatabase(
    group
      .command('allow')
      .summary('let an organization use models')
      .description(
        'Let an organization use models, all of those that are named or none. An id is taken exactly as it is written, never split; a * at its end, and only there, allows every id with this beginning. Presets follow their base model.',
      )
      .addOption(ORG)
      .argument('<models...>', 'ids as the backend spells them; a * at the end allows every id with this beginning')
      .addOption(CREATE)
      .option('--as-is', 'take ids that look like mistakes: spaces at an end, quotes, a list, an address'),
    'modelgate model allow openai/gpt-4o --org mai_client_acme',
    "modelgate model allow 'mistral/*' --org mai_client_acme",
  );

const declareDeny = (group: Command) =>
  onDatabase(
    group
      .command('deny')
      .summary('switch grants off')
      .description(
        'Switch grants off, and say what still allows the same models: an id can be covered by a grant such as openai/* too.',
      )
      .addOption(ORG)
      .argument('<models...>', 'ids as they were allowed')
      .option('--purge', 'delete the rows'),
    'modelgate model deny openai/gpt-4o --org mai_client_acme',
  );

const declareList = (group: Command) =>
  onDatabase(
    group
      .command('list')
      .description('list what an organization grants')
      .addOption(ORG)
      .option('--active', 'only what counts'),
    'modelgate model list --org mai_client_acme',
  );

export const addModel = groupOf(
  'model',
  'allow, deny, list and synchronize the models of an organization',
  ['modelgate model list --org mai_client_acme', 'modelgate help model allow'],
  commandOf(declareAllow, allow),
  commandOf(declareDeny, deny),
  commandOf(declareList, list),
  addSync,
);

async function allow(patterns: readonly string[], options: OptionsOf<typeof declareAllow>, terminal: Terminal) {
  const { operation, chosen } = configureOrganization(options, terminal);
  const allowed = await allowModels(operation, chosen, { patterns, asIs: options.asIs });
  const rows = allowed.record.models.map(({ pattern, kind, outcome }) => [
    ...[pattern, kind, chosen.id],
    OUTCOMES[outcome],
  ]);
  return print(terminal, options, {
    record: allowed.record,
    parts: [{ columns: ['model', 'kind', 'organization', 'result'], rows }],
    notes: [...notesOn(allowed), noteOnSwitch(chosen.id, allowed.isActive)],
  });
}

const OUTCOMES = {
  added: 'allowed',
  restored: 'allowed again',
  unchanged: 'was allowed already',
  switched_off: 'switched off',
  off_already: 'was switched off already',
  deleted: 'deleted',
} as const;

/** An id that the file does not know is the usual case with a provider, and a misspelt one looks just the same. */
function notesOn({ record, ambiguous, known }: Awaited<ReturnType<typeof allowModels>>): readonly (string | false)[] {
  const { organization, models } = record;
  const unknown = (wanted: 'exact' | 'prefix'): readonly string[] =>
    models.filter((model) => !model.known && model.kind === wanted).map(({ pattern }) => pattern);
  const [exact, prefixes] = [unknown('exact'), unknown('prefix')];
  const compare = shellCommand('modelgate', 'model', 'sync', '--from', 'live', '--dry-run', '--org', organization);
  return [
    exact.length > 0 &&
      `${named(exact)}: not in Open WebUI's model table, which is normal for models of a provider. Check the spelling, or compare: \`${compare}\``,
    ...exact.slice(0, MOST_NAMED).map((pattern) => {
      const meant = closestModel(pattern, known);
      return meant !== undefined && `Did you mean ${quoted(meant)} instead of ${quoted(pattern)}?`;
    }),
    prefixes.length > 0 &&
      known.length > 0 &&
      `No id in Open WebUI's model table begins like ${named(prefixes)}: allowed is whatever the provider has of that beginning.`,
    ambiguous.length > 0 &&
      `${named(ambiguous)}: the id of a model, too, and its grant covers every model with this beginning. No grant can name such a model alone.`,
    models.some(({ pattern }) => pattern === '*') &&
      '"*" allows every model of the backend, also those that are connected later.',
  ];
}

const MOST_NAMED = 5;

const named = (patterns: readonly string[]): string => quotedFew(patterns, MOST_NAMED);

async function deny(patterns: readonly string[], options: OptionsOf<typeof declareDeny>, terminal: Terminal) {
  const { purge = false } = options;
  const { config, operation, chosen } = configureOrganization(options, terminal);
  const { record, isEmpty } = await denyModels(operation, chosen, { patterns, purge });
  const rows = record.models.map(({ pattern, outcome }) => [pattern, chosen.id, OUTCOMES[outcome]]);
  const rest = record.models.map(({ pattern, still_allowed_by: others }) => {
    const what = pattern.endsWith('*') ? `Of what ${quoted(pattern)} covered, some` : quoted(pattern);
    return others.length > 0 && `${what} is still allowed by ${named(others)}.`;
  });
  return print(terminal, options, {
    record,
    parts: [{ columns: ['model', 'organization', 'result'], rows }],
    notes: [...rest, ...(purge ? notesOnReturn(config, chosen, 'models', { isEmpty }) : [])],
  });
}

async function list(options: OptionsOf<typeof declareList>, terminal: Terminal) {
  const { operation, chosen } = configureOrganization(options, terminal);
  const { organization, models: all } = await listGrants(operation, chosen);
  const models = options.active === true ? all.filter(({ counts }) => counts) : all;
  const rows = models.map(({ pattern, kind, name, active, in_table, covers, reasons }) => [
    ...[pattern, kind, name, active],
    kind === 'exact' ? in_table : counted(covers, 'model'),
    describeObstacles(reasons),
  ]);
  const columns = ['model', 'kind', 'name', 'active', 'in table', 'does not count'];
  return print(terminal, options, { record: { organization, models }, parts: [{ columns, rows }] });
}
