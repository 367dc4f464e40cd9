/** The provider door. It is off until its port is set; names that the backend has keep the backend's names. */
import { z } from 'zod';
import { setting, settingWithDefault } from './row.ts';
import * as value from './value.ts';
import { string } from './value.ts';

const providerUrl = string
  .transform((text) => (URL.canParse(text) ? new URL(text) : undefined))
  .pipe(z.instanceof(URL, { error: 'there is a text in it that is no URL' }))
  .refine(({ protocol }) => /^https?:$/.test(protocol), 'there is an address whose scheme is neither http nor https')
  .refine(({ username, password }) => username === '' && password === '', 'there is an address with credentials in it')
  .refine(({ search, hash }) => search === '' && hash === '', 'there is an address with a query or a fragment');

const providerUrls = string
  .transform((text) => text.split(/[\s,]+/).filter((url) => url !== ''))
  .pipe(z.array(providerUrl).min(1, 'there is no address in it'))
  .describe('base URLs of providers, separated by spaces');

/** `HOST=PREFIX`, separated by commas. */
const prefixes = string
  .transform((text) => text.split(',').map((pair) => pair.trim()))
  .refine((pairs) => pairs.every((pair) => /^[^=\s]+=[^=\s]+$/.test(pair)), 'there is an entry that is not HOST=PREFIX')
  .transform((pairs) => new Map(pairs.map((pair) => pair.split('=', 2) as [string, string])))
  .describe('`HOST=PREFIX`, separated by commas');

