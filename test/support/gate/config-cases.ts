import { parse } from 'yaml';
import type { RawConfig } from '../../../src/config/parse.ts';

/** One golden file of `test/config/`: what an operator has typed, and what must come of it. */
export interface ConfigCase {
  readonly title: string;
  readonly environment: Record<string, string>;
  /** The YAML file's text. */
  readonly file?: string;
  /** Other files that exist, by absolute path; relative paths start at `/srv`. */
  readonly files?: Record<string, string>;
  /** The part of the configuration that this case is about… */
  readonly config?: object;
  /** …or all of its mistakes. */
  readonly issues?: readonly object[];
}

export function toRawConfig({ environment, file, files = {} }: ConfigCase): RawConfig {
  return {
    environment,
    directory: '/srv',
    readSecret(path) {
      const content = files[path];
      if (content === undefined) throw new Error(`"${path}", which does not exist`);
      return content;
    },
    ...(file === undefined
      ? {}
      : { file: { name: 'modelgate.yaml', values: parse(file, { schema: 'failsafe' }) as unknown } }),
  };
}
