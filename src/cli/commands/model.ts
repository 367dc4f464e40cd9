/** `modelgate model allow`, `deny` and `list`: what an organization grants. */
import type { Command } from '@commander-js/extra-typings';
import { quoted, quotedFew, shellCommand } from '../../backend-file/text.ts';
import { allowModels as allowPatterns, denyModels as denyPatterns, listGrants } from '../../organizations/grants.ts';
import { closestModel } from '../../organizations/known-models.ts';
import { describeObstacles } from '../../organizations/obstacles.ts';
import { configureOrganization } from '../configured.ts';
import { asTable, counted, asJson } from '../report.ts';
import { type CommandLine, type OptionsOf, inOrganization, onDatabase, withExamples } from '../options.ts';
import { type Terminal, EXIT, say } from '../terminal.ts';
import { CREATE, warnOfOrganization, warnOfReturn } from './organization-words.ts';
import { addSync } from './sync.ts';

/** Adds `model allow`, `deny`, `list` and `sync`. */
export function addModel({ program, terminal, exitWith }: CommandLine): void {
  const group = withExamples(
    program.command('model').description('allow, deny, list and synchronize the models of an organization'),
    'modelgate model list --org mai_client_acme',
    'modelgate help model allow',
  );
  declareAllow(group).action(async (models, options) => exitWith(await allowModels(models, options, terminal)));
  declareDeny(group).action(async (models, options) => exitWith(await denyModels(models, options, terminal)));
  declareList(group).action(async (options) => exitWith(await listModels(options, terminal)));
  addSync(group, { terminal, exitWith });
}

const declareAllow = (group: Command) =>
  onDatabase(
    inOrganization(
      group
        .command('allow')
        .summary('let an organization use models')
        .description(
          'Let an organization use models, all of those that are named or none. An id is taken exactly as it is written, ' +
            'never split; a * at its end, and only there, allows every id with this beginning. Presets follow their base model.',
        ),
    )
      .argument('<models...>', 'ids as the backend spells them; a * at the end allows every id with this beginning')
      .option('--create', CREATE)
      .option('--as-is', 'take ids that look like mistakes: spaces at an end, quotes, a list, an address'),
    'modelgate model allow openai/gpt-4o --org mai_client_acme',
    "modelgate model allow 'mistral/*' --org mai_client_acme",
  );

const declareDeny = (group: Command) =>
  onDatabase(
    inOrganization(
      group
        .command('deny')
        .summary('switch grants off')
        .description(
          'Switch grants off, and say what still allows the same models: an id can be covered by a grant such as openai/* too.',
        ),
    )
      .argument('<models...>', 'ids as they were allowed')
      .option('--purge', 'delete the rows'),
    'modelgate model deny openai/gpt-4o --org mai_client_acme',
  );

const declareList = (group: Command) =>
  onDatabase(
    inOrganization(group.command('list').description('list what an organization grants')).option(
      '--active',
      'only what counts',
    ),
    'modelgate model list --org mai_client_acme',
  );

/**
 * @param patterns ids, or beginnings of ids with a `*` after them
 * @throws CommandFailure or OperationFailure; then nothing was allowed
 */
async function allowModels(
  patterns: readonly string[],
  options: OptionsOf<typeof declareAllow>,
  terminal: Terminal,
): Promise<number> {
  const { operation, chosen } = configureOrganization(options, terminal);
  const allowed = await allowPatterns(operation, chosen, { patterns, asIs: options.asIs });
  const { record } = allowed;
  terminal.write(
    options.json === true
      ? asJson(record)
      : asTable(
          terminal,
          ['model', 'kind', 'organization', 'result'],
          record.models.map(({ pattern, kind, outcome }) => [pattern, kind, chosen.id, OUTCOMES[outcome]]),
        ),
  );
  warnOfUnknown(terminal, allowed);
  warnOfOrganization(terminal, chosen, allowed);
  return EXIT.done;
}

const OUTCOMES = {
  added: 'allowed',
  restored: 'allowed again',
  unchanged: 'was allowed already',
  switched_off: 'switched off',
  off_already: 'was switched off already',
  deleted: 'deleted',
  absent: 'is no grant',
} as const;

