/** The models that the fields of a form name: `multipart/form-data` and `application/x-www-form-urlencoded`. */
import { GatewayError } from '../errors.ts';
import { namesModels } from './model-keys.ts';

/** What stands in fields that name models; undefined where it is no text. Undefined as a whole where it is no form. */
export type FormRecord = readonly (string | undefined)[] | undefined;

/** A field takes a hundred times the memory of its bytes. */
const MOST_FIELDS = 10_000;

/** @throws GatewayError `body_too_complex` */
export async function readForm(body: Buffer, contentType: string): Promise<FormRecord> {
  boundFields(body, contentType);
  try {
    const response = new Response(new Blob([new Uint8Array(body)]), { headers: { 'content-type': contentType } });
    // eslint-disable-next-line @typescript-eslint/no-deprecated -- an admin's body, bounded in length and fields before
    const form = await response.formData();
    const named = [...form].filter(([name]) => namesModels(name));
    return named.map(([, value]) => (typeof value === 'string' ? value : undefined));
  } catch {
    return undefined;
  }
}

function boundFields(body: Buffer, contentType: string): void {
  const separator = /^\s*multipart\//i.test(contentType) ? '\r\n--' : '&';
  let fields = 0;
  for (let at = body.indexOf(separator); at !== -1; at = body.indexOf(separator, at + 1)) {
    if (++fields <= MOST_FIELDS) continue;
    throw new GatewayError('body_too_complex', {
      detail: `Found a form of more than ${MOST_FIELDS.toLocaleString('en')} fields, as many as are read. Send fewer in one request.`,
    });
  }
}
