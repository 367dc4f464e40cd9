/**
 * Settings of how often and how many at once. The defaults are far above what the page of Open WebUI does (0.6.18 and
 * 0.12.4, loaded fresh ten times in a minute in Chromium), and below what a script does that has run wild.
 */
import * as limit from './limit-value.ts';
import type { RateLimit } from './schema.ts';
import { setting } from './setting.ts';
import type { Setting } from './setting.ts';

const rate = (fallback: string, meaning: string): Setting<RateLimit | 'off'> =>
  setting({
    schema: limit.rate,
    expected:
      '`COUNT/WINDOW` or `COUNT/WINDOW:BURST` with whole numbers up to 1000000 and a window from 1s to 1d, or `off`',
    fallback,
    example: fallback,
    meaning,
  });

export const LIMIT_SETTINGS = {
  MODELGATE_LIMIT_ADDRESS: rate(
    '600/1m:300',
    'API requests without a valid session or key, by client address (IPv6 by /64); a sign-in counts as ten, whoever sends it. `COUNT/WINDOW:BURST` as nginx means `burst … nodelay`: so many a window in the long run, and BURST more than are due at once (not given: the whole count). `off`: no limit.',
  ),
  MODELGATE_LIMIT_USER: rate('1200/1m:600', 'All API requests of a user.'),
  MODELGATE_LIMIT_CHAT: rate('240/1m:120', 'Requests that run a model, by user.'),
  MODELGATE_LIMIT_ORGANIZATION: rate('6000/1m:2000', 'The same, by the organization whose grant permitted them.'),
  MODELGATE_LIMIT_CONCURRENT_CHATS: setting({
    schema: limit.concurrency,
    expected: 'a whole number up to 1000000, or `off`',
    fallback: '32',
    example: '32',
    meaning: 'Requests of one user that run a model at the same time; a stream counts until it ends.',
  }),
};
