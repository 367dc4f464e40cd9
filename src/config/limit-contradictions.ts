/** Limits that would have no effect beside each other. */
import type { GivenSettings } from './given.ts';
import type { ConfigIssue } from './issue.ts';
import { quote } from './issue.ts';
import type { RateLimit } from './schema.ts';
import type { Values } from './settings.ts';

/** A chat is an API request too: where a user may send fewer of those, a limit on chats is never reached. */
export function chatsBeyondRequests(
  given: GivenSettings,
  { MODELGATE_LIMIT_CHAT: chat, MODELGATE_LIMIT_USER: user }: Values,
): ConfigIssue | undefined {
  const text = given.get('MODELGATE_LIMIT_CHAT');
  if (text === undefined || chat === undefined || chat === 'off' || user === undefined || user === 'off') {
    return undefined;
  }
  if (perSecond(chat) <= perSecond(user) || chat.burst < user.burst) return undefined;
  return {
    setting: 'MODELGATE_LIMIT_CHAT',
    source: text.source,
    found: `${quote(text.text)}, which is never reached: MODELGATE_LIMIT_USER (${spelled(user)}) refuses before`,
    expected: 'fewer chats than API requests of a user, or `off`',
    example: 'MODELGATE_LIMIT_CHAT=off',
  };
}

const perSecond = ({ count, windowSeconds }: RateLimit): number => count / windowSeconds;
const spelled = ({ count, windowSeconds, burst }: RateLimit): string => `${count}/${windowSeconds}s:${burst}`;
