/** Which database a command works on: that of the settings, or the file of `--database`. */
import { resolve } from 'node:path';
import type { Terminal } from './terminal.ts';

/** @param database of `--database`: the file itself, in place of `DATABASE_URL` */
export const environmentWith = (
  { environment, directory }: Terminal,
  database: string | undefined,
): Terminal['environment'] =>
  database === undefined
    ? environment
    : { ...environment, ...NO_PARTS, DATABASE_URL: `sqlite:///${resolve(directory, database)}` };

/** What would override that file, or means nothing to it. */
const NO_PARTS = {
  ...{ DATABASE_TYPE: undefined, DATABASE_SCHEMA: undefined, MODELGATE_POLICY_MAX_AGE: undefined },
  DATABASE_ENABLE_IAM_TOKEN_AUTH: undefined,
};
