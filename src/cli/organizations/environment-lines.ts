/** The two lines of the deployment guide's step 4, as Compose and shells read them back. */
import type { Organization } from '../../store/initialize.ts';
import { CommandFailure, EXIT } from '../terminal.ts';

const LONGEST = 256;

/** What the gate's own settings would refuse must not get into the database. @throws CommandFailure, exit code 2 */
export function requireEnvironmentValues({ id, name }: Organization): void {
  for (const [option, value] of [
    ['--org', id],
    ['--name', name],
  ] as const) {
    const why = refusal(value);
    if (why !== undefined) throw new CommandFailure(`${option} ${why}. Nothing was changed.`, EXIT.misused);
  }
}

function refusal(value: string): string | undefined {
  if (value === '') return 'is empty';
  if (value.length > LONGEST) return `is longer than ${LONGEST} characters`;
  if (/[\u0000-\u001f\u007f]/.test(value) || !value.isWellFormed()) return 'contains control characters';
  return value === value.trim() ? undefined : 'has a space at one of its ends';
}

/** @returns two lines; a value is quoted where it must be, the name always, as in the guide */
export function environmentLines({ id, name }: Organization): string {
  return `OPENROUTER_EXTERNAL_USER=${/^[\w.@%+:,/-]+$/.test(id) ? id : inQuotes(id)}\nORGANIZATION_NAME=${inQuotes(name)}\n`;
}

const inQuotes = (value: string): string => `"${value.replace(/[\\"$`]/g, '\\$&')}"`;