const paths = string
  .transform((text) => text.split(',').map((path) => path.trim().replace(/^\//, '')))
  .refine(
    (all) => all.every((path) => /^[\w./-]+$/.test(path) && !path.includes('..')),
    'there is an entry that is no path',
  )
  .transform((all): ReadonlySet<string> => new Set(all))
  .describe('paths behind the address and version of a provider, separated by commas');

const hosts = string
  .transform((text) => text.split(',').map((host) => host.trim().toLowerCase()))
  .refine((all) => all.every((host) => /^[^\s/]+$/.test(host)), 'there is an entry that is no host')
  .transform((all): ReadonlySet<string> => new Set(all))
  .describe('hosts of providers, with a port where the address has one, separated by commas');

/** Without the spaces at its ends, as the backend reads its own. */
const secret = (expected: string) => setting(string.trim().min(1).describe(expected), '<a secret>', true);

const file = string.max(4096).describe('a readable file');

const serviceModels = z
  .union(
    [
      z.literal('auto'),
      string
        .transform((text) => text.split(',').map((id) => id.trim()))
        .refine((ids) => !ids.includes(''), 'there is an empty entry between two commas')
        .transform((ids): ReadonlySet<string> => new Set(ids)),
    ],
    value.lastReason,
  )
  .describe('`auto`, or model ids separated by commas');

/** Another word for `refuse` would be taken for an organization, and refuse nothing. */
const organization = string
  .max(256, 'it is longer than 256 characters')
  .refine((text) => text === text.trim() && text !== '', 'there is a space at one of its ends')
  .refine((text) => text === 'refuse' || !/^(?:refused?|none|no|off|false|deny)$/i.test(text), 'write `refuse`')
  .describe('`refuse`, or the id of an organization');

export const PROVIDER_SETTINGS = {
  MODELGATE_PROVIDER_PORT: setting(value.port, '8081'),
  MODELGATE_PROVIDER_HOST: settingWithDefault(value.host, '0.0.0.0'),
  MODELGATE_PROVIDER_ACCESS_KEY: secret(
    'at least 32 characters; several keys, one a line, while one takes the place of another',
  ),
  MODELGATE_PROVIDER_ACCESS_KEY_FILE: setting(file, '/run/secrets/modelgate_access_key'),
  MODELGATE_PROVIDERS: setting(providerUrls, 'https://openrouter.ai/api/v1 http://ollama:11434'),
  OPENROUTER_API_KEY: secret('the key of openrouter.ai'),
  OPENAI_API_KEY: secret('the key of api.openai.com'),
  ANTHROPIC_API_KEY: secret('the key of api.anthropic.com'),
  MODELGATE_PROVIDER_KEYS_FILE: setting(file, '/run/secrets/provider_keys.yaml'),
  MODELGATE_PROVIDER_PREFIX: setting(prefixes, 'openrouter.ai=or'),
  FORWARD_USER_INFO_HEADER_USER_ID: settingWithDefault(value.headerName, 'X-OpenWebUI-User-Id'),
  FORWARD_USER_INFO_HEADER_JWT: settingWithDefault(value.headerName, 'X-OpenWebUI-User-Jwt'),
  FORWARD_USER_INFO_HEADER_JWT_SECRET: secret("the backend's value"),
  FORWARD_USER_INFO_HEADER_USER_NAME: settingWithDefault(value.headerName, 'X-OpenWebUI-User-Name'),
  FORWARD_USER_INFO_HEADER_USER_EMAIL: settingWithDefault(value.headerName, 'X-OpenWebUI-User-Email'),
  FORWARD_USER_INFO_HEADER_USER_ROLE: settingWithDefault(value.headerName, 'X-OpenWebUI-User-Role'),
  FORWARD_SESSION_INFO_HEADER_MESSAGE_ID: settingWithDefault(value.headerName, 'X-OpenWebUI-Message-Id'),
  FORWARD_SESSION_INFO_HEADER_CHAT_ID: settingWithDefault(value.headerName, 'X-OpenWebUI-Chat-Id'),
  FORWARD_USER_INFO_HEADER_AUTH_TYPE: settingWithDefault(value.headerName, 'X-OpenWebUI-Auth-Type'),
  MODELGATE_PROVIDER_SERVICE_MODELS: settingWithDefault(serviceModels, 'auto', 'gpt-4o-mini,text-embedding-3-small'),
  MODELGATE_PROVIDER_UNATTRIBUTED: settingWithDefault(organization, 'refuse', 'mai_client_companyname'),
  MODELGATE_PROVIDER_EXTRA_PATHS: setting(paths, 'files,batches'),
  MODELGATE_PROVIDER_LIST_CACHE: settingWithDefault(value.duration('0ms', '1h'), '60s'),
  MODELGATE_PROVIDER_DISCONNECT: settingWithDefault(value.word('abort', 'drain'), 'abort'),
  MODELGATE_PROVIDER_NO_STREAM_OPTIONS: setting(hosts, 'ollama:11434'),
  MODELGATE_PROVIDER_USER_FIELD: setting(value.word('off', 'organization', 'user'), 'organization'),
} as const;

/** What each means. */
export const PROVIDER_MEANINGS = {
  MODELGATE_PROVIDER_PORT:
    'Port of the provider door, which stands between the backend and its providers. Never publish it. Not set: there is no such door.',
  MODELGATE_PROVIDER_HOST: 'Address that the provider door listens on.',
  MODELGATE_PROVIDER_ACCESS_KEY:
    "What the backend's connections have as their API key. This or `MODELGATE_PROVIDER_ACCESS_KEY_FILE` is **required** with the port.",
  MODELGATE_PROVIDER_ACCESS_KEY_FILE: 'File that holds the access key.',
  MODELGATE_PROVIDERS:
    'Providers that the door leads to. In the backend, `http://modelgate:8081/` comes before each address in the place of its scheme: `http://modelgate:8081/openrouter.ai/api/v1`. Not set: OpenRouter, where OPENROUTER_API_KEY is set.',
  OPENROUTER_API_KEY: 'Key that is sent to openrouter.ai.',
  OPENAI_API_KEY: 'Key that is sent to api.openai.com.',
  ANTHROPIC_API_KEY: 'Key that is sent to api.anthropic.com.',
  MODELGATE_PROVIDER_KEYS_FILE: 'YAML file with the keys of all other providers, one `HOST: KEY` a line.',
  MODELGATE_PROVIDER_PREFIX:
    "The prefix id of the backend's connection to a provider, where the backend has it from its environment and not in its database.",
  FORWARD_USER_INFO_HEADER_USER_ID:
    "The backend's own setting: header with the id of the user for whom a call is made.",
  FORWARD_USER_INFO_HEADER_JWT: "The backend's own setting: header with the signed form of the same.",
  FORWARD_USER_INFO_HEADER_JWT_SECRET:
    "The backend's own setting (from 0.9.6): key of the signed form. Where it is set, only the signed form counts.",
  FORWARD_USER_INFO_HEADER_USER_NAME:
    "The backend's own setting: header with the name of the user. No provider gets it.",
  FORWARD_USER_INFO_HEADER_USER_EMAIL:
    "The backend's own setting: header with the address of the user. No provider gets it.",
  FORWARD_USER_INFO_HEADER_USER_ROLE:
    "The backend's own setting: header with the role of the user. No provider gets it, and it is not believed.",
  FORWARD_SESSION_INFO_HEADER_MESSAGE_ID:
    "The backend's own setting: header with the id of the message. No provider gets it.",
  FORWARD_SESSION_INFO_HEADER_CHAT_ID: "The backend's own setting: header with the id of the chat.",
  FORWARD_USER_INFO_HEADER_AUTH_TYPE: "The backend's own setting: header with how the user has signed in.",
  MODELGATE_PROVIDER_SERVICE_MODELS:
    "Models that the backend runs for itself: tasks, embedding, reranking. Every user with an organization may reach them through the backend. `auto`: what the backend's settings in its database name.",
  MODELGATE_PROVIDER_UNATTRIBUTED:
    'Calls without a user (speech to text of 0.6.18, embedding of a new knowledge base): refused, or for this organization, where they are for service models.',
  MODELGATE_PROVIDER_EXTRA_PATHS:
    'Endpoints of providers that are not judged, and are open to admins of the backend alone. Not set: none, and every endpoint that is not known answers 404.',
  MODELGATE_PROVIDER_LIST_CACHE:
    "How long a provider's list of models is kept. While the provider fails, the last list serves for ten minutes.",
  MODELGATE_PROVIDER_DISCONNECT:
    'When the backend goes away in the middle of an answer: `abort` ends the call at the provider too, and what it has cost is asked for or estimated; `drain` reads on, for a minute at most, so that the provider says it.',
  MODELGATE_PROVIDER_NO_STREAM_OPTIONS:
    'Providers that refuse `stream_options`: they are not asked for the usage of a stream, which is then estimated. Not set: none.',
  MODELGATE_PROVIDER_USER_FIELD:
    "What providers get as `user`, in the place of what the backend has sent: `organization`, its id; `user`, that id and a digest of the user's; `off`, nothing is changed. Not set: `user` where `OPENROUTER_EXTERNAL_USER` is set, as mAI has it, and `off` elsewhere.",
};
