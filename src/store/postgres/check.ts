/** One check: a single statement, so one snapshot, that reads all that the requests of this moment ask. */
import { LRUCache } from 'lru-cache';
import type { PointCall, PointRead, PointReads } from '../queries.ts';
import type { Layout } from './layout.ts';
import { type PartName, KEYLESS, PARTS, PUT_OFF, VERSIONED, isUnaskable } from './parts.ts';
import { SETTLED, settingsSql, toSetting } from './settings.ts';
import type { Asked } from './shared-check.ts';

/** What becomes of the answers. */
interface Taking {
  put(call: PointCall, value: unknown): void;
  /** It is still what is known. @returns false where it is known no more */
  confirm(call: PointCall): boolean;
}

/** Anything that no trigger has counted is found out after so long. */
const DOUBTED_AFTER_MS = 10_000;
const MAX_VERSIONS = 100_000;
const SETTINGS = 'settings';

/** Which versions are known, on one connection: another one may lead to a server that went another way. */
export class KnownVersions {
  readonly #versions = new Map<string, LRUCache<string, { readonly version: string; readonly readAt: number }>>();
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  /** @returns an empty text where none is known, or it is long ago */
  of(name: string, key = ''): string {
    const known = this.#versions.get(name)?.get(key);
    return known !== undefined && this.#now() - known.readAt < DOUBTED_AFTER_MS ? known.version : '';
  }

  set(name: string, key: string, version: unknown): void {
    const versions = this.#versions.get(name) ?? new LRUCache({ max: MAX_VERSIONS });
    this.#versions.set(name, versions);
    if (typeof version === 'string') versions.set(key, { version, readAt: this.#now() });
    else versions.delete(key);
  }
}

/** Reads as requests do, of nothing. */
export const PROBE: readonly PointCall[] = (
  ['accountOf', 'membershipsOf', 'isActive', 'patternsOf', 'preset', 'composites'] as const
).map((name) => ({ name, key: '' }));

const NAMES = Object.keys(PARTS) as PartName[];
const isSettled = (name: PointRead): name is keyof typeof SETTLED => name in SETTLED;

/** For a session of one's own: a check is planned once, and not for each set of keys, which was half of its time. */
export const PLANS_ONCE = 'SET plan_cache_mode = force_generic_plan';

/** The statements of one layout, by the parts that they have. */
export class Checks {
  readonly #layout: Layout;
  readonly #known: KnownVersions;
  readonly #texts = new Map<string, string>();

  constructor(layout: Layout, known: KnownVersions) {
    this.#layout = layout;
    this.#known = known;
  }

  /** @returns a statement whose one row has a column for each part, and what takes that row */
  compose(askedOf: Asked) {
    const keys = new Map<PartName, readonly string[]>();
    const settled: (keyof typeof SETTLED)[] = [];
    const unaskable: PointCall[] = [];
    for (const [name, all] of askedOf) {
      if (isSettled(name)) {
        settled.push(name);
        continue;
      }
      const asked: string[] = [];
      for (const key of all) {
        if (isUnaskable(key)) unaskable.push({ name, key });
        else asked.push(key);
      }
      if (asked.length > 0) keys.set(name, asked);
    }
    const parts = NAMES.filter((name) => keys.has(name));
    const values: unknown[] = [];
    for (const name of parts) {
      const asked = keys.get(name) ?? [];
      const isKeyless = KEYLESS.has(name);
      if (!isKeyless) values.push(asked);
      if (VERSIONED.has(name))
        values.push(isKeyless ? this.#known.of(name) : asked.map((key) => this.#known.of(name, key)));
    }
    if (settled.length > 0) values.push(this.#known.of(SETTINGS));
    const name = `modelgate_${parts.map((part) => NAMES.indexOf(part).toString(36)).join('')}${settled.length > 0 ? '_s' : ''}`;
    return {
      name,
      text: this.#textOf(name, parts, settled.length > 0),
      values,
      take: (row: readonly unknown[], taking: Taking): void => {
        for (const call of unaskable) taking.put(call, readAs(call.name as PartName, null, call.key));
        parts.forEach((part, at) => this.#take(part, keys.get(part) ?? [], row[at], taking));
        if (settled.length > 0) this.#takeSettings(settled, row[parts.length], taking);
      },
    };
  }

  #textOf(name: string, parts: readonly PartName[], hasSettings: boolean): string {
    const known = this.#texts.get(name);
    if (known !== undefined) return known;
    let places = 0;
    const place = (): string => `$${++places}::text`;
    const columns = parts.map((part) => {
      const sql = PARTS[part].sql(this.#layout);
      if (KEYLESS.has(part))
        return VERSIONED.has(part) ? `(SELECT (${sql}) FROM (SELECT ${place()} AS known) k)` : `(${sql})`;
      const [keys, versions] = [`${place()}[]`, VERSIONED.has(part) ? `${place()}[]` : undefined];
      const given = versions === undefined ? `unnest(${keys})` : `unnest(${keys}, ${versions})`;
      const row = versions === undefined ? 'key, n' : 'key, known, n';
      const beside = PARTS[part].beside?.(this.#layout) ?? '';
      return `(SELECT json_agg(v.value ORDER BY v.n) FROM (SELECT (${sql}) AS value, k.n FROM ${given} WITH ORDINALITY k(${row}) ${beside}) v)`;
    });
    if (hasSettings) columns.push(`(${settingsSql(this.#layout, place())})`);
    const text = `SELECT ${columns.join(', ')}`;
    this.#texts.set(name, text);
    return text;
  }

  #take(part: PartName, keys: readonly string[], column: unknown, taking: Taking): void {
    const found = parse(column);
    const values = KEYLESS.has(part) ? [found] : (found as readonly unknown[]);
    keys.forEach((key, at) => {
      const value = values[at];
      const call = { name: part, key };
      if (!VERSIONED.has(part)) return taking.put(call, readAs(part, value, key));
      const [version, sent] = (value ?? [null, null]) as readonly [unknown, unknown];
      if (sent === PUT_OFF) return;
      if (value !== null && sent === null) {
        if (!taking.confirm(call)) this.#known.set(part, key, undefined);
        return;
      }
      this.#known.set(part, key, version);
      taking.put(call, readAs(part, sent, key));
    });
  }

  #takeSettings(settled: readonly (keyof typeof SETTLED)[], column: unknown, taking: Taking): void {
    const [version, sent] = (parse(column) ?? [null, null]) as readonly [unknown, unknown];
    const isKnown = version !== null && version === this.#known.of(SETTINGS) && sent === null;
    const isConfirmed = (name: PointRead) => taking.confirm({ name, key: '' });
    if (isKnown) {
      if (!settled.map(isConfirmed).every(Boolean)) this.#known.set(SETTINGS, '', undefined);
      return;
    }
    this.#known.set(SETTINGS, '', version);
    const setting = toSetting(sent);
    // all of them: the next check may ask for another one, and is then told that nothing has changed
    for (const name of Object.keys(SETTLED) as (keyof typeof SETTLED)[]) {
      taking.put({ name, key: '' }, SETTLED[name](setting));
    }
  }
}

const parse = (column: unknown): unknown => (typeof column === 'string' ? JSON.parse(column) : column);

const readAs = <N extends PartName>(name: N, found: unknown, key: string): ReturnType<PointReads[N]> =>
  PARTS[name].read(found, key);
