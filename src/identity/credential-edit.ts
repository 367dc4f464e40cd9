/** What was judged is what is sent: leaves the judged credential in the request, once, and no other. Pure. */
import type { HeaderEdit } from '../transport/exchange.ts';
import { mergeCookieLines } from './cookie-line.ts';
import type { Credential, Credentials } from './credential.ts';

const UNCHANGED: HeaderEdit = { remove: new Set(), add: [] };
const WITHOUT_COOKIE: HeaderEdit = { remove: new Set(['cookie']), add: [] };

/**
 * A session token or API key goes as `Authorization: Bearer …` if it stood in a header line, and as the cookie
 * `token=…` if it stood in a cookie (`/api/config` of 0.6 reads nothing but the cookie). An opaque credential, such as
 * a SCIM token, stays in the place and the spelling that it came in; a misspelled one goes. Other cookies stay, in one
 * Cookie line.
 * Applied to its own outcome, the edit changes nothing.
 */
export function toHeaderEdit(credentials: Credentials): HeaderEdit {
  const { all, cookieLines } = credentials;
  const judged = credentials.judged?.form === 'misspelled' ? undefined : credentials.judged;
  const mayStay = judged !== undefined && canStay(judged, credentials);
  if (all.length === (mayStay ? 1 : 0)) return UNCHANGED;
  if (mayStay && isLoneCookieBeside(judged, credentials)) return WITHOUT_COOKIE;

  const add: string[] = [];
  const remove = new Set<string>();
  for (const one of all) {
    if (!(mayStay && one === judged)) remove.add(one.header);
  }
  if (judged !== undefined && !mayStay && judged.place !== 'cookie') {
    const header = judged.form === 'opaque' ? judged.header : 'authorization';
    remove.add(header);
    add.push(header, judged.form === 'opaque' ? judged.spelled : `Bearer ${judged.text}`);
  }
  if (remove.has('cookie')) {
    const cookies = mergeCookieLines(cookieLines, judged?.place === 'cookie' ? toPair(judged) : undefined);
    if (cookies !== '') add.push('cookie', cookies);
  }
  return { remove, add };
}

/** Its line need not be touched: it is spelled as we would send it, and no other credential shares the header's name. */
function canStay(judged: Credential, { all, cookieLines }: Credentials): boolean {
  if (!judged.canonical) return false;
  // Old versions read the first Cookie line only.
  if (judged.place === 'cookie' && cookieLines.length > 1) return false;
  return all.every((one) => one === judged || one.header !== judged.header);
}

/** What browsers send, and so the common case: a bearer token, and a Cookie line of nothing but the `token` cookie. */
function isLoneCookieBeside(judged: Credential, { all, cookieLines }: Credentials): boolean {
  const other = all[0] === judged ? all[1] : all[0];
  return (
    all.length === 2 && cookieLines.length === 1 && other?.spelled === cookieLines[0] && other?.header === 'cookie'
  );
}

const toPair = (cookie: Credential): string => (cookie.form === 'opaque' ? cookie.spelled : `token=${cookie.text}`);
