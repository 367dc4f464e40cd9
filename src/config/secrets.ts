import type { Config } from './schema.ts';

/** @returns every key that a configured gate has, for the log to look for */
export const secretsOf = ({ identity, provider, keysSecret, redis }: Config): readonly string[] => [
  ...identity.secretKeys,
  ...(provider?.accessKeys ?? []),
  ...(provider?.providers.flatMap(({ key }) => key ?? []) ?? []),
  ...(redis?.secrets ?? []),
  ...[provider?.user.tokenSecret ?? [], keysSecret ?? []].flat(),
];