/** An id that the file does not know is the usual case with a provider, and a misspelt one looks just the same. */
function warnOfUnknown(terminal: Terminal, { record, ambiguous, known }: Allowed): void {
  const { organization: id, models } = record;
  const unknown = (wanted: Allowed['record']['models'][number]['kind']): readonly string[] =>
    models.filter((model) => !model.known && model.kind === wanted).map(({ pattern }) => pattern);
  const [exact, prefixes] = [unknown('exact'), unknown('prefix')];
  if (exact.length > 0) {
    say(
      terminal,
      `${named(exact)} ${exact.length === 1 ? 'is' : 'are'} not in Open WebUI's model table, which is normal for models of a provider. Check the spelling, or compare: \`${shellCommand('modelgate', 'model', 'sync', '--from', 'live', '--dry-run', '--org', id)}\``,
    );
  }
  for (const pattern of exact.slice(0, MOST_NAMED)) {
    const meant = closestModel(pattern, known);
    if (meant !== undefined) say(terminal, `Did you mean ${quoted(meant)} instead of ${quoted(pattern)}?`);
  }
  if (prefixes.length > 0 && known.length > 0) {
    say(
      terminal,
      `No id in Open WebUI's model table begins like ${named(prefixes)}: ${prefixes.length === 1 ? 'it allows' : 'they allow'} whatever the provider has of that beginning.`,
    );
  }
  if (ambiguous.length > 0) {
    say(
      terminal,
      `${named(ambiguous)} ${ambiguous.length === 1 ? 'is the id of a model, too, and its grant covers' : 'are the ids of models, too, and their grants cover'} every model with this beginning: no grant can name such a model alone.`,
    );
  }
  if (models.some(({ pattern }) => pattern === '*')) {
    say(terminal, '"*" allows every model of the backend, also those that are connected later.');
  }
}

const MOST_NAMED = 5;

const named = (patterns: readonly string[]): string => quotedFew(patterns, MOST_NAMED);

type Allowed = Awaited<ReturnType<typeof allowPatterns>>;

/**
 * @param patterns as they were allowed
 * @throws CommandFailure or OperationFailure; then nothing was denied
 */
async function denyModels(
  patterns: readonly string[],
  options: OptionsOf<typeof declareDeny>,
  terminal: Terminal,
): Promise<number> {
  const { purge = false } = options;
  const { config, operation, chosen } = configureOrganization(options, terminal);
  const { record, isEmpty } = await denyPatterns(operation, chosen, { patterns, purge });
  terminal.write(
    options.json === true
      ? asJson(record)
      : asTable(
          terminal,
          ['model', 'organization', 'result'],
          record.models.map(({ pattern, outcome }) => [pattern, chosen.id, OUTCOMES[outcome]]),
        ),
  );
  for (const { pattern, still_allowed_by: others } of record.models) warnOfRest(terminal, pattern, others);
  if (purge) warnOfReturn(terminal, config, chosen, { of: 'models', isEmpty });
  return EXIT.done;
}

function warnOfRest(terminal: Terminal, pattern: string, others: readonly string[]): void {
  if (others.length === 0) return;
  const some = others.slice(0, MOST_NAMED).map((other) => quoted(other));
  const rest = others.length - some.length;
  const through = `${some.join(', ')}${rest > 0 ? ` and ${counted(rest, 'other grant')}` : ''}`;
  say(
    terminal,
    pattern.endsWith('*')
      ? `Of what ${quoted(pattern)} covered, some is still allowed by ${through}.`
      : `${quoted(pattern)} is still allowed by ${through}.`,
  );
}

/** @throws CommandFailure or OperationFailure where the file cannot be read, or no row names the organization */
async function listModels(options: OptionsOf<typeof declareList>, terminal: Terminal): Promise<number> {
  const { operation, chosen } = configureOrganization(options, terminal);
  const { organization, models: all } = await listGrants(operation, chosen);
  const models = options.active === true ? all.filter(({ counts }) => counts) : all;
  terminal.write(
    options.json === true
      ? asJson({ organization, models })
      : asTable(
          terminal,
          ['model', 'kind', 'name', 'active', 'in table', 'does not count'],
          models.map(({ pattern, kind, name, active, in_table, covers, reasons }) => [
            ...[pattern, kind, name, active],
            kind === 'exact' ? in_table : counted(covers, 'model'),
            describeObstacles(reasons),
          ]),
        ),
  );
  return EXIT.done;
}
