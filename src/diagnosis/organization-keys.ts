/** Keys that mAI has for organizations, and sends to the provider door in the place of the access key. */
import { quotedFew } from '../backend-file/text.ts';
import type { Connection } from '../store/database.ts';
import { listOpenrouterKeys } from '../store/provider-settings.ts';
import type { Schema } from '../store/schema.ts';
import { type Verdict, warning } from './finding.ts';

interface Door {
  readonly providers: readonly { readonly url: URL }[];
  readonly accessKeys: readonly string[];
}

/** What mAI looks for in the address of a connection (`routers/openai.py`). */
const SENT_TO = 'openrouter.ai';
const SHOWN = 5;

export function checkOrganizationKeys(
  connection: Connection,
  schema: Schema,
  { providers, accessKeys }: Door,
): readonly Verdict[] {
  if (!providers.some(({ url }) => url.href.includes(SENT_TO))) return [];
  const refused = listOpenrouterKeys(connection, schema).filter(({ key }) => !accessKeys.includes(key));
  if (refused.length === 0) return [];
  const organizations = quotedFew(
    refused.map(({ organization }) => organization),
    SHOWN,
  );
  return [
    warning(
      `client_organizations.openrouter_api_key has a key of OpenRouter for ${organizations}. Calls for which mAI sends it to the provider door are refused (401).`,
      'Put an access key in the place of each, a line of its own in MODELGATE_PROVIDER_ACCESS_KEY_FILE: the column takes none twice. Give the key of OpenRouter to the gate: `modelgate key set ORGANIZATION --provider openrouter.ai`',
    ),
  ];
}
