/** What is not linked to an organization by itself, in sentences. */
import { quotedFew } from '../../backend-file/text.ts';
import type { NotLinked } from '../../store/model-rows.ts';
import { counted } from '../format.ts';

const NAMED = 3;

/** @returns a sentence without its full stop for each reason */
export function describeNotLinked({ unusable, ofUsers }: NotLinked): readonly string[] {
  return [
    ...(unusable.length === 0
      ? []
      : [
          `${counted(unusable.length, 'model')} not linked, because a grant would read the id as a pattern, or no request can name it: ${quotedFew(unusable, NAMED)}`,
        ]),
    ...(ofUsers.length === 0
      ? []
      : [
          `${counted(ofUsers.length, 'model')} not linked, because a user who is no admin has made it: ${quotedFew(ofUsers, NAMED)}. To allow one all the same: \`modelgate model allow ID\``,
        ]),
  ];
}
