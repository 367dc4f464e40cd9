/** The ledger of what calls have used, budgets, and keys of organizations: what the provider door counts and keeps. */
import { parseTimeZone } from '../policy/period.ts';
import { type PostgresAddress, parsePostgresUrl } from './postgres-url.ts';
import { setting, settingWithDefault } from './row.ts';
import * as value from './value.ts';
import { string } from './value.ts';
import { z } from 'zod';

/** In the spelling of the IANA database, in whatever letter case it was typed. */
const timeZone = string
  .transform((typed) => parseTimeZone(typed) ?? '')
  .refine((zone) => zone !== '', 'there is no such zone')
  .describe('a time zone of the IANA database');

const path = (expected: string) =>
  value
    .text(4096)
    // of a union, what is not aborted is the reason, whichever alternative was meant
    .refine((typed) => !/^\w+:\//.test(typed), { error: 'it is a URL', abort: true })
    .describe(expected);

const LEDGER =
  "a file of modelgate's own, in a folder that it may write, or `postgresql://USER:PASSWORD@HOST:PORT/NAME`";

const ledger = z
  .union(
    [
      string.regex(/^postgres(?:ql)?(?:\+\w+)?:/).transform((typed, context): PostgresAddress => {
        const read = parsePostgresUrl(typed);
        if (typeof read !== 'string') return read;
        context.addIssue({ code: 'custom', message: read });
        return z.NEVER;
      }),
      path(LEDGER),
    ],
    {
      // the one that is meant
      error: ({ errors: [ofUrl, ofFile] }) => (ofUrl?.[0]?.code === 'custom' ? ofUrl : ofFile)?.[0]?.message,
    },
  )
  .describe(LEDGER);

export const SHORTEST_KEYS_SECRET = 32;

export const USAGE_SETTINGS = {
  MODELGATE_STATE_DIR: setting(path('a folder that modelgate may write'), '/var/lib/modelgate'),
  MODELGATE_USAGE_DATABASE: setting(ledger, '/var/lib/modelgate/usage.db'),
  MODELGATE_USAGE_KEEP: settingWithDefault(value.duration('1d', '3650d'), '400d'),
  MODELGATE_USAGE_WHEN_DOWN: settingWithDefault(value.word('refuse', 'pass'), 'refuse'),
  MODELGATE_TIME_ZONE: settingWithDefault(timeZone, 'UTC', 'Europe/Warsaw'),
  MODELGATE_BUDGET_RESERVE: settingWithDefault(value.word('typical', 'maximum', 'none'), 'typical'),
  MODELGATE_BUDGET_UNPRICED: settingWithDefault(value.word('refuse', 'allow'), 'refuse'),
  MODELGATE_KEYS_SECRET: setting(
    string
      .trim()
      .min(SHORTEST_KEYS_SECRET, 'it is too short')
      .describe(`at least ${SHORTEST_KEYS_SECRET} characters, known to modelgate alone`),
    '<a secret>',
    true,
  ),
  MODELGATE_KEYS_SECRET_FILE: setting(
    value.text(4096).describe('a readable file that holds the secret and nothing else'),
    '/run/secrets/modelgate_keys_secret',
  ),
} as const;

/** What each means. */
export const USAGE_MEANINGS = {
  MODELGATE_STATE_DIR:
    "Folder of what modelgate keeps for itself, where there is a provider door. In a container it must be on a volume; best on one of its own, which the backend cannot write and the backend's backups do not take along. Not set: `modelgate` beside the backend's file. It is made where it is missing.",
  MODELGATE_USAGE_DATABASE:
    "Where tokens and money of every call through the provider door stand: a SQLite file, or a database on PostgreSQL, whose URL stands in the environment alone where it has a password. Not set: `usage.db` in `MODELGATE_STATE_DIR`; where that is not set either and the backend's database is on PostgreSQL, the ledger is in it, which several gates need.",
  MODELGATE_USAGE_KEEP: 'How long single calls are kept. Their sums are kept for ever.',
  MODELGATE_USAGE_WHEN_DOWN:
    'When the ledger cannot be written: `refuse` answers 503 to what runs a model; `pass` lets it through, and the log has its usage alone.',
  MODELGATE_TIME_ZONE:
    'Where days, weeks and months of budgets and reports begin, for organizations without a time zone of their own.',
  MODELGATE_BUDGET_RESERVE:
    "What a call takes of a budget before its cost is known: `typical`, twice the organization's mean for this model; `maximum`, all that it may cost, so that no budget is ever exceeded; `none`.",
  MODELGATE_BUDGET_UNPRICED:
    'Models without a known price, where a budget in money refuses: refused too, or not counted.',
  MODELGATE_KEYS_SECRET:
    'Encrypts the keys of organizations (`modelgate key set`). This or `MODELGATE_KEYS_SECRET_FILE` is needed for them; with another one they cannot be read.',
  MODELGATE_KEYS_SECRET_FILE: 'File that holds that secret.',
};
