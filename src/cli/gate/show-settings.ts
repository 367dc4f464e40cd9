/** `modelgate serve --settings` and `--show-config`: what can be set, and what is. */
import type { SettingInForce } from '../../config/load.ts';
import { loadSettingsInForce } from '../../config/load.ts';
import { settingReferences } from '../../config/reference.ts';
import { requireConfig } from '../configured.ts';
import { asJson, asLines, asTable, emphasize } from '../output.ts';
import type { Terminal } from '../terminal.ts';
import { EXIT } from '../terminal.ts';
import type { ServeOptions } from './serve.ts';

/** @returns the exit code: 0 */
export function showSettings({ json }: ServeOptions, terminal: Terminal): number {
  const settings = settingReferences();
  const described = settings.map(({ name, default: fallback, example, meaning }) => {
    const value = fallback === null ? `none, e.g. ${example}` : fallback === '' ? 'empty' : fallback;
    return `${emphasize(terminal, 'bold', name)}\n${asLines([
      ['  default', value],
      ['  meaning', meaning],
    ])}`;
  });
  terminal.write(json === true ? asJson({ settings }) : described.join('\n'));
  return EXIT.done;
}

/** @throws CommandFailure where the configuration has mistakes: then nothing is in force */
export function showConfig({ config: file, json }: ServeOptions, terminal: Terminal): number {
  requireConfig(terminal, file);
  const settings = loadSettingsInForce({ ...terminal, file });
  const shown = ({ name, value, source }: SettingInForce) => [name, value ?? '(not shown)', source];
  terminal.write(
    json === true ? asJson({ settings }) : asTable(terminal, ['setting', 'value', 'from'], settings.map(shown)),
  );
  return EXIT.done;
}
