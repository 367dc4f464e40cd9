/**
 * Keys that organizations have with providers, in `usage.db`. Each is sealed with AES-256-GCM under a key derived from
 * `MODELGATE_KEYS_SECRET`: who has the file alone, or a backup of it, has no key. No message and no error shows one.
 */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import type { Connection } from '../store/database.ts';

/** Of what is stored: this form, a nonce that is never used again, the tag, and the sealed key. */
const FORM = 1;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const HEAD_BYTES = 1 + NONCE_BYTES + TAG_BYTES;

/** Tells its secret's use apart from every other that the same secret may have. */
const PURPOSE = 'modelgate: keys of organizations';

/** Whose key it is, and with which host: moved to another row, a sealed key does not open. */
interface Place {
  readonly organization: string;
  readonly provider: string;
}

const boundTo = ({ organization, provider }: Place): Buffer => Buffer.from(JSON.stringify([organization, provider]));

/** `sealed`: there is one, and it cannot be read. The call must then be refused: the shared key would pay for it unseen. */
export type OpenedKey =
  | { readonly kind: 'none' }
  | { readonly kind: 'key'; readonly key: string }
  | { readonly kind: 'sealed'; readonly why: string };

const NO_SECRET = 'MODELGATE_KEYS_SECRET is not set';
const OTHER_SECRET = 'MODELGATE_KEYS_SECRET is another one than when the key was set, or the row was changed';

/** @param secret undefined where none is set: keys that are there are then `sealed` */
export function createKeySeal(secret: string | undefined) {
  const sealing = secret === undefined ? undefined : Buffer.from(hkdfSync('sha256', secret, '', PURPOSE, 32));

  function decrypt(sealing: Buffer, place: Place, stored: Uint8Array): string | undefined {
    if (stored[0] !== FORM || stored.length < HEAD_BYTES) return undefined;
    const nonce = stored.subarray(1, 1 + NONCE_BYTES);
    const decipher = createDecipheriv('aes-256-gcm', sealing, nonce, { authTagLength: TAG_BYTES })
      .setAAD(boundTo(place))
      .setAuthTag(stored.subarray(1 + NONCE_BYTES, HEAD_BYTES));
    try {
      return Buffer.concat([decipher.update(stored.subarray(HEAD_BYTES)), decipher.final()]).toString('utf8');
    } catch {
      // another secret, or a row that holds what was not sealed for it
      return undefined;
    }
  }

  return {
    seal(place: Place, key: string): Buffer {
      if (sealing === undefined) throw new TypeError(NO_SECRET);
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv('aes-256-gcm', sealing, nonce, { authTagLength: TAG_BYTES }).setAAD(boundTo(place));
      const sealed = Buffer.concat([cipher.update(key, 'utf8'), cipher.final()]);
      return Buffer.concat([Buffer.of(FORM), nonce, cipher.getAuthTag(), sealed]);
    },
    /** @param stored of `prepareSealedKey` */
    open(place: Place, stored: Uint8Array | undefined): OpenedKey {
      if (stored === undefined) return { kind: 'none' };
      if (sealing === undefined) return { kind: 'sealed', why: NO_SECRET };
      const key = decrypt(sealing, place, stored);
      return key === undefined ? { kind: 'sealed', why: OTHER_SECRET } : { kind: 'key', key };
    },
  };
}

/** A column that was written by hand may hold anything. */
const SEALED = 'CAST(sealed AS BLOB) AS sealed';
const AT = 'WHERE organization_id = ? AND provider = ?';

/** @returns what finds the key of an organization with a host, as it is stored @throws SqliteError */
export function prepareSealedKey(connection: Connection) {
  const find = connection.prepare<[string, string], Buffer>(`SELECT ${SEALED} FROM usage_key ${AT}`).pluck();
  return (organization: string, provider: string): Uint8Array | undefined => find.get(organization, provider);
}

interface ListedKey {
  readonly organization: string;
  /** Host of the provider, with its port where the address has one. */
  readonly provider: string;
  /** Its last four characters; empty where it is too short to show any. */
  readonly endsWith: string;
  /** Milliseconds UTC. */
  readonly setAt: number;
  /** Can it be read with this secret? */
  readonly opens: boolean;
}

/** Of a shorter key four characters would say too much. */
const SHORTEST_SHOWN = 20;

/** @returns what may be shown of a key */
export const endOf = (key: string): string => (key.length < SHORTEST_SHOWN ? '' : key.slice(-4));

const SET = `INSERT INTO usage_key (organization_id, provider, sealed, ends_with, set_at) VALUES (?, ?, ?, ?, ?)
  ON CONFLICT (organization_id, provider) DO UPDATE SET sealed = excluded.sealed, ends_with = excluded.ends_with, set_at = excluded.set_at`;
const LIST = `SELECT organization_id AS organization, provider, ${SEALED}, ends_with AS endsWith, set_at AS setAt FROM usage_key
  ORDER BY organization_id, provider`;

/** The table, as commands change it. @param secret as of `createKeySeal` */
export function createOrganizationKeys(connection: Connection, secret: string | undefined) {
  const { seal, open } = createKeySeal(secret);
  const find = prepareSealedKey(connection);
  return {
    /** Puts it in the place of one that is there. @param now milliseconds UTC @returns its end, as `list` has it @throws SqliteError */
    set(organization: string, provider: string, key: string, now: number): string {
      const endsWith = endOf(key);
      connection.prepare(SET).run(organization, provider, seal({ organization, provider }, key), endsWith, now);
      return endsWith;
    },

    /** @returns all of them, by organization and provider, without the keys themselves @throws SqliteError */
    list(): readonly ListedKey[] {
      const rows = connection.prepare<[], Omit<ListedKey, 'opens'> & { readonly sealed: Buffer }>(LIST).all();
      return rows.map(({ sealed, ...key }) => ({ ...key, opens: open(key, sealed).kind === 'key' }));
    },

    /** @returns whether there was one @throws SqliteError */
    remove: (organization: string, provider: string): boolean =>
      connection.prepare(`DELETE FROM usage_key ${AT}`).run(organization, provider).changes > 0,

    /** @throws SqliteError */
    open: (organization: string, provider: string): OpenedKey =>
      open({ organization, provider }, find(organization, provider)),
  };
}
