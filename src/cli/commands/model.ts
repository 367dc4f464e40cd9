/** `modelgate model allow`, `deny` and `list`: what an organization grants. */
import { quoted, quotedFew, shellCommand } from '../../backend-file/text.ts';
import { closestModel } from '../../organizations/catalogue.ts';
import { allowModels, denyModels, listGrants } from '../../organizations/grants.ts';
import { describeObstacles } from '../../organizations/standing.ts';
import { CREATE, organizationCommand, groupOf } from '../options.ts';
import { type Notes, counted, tableOf } from '../report.ts';
import { noteOnSwitch, notesOnReturn, outcomeOf } from './member.ts';
import { addSync } from './sync.ts';

const addAllow = organizationCommand(
  'allow',
  `let an organization use models
All of those that are named, or none. An id is taken exactly as it is written, never split; a * at its end, and only there, allows every id with this beginning. Presets follow their base model.
$ modelgate model allow openai/gpt-4o --org mai_client_acme
$ modelgate model allow 'mistral/*' --org mai_client_acme`,
  (command) =>
    command
      .argument('<models...>', 'ids as the backend spells them; a * at the end allows every id with this beginning')
      .addOption(CREATE)
      .option('--as-is', 'take ids that look like mistakes: spaces at an end, quotes, a list, an address'),
  async (patterns, options, { operation, chosen }) => {
    const allowed = await allowModels(operation, chosen, { patterns, asIs: options.asIs });
    const { record } = allowed;
    const columns = { model: 'pattern', kind: 'kind', organization: () => chosen.id, result: outcomeOf } as const;
    return {
      record,
      parts: [tableOf(record.models, columns)],
      notes: [...notesOn(allowed), noteOnSwitch(chosen.id, allowed.isActive)],
    };
  },
);

const addDeny = organizationCommand(
  'deny',
  `switch grants off
What still allows the same models is said: an id can be covered by a grant such as openai/* too.
$ modelgate model deny openai/gpt-4o --org mai_client_acme`,
  (command) => command.argument('<models...>', 'ids as they were allowed').option('--purge', 'delete the rows'),
  async (patterns, options, { config, operation, chosen }) => {
    const { purge = false } = options;
    const { record, isEmpty } = await denyModels(operation, chosen, { patterns, purge });
    const rest = record.models.map(({ pattern, still_allowed_by: others }) => {
      const what = pattern.endsWith('*') ? `Of what ${quoted(pattern)} covered, some` : quoted(pattern);
      return others.length > 0 && `${what} is still allowed by ${named(others)}.`;
    });
    return {
      record,
      parts: [tableOf(record.models, { model: 'pattern', organization: () => chosen.id, result: outcomeOf })],
      notes: [...rest, ...(purge ? notesOnReturn(config, chosen, 'models', { isEmpty }) : [])],
    };
  },
);

const addList = organizationCommand(
  'list',
  'list what an organization grants\n$ modelgate model list --org mai_client_acme',
  (command) => command.option('--active', 'only what counts'),
  async (options, { operation, chosen }) => {
    const { organization, models: all } = await listGrants(operation, chosen);
    const models = options.active === true ? all.filter(({ counts }) => counts) : all;
    const table = tableOf(models, {
      ...({ model: 'pattern', kind: 'kind', name: 'name', active: 'active' } as const),
      'in table': ({ kind, in_table, covers }) => (kind === 'exact' ? in_table : counted(covers, 'model')),
      'does not count': ({ reasons }) => describeObstacles(reasons),
    });
    return { record: { organization, models }, parts: [table] };
  },
);

export const addModel = groupOf(
  'model',
  `allow, deny, list and synchronize the models of an organization
$ modelgate model list --org mai_client_acme
$ modelgate help model allow`,
  ...[addAllow, addDeny, addList, addSync],
);

/** An id that the file does not know is the usual case with a provider, and a misspelt one looks just the same. */
function notesOn({ record, ambiguous, known }: Awaited<ReturnType<typeof allowModels>>): Notes {
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
