import type { PostgresAddress } from './postgres-url.ts';
import type { Config } from './schema.ts';

/** @returns every key that a configured gate has, for the log to look for */
export const secretsOf = ({
  identity,
  provider,
  keysSecret,
  redis,
  revocations,
  database,
}: Config): readonly string[] => [
  ...(database.engine === 'postgresql' ? passwordsOf(database.address) : []),
  ...identity.secretKeys,
  ...(provider?.accessKeys ?? []),
  ...(provider?.providers.flatMap(({ key }) => key ?? []) ?? []),
  ...[redis, revocations?.elsewhere].flatMap((one) => one?.secrets ?? []),
  ...[provider?.user.tokenSecret ?? [], keysSecret ?? []].flat(),
];

/** As it is, and as it stands in a URL. One that is the name of the role or the database hides nothing, and lines name both. */
const passwordsOf = ({ password = '', user, database }: PostgresAddress): readonly string[] =>
  password === user || password === database ? [] : [password, encodeURIComponent(password)];
