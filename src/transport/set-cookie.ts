/**
 * One `Set-Cookie` line with other attributes, read as browsers read it (RFC 6265bis 5.7): split at every semicolon
 * whatever quotes say, names of attributes in any letter case, of repeated ones the last. What is not changed keeps
 * its bytes. Pure.
 */

export interface CookieRules {
  /** `Secure` is added where it is missing, never taken away. */
  readonly secure: boolean;
  /** Undefined: left as it is. */
  readonly sameSite: 'lax' | 'strict' | 'none' | undefined;
}

/** Browsers ignore an attribute with a longer value (RFC 6265bis 5.7). */
const LONGEST_ATTRIBUTE_VALUE = 1024;

/** @returns the name as a browser would store the cookie under, empty for a nameless one */
export function cookieName(line: string): string {
  const semicolon = line.indexOf(';');
  const pair = semicolon === -1 ? line : line.slice(0, semicolon);
  const equals = pair.indexOf('=');
  return equals === -1 ? '' : trimBlanks(pair.slice(0, equals));
}

/** @returns the line with the attributes that the rules ask for, each of them once */
export function enforceCookie(line: string, { secure, sameSite }: CookieRules): string {
  const [pair = '', ...attributes] = line.split(';');
  const kept = [pair];
  let isSecure = false;
  let hasSameSite = false;
  for (const attribute of attributes) {
    const [name, value] = attributePair(attribute);
    isSecure ||= name === 'secure' && value.length <= LONGEST_ATTRIBUTE_VALUE;
    if (name !== 'samesite' || sameSite === undefined) kept.push(attribute);
    else if (!hasSameSite) {
      hasSameSite = true;
      kept.push(value.toLowerCase() === sameSite ? attribute : ` SameSite=${sameSite}`);
    }
  }
  const added: string[] = [];
  if (sameSite !== undefined && !hasSameSite) added.push(` SameSite=${sameSite}`);
  if (secure && !isSecure) added.push(' Secure');
  // A semicolon at the end is no attribute, and is where the next one goes
  if (added.length > 0 && kept.length > 1 && trimBlanks(kept.at(-1) ?? '') === '') kept.pop();
  return [...kept, ...added].join(';');
}

function attributePair(attribute: string): [name: string, value: string] {
  const equals = attribute.indexOf('=');
  if (equals === -1) return [trimBlanks(attribute).toLowerCase(), ''];
  return [trimBlanks(attribute.slice(0, equals)).toLowerCase(), trimBlanks(attribute.slice(equals + 1))];
}

/** Spaces and tabs only: `trim` would take a no-break space for one, and read a name that no browser reads. */
function trimBlanks(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isBlank(text.charCodeAt(start))) start += 1;
  while (end > start && isBlank(text.charCodeAt(end - 1))) end -= 1;
  return text.slice(start, end);
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}
