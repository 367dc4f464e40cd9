/** Which organization a command is about: `--org`, else the one of the environment. */
import type { StoreConfig } from '../config/parse.ts';
import type { Operation } from '../operations/backend-file.ts';
import type { ChosenOrganization } from '../operations/organizations/organizations.ts';
import { configureOperation } from './configured.ts';
import type { Terminal } from './terminal.ts';
import { CommandFailure, EXIT } from './terminal.ts';
import type { DatabaseOptions } from './words.ts';

/** Options of every command on one organization. */
export interface OrganizationOptions extends DatabaseOptions {
  readonly org?: string;
  /** It need not be there yet. */
  readonly create?: boolean;
}

/** What such a command begins with. @throws CommandFailure as `requireStoreConfig` and `chooseOrganization` */
export function configureOrganization(
  options: OrganizationOptions,
  terminal: Terminal,
): { readonly config: StoreConfig; readonly operation: Operation; readonly chosen: ChosenOrganization } {
  const { config, operation } = configureOperation(options, terminal);
  return { config, operation, chosen: chooseOrganization(config, options) };
}

/**
 * @param word how the command that asks takes it
 * @throws CommandFailure with exit code 2 where neither names one
 */
export function chooseOrganization(
  { organization }: StoreConfig,
  { org, create = false }: { readonly org?: string | undefined; readonly create?: boolean | undefined },
  word = '--org ID',
): ChosenOrganization {
  const id = org ?? organization?.id;
  if (id === undefined || id === '') {
    throw new CommandFailure(
      `Which organization? Name it with ${word}, or set OPENROUTER_EXTERNAL_USER and ORGANIZATION_NAME. To see them: \`modelgate org list\``,
      EXIT.misused,
    );
  }
  return { id, isConfigured: id === organization?.id, mayBeNew: create };
}
