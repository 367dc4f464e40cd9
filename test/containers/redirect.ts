/** The one line of nginx's configuration that HTTPS_PORT does not reach. */
import { readFileSync, writeFileSync } from 'node:fs';

const MARK = /(CHANGE where https is not on port 443: )(https:\/\/\$host:)8443(\$request_uri\n +return 308 )\S+;/;

/** Does what the line marked CHANGE asks for. @throws Error where it is not there */
export function sendToPort(port: string, file: string): void {
  const text = readFileSync(file, 'utf8');
  if (!MARK.test(text)) throw new Error(`${file} does not say what to change where https is not on port 443`);
  const changed = text.replace(
    MARK,
    (_, mark: string, scheme: string, rest: string) => `${mark}${scheme}${port}${rest}${scheme}${port}$request_uri;`,
  );
  writeFileSync(file, changed);
}
