/** Limits. The defaults are far above what the page of Open WebUI sends (0.6.18 and 0.12.4, loaded ten times a minute). */
import { z } from 'zod';
import { DURATION, lastReason, millisecondsOf, reasonWhere, settingWithDefault, string } from './value.ts';

/** The arithmetic is exact below it. */
const LARGEST = 1_000_000;

const offOr = <T>(schema: z.ZodType<T, string>) => z.union([z.literal('off'), schema], lastReason);

const whole = (what: string) =>
  string
    .min(1, { error: `${what} is missing`, abort: true })
    .regex(/^\d{1,9}$/, `${what} is not a whole number`)
    .transform(Number)
    .pipe(z.number().max(LARGEST, `${what} is larger than ${LARGEST}`));

const countOf = (what: string) =>
  whole(what).pipe(z.number().min(1, 'it would refuse everything; `off` switches a limit off'));

/** Whole seconds, as the header fields that announce a limit need them. */
const windowSeconds = string
  .regex(DURATION, {
    abort: true,
    ...reasonWhere(
      [/^\d+$/, 'its window has no unit, as in `1m`'],
      [/^[smhd]$/, 'its window has no number, as in `1m`'],
      [/^/, 'its window is no duration, as in `1m`'],
    ),
  })
  .refine((text) => !text.endsWith('ms'), 'its window is not in whole seconds')
  .transform((text) => millisecondsOf(text) / 1_000)
  .pipe(z.number().min(1, 'its window is too short').max(86_400, 'its window is too long'));

const rateParts = z.object({
  count: countOf('the count before the slash'),
  burst: whole('the burst after the colon').optional(),
  window: windowSeconds,
});

/** `120/1m:40`: 120 a minute in the long run, and 40 more than are due at once; without a burst the whole count. */
const rate = string
  .regex(/^[^/:]*(?:\/[^/:]*)?(?::[^/:]*)?$/, { error: 'there is too much in it', abort: true })
  .regex(/\//, 'it has no window, which comes after a slash: `120/1m`')
  .transform((text): z.input<typeof rateParts> => {
    const [count = '', window = '', burst] = text.split(/[/:]/);
    return { count, window, burst };
  })
  .pipe(rateParts)
  .transform(({ count, burst = count - 1, window }) => ({ count, windowSeconds: window, burst }));

const rateSetting = (fallback: string, meaning: string) =>
  settingWithDefault(offOr(rate), fallback, {
    expected:
      '`COUNT/WINDOW` or `COUNT/WINDOW:BURST` with whole numbers up to 1000000 and a window from 1s to 1d, or `off`',
    meaning,
  });

export const LIMIT_SETTINGS = {
  MODELGATE_LIMIT_ADDRESS: rateSetting(
    '600/1m:300',
    'API requests without a valid session or key, by client address (IPv6 by /64); a sign-in counts as ten, from any client. `COUNT/WINDOW:BURST` as nginx means `burst … nodelay`: so many a window in the long run, and BURST more than are due at once (not given: the whole count). `off`: no limit.',
  ),
  MODELGATE_LIMIT_USER: rateSetting('1200/1m:600', 'All API requests of a user.'),
  MODELGATE_LIMIT_CHAT: rateSetting('240/1m:120', 'Requests that run a model, by user.'),
  MODELGATE_LIMIT_ORGANIZATION: rateSetting(
    '6000/1m:2000',
    'The same, by the organization whose grant permitted them.',
  ),
  MODELGATE_LIMIT_CONCURRENT_CHATS: settingWithDefault(offOr(countOf('it')), '32', {
    expected: 'a whole number up to 1000000, or `off`',
    meaning: 'Requests of one user that run a model at the same time; a stream counts until it ends.',
  }),
};
