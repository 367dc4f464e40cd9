/** `modelgate price import`: the prices that LiteLLM, models.dev and OpenRouter publish. */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { toFailure, unchanged } from '../../backend-file/failure.ts';
import { type Imported, importPrices } from '../../usage/price-changes.ts';
import { modelsInFile } from '../../usage/price-sources.ts';
import { changingLedger } from '../ledger.ts';
import { usageCommand } from '../options.ts';
import { type Fact, counted, grouped } from '../report.ts';

export const addImport = usageCommand(
  'import',
  `import published prices and the limits of models
Takes LiteLLM's model_prices_and_context_window.json, the api.json of models.dev, and the answer of OpenRouter's /models. Holds where neither the operator nor the provider's own list has a price, for calls from now on. Only prices that are others than before are written.
$ modelgate price import model_prices_and_context_window.json`,
  (command) => command.argument('<file>', 'JSON file of LiteLLM, models.dev or OpenRouter'),
  async (file, _, { ledger, terminal }) => {
    const path = resolve(terminal.directory, file);
    const { format, models } = readModels(path);
    const counts = await changingLedger(ledger, (connection) => importPrices(connection, models, Date.now()), {
      mayBeNew: true,
    });
    const { new: added = 0, changed = 0, same = 0, ...skipped } = counts;
    const record = { file: path, format, read: models.length, new: added, changed, same, skipped };
    const facts: readonly Fact[] = [
      ['read', `${counted(models.length, 'model')}, as ${FORMATS[format]} has them`],
      ['prices', `${grouped(added)} new, ${grouped(changed)} changed, ${grouped(same)} as they were`],
      ...Object.entries(skipped).map(([why, count], at): Fact => [
        at === 0 ? 'left out' : '',
        `${grouped(count)} ${WHY[why as keyof typeof skipped]}`,
      ]),
    ];
    return { record, parts: [facts] };
  },
);

const FORMATS = { litellm: 'LiteLLM', 'models.dev': 'models.dev', openrouter: 'OpenRouter' } as const;

const WHY: Readonly<Record<Exclude<Imported, 'new' | 'changed' | 'same'>, string>> = {
  unknown_provider: 'of providers whose address is not known here',
  other_unit: 'that are not charged by the token: pictures, sound, video',
  no_price: 'without a price by the token',
  zero: 'with nothing but zeros, which may be a subscription, or not known',
  implausible: 'with a price that no model has',
  repeated: 'that stood there twice',
};

/** @throws OperationFailure where the file cannot be read, or is of no known form */
function readModels(path: string) {
  let content: unknown;
  try {
    content = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw toFailure(error, path);
    throw unchanged(`${path} is no JSON.`, EXPECTED, { cause: error });
  }
  const found = modelsInFile(content);
  if (found === undefined) throw unchanged(`${path} holds no prices in a known form.`, EXPECTED);
  return found;
}

const EXPECTED =
  "Expected is LiteLLM's model_prices_and_context_window.json, the api.json of models.dev, or the answer of OpenRouter's /models.";
