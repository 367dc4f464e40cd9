/** Whether the gate, with the settings that this command sees, enforces anything. */
import type { Finding } from './finding.ts';
import { ok, problem, unknown, warning } from './finding.ts';

/** What the configuration says, gathered by the command. */
export interface SettingsSeen {
  /** Mistakes in the configuration, for which the gate would not start, in words. */
  readonly mistakes: readonly string[];
  /** What weakens the gate or switches it off, the gravest first. */
  readonly weaknesses: readonly {
    readonly sentence: string;
    readonly remedy: string;
    readonly isGrave: boolean;
  }[];
  readonly hasSecretKey: boolean;
  readonly hasUpstream: boolean;
}

const NAME = 'settings';

/** Pure: mistakes and weaknesses as findings, and what could not be checked for want of a setting. */
export function checkSettings({ mistakes, weaknesses, hasSecretKey, hasUpstream }: SettingsSeen): readonly Finding[] {
  const found = [
    ...mistakes.map((mistake) => problem(NAME, mistake, 'Correct it: the gate does not start like this.')),
    ...weaknesses.map(({ sentence, remedy, isGrave }) => (isGrave ? problem : warning)(NAME, `${sentence}.`, remedy)),
  ];
  const said = found.length > 0 ? found : [ok(NAME, 'Model access is enforced; nothing is switched off or weakened.')];
  const absent = [
    ...(hasUpstream ? [] : ['MODELGATE_UPSTREAM_URL']),
    ...(hasSecretKey ? [] : ['WEBUI_SECRET_KEY or WEBUI_SECRET_KEY_FILE']),
  ];
  if (absent.length === 0) return said;
  const unchecked = [...(hasUpstream ? [] : ['the backend and its clock']), 'the secret key'].join(' and ');
  return [
    ...said,
    unknown(
      NAME,
      `Not set for this command: ${absent.join(' and ')}; so ${unchecked} ${hasUpstream ? 'was' : 'were'} not checked.`,
      'Run it with the environment of the gate, such as in its container.',
    ),
  ];
}
