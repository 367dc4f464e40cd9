/** What calls of a model use usually: what a call reserves, and what one has used that says nothing of it. */
import type { Connection } from '../store/database.ts';
import type { Call } from './call.ts';
import type { Usage } from './usage.ts';

/** After so many calls each new one weighs a little more than all old ones: models and habits change. */
const MEMORY = 500;
/** Where no call of the model has been counted yet. A streamed token is an event of JSON. */
const BYTES_A_TOKEN = 4;
const BYTES_A_STREAMED_TOKEN = 180;
/** Probabilities that calls ask for beside words must not make the words of a call that was cut cheap. */
const MOST_BYTES_A_TOKEN = 512;

const SUMS = `sum(requests) AS requests, sum(bytes_in) AS bytesIn, sum(input) AS input, sum(bytes_out) AS bytesOut,
  sum(output) AS output, sum(priced) AS priced, sum(cost_nano) AS cost FROM usage_mean
  WHERE provider = $provider AND wire_model = $wireModel`;

const KEPT = `CASE WHEN usage_mean.requests > ${MEMORY} THEN ${MEMORY}.0 / usage_mean.requests ELSE 1 END`;

const LEARN = `INSERT INTO usage_mean VALUES ($provider, $wireModel, $organization, $isStreamed, 1, $bytesIn, $input, $bytesOut, $output, $priced, $cost)
  ON CONFLICT (provider, wire_model, organization_id, is_streamed)
  DO UPDATE SET ${['requests', 'bytes_in', 'input', 'bytes_out', 'output', 'priced', 'cost_nano']
    .map((column) => `${column} = usage_mean.${column} * ${KEPT} + excluded.${column}`)
    .join(', ')}`;

/** Of one call: tokens, and nano-USD where a call had a price. */
export interface Mean {
  readonly output: number;
  readonly cost: number | undefined;
}

type Sums = Readonly<
  Record<'requests' | 'bytesIn' | 'input' | 'bytesOut' | 'output' | 'priced' | 'cost', number | null>
>;

/** Whose calls, and of what. */
type Key = Pick<Call, 'provider' | 'wireModel' | 'organization' | 'isStreamed'>;

export function createMeans(connection: Connection) {
  const learn = connection.prepare(LEARN);
  const ofPayer = connection.prepare<[object], Sums>(`SELECT ${SUMS} AND organization_id = $organization`);
  const ofAll = connection.prepare<[object], Sums>(`SELECT ${SUMS} AND is_streamed = $isStreamed`);
  const keyOf = ({ provider, wireModel, organization, isStreamed }: Key) => ({
    ...{ provider, wireModel, organization, isStreamed: Number(isStreamed) },
  });
  const bytesOf = (bytes: number | null, tokens: number | null, otherwise: number): number =>
    bytes && tokens ? bytes / tokens : otherwise;

  const inputOf = (call: Call, sums: Sums | undefined) =>
    Math.ceil(call.bytesIn / bytesOf(sums?.bytesIn ?? null, sums?.input ?? null, BYTES_A_TOKEN));

  return {
    /** A call whose provider has said what it used. */
    learn(call: Call, { input = 0, output = 0 }: Usage, bytesOut: number, cost: number | undefined): void {
      const priced = Number(cost !== undefined);
      learn.run({ ...keyOf(call), bytesIn: call.bytesIn, input, bytesOut, output, priced, cost: cost ?? 0 });
    },
    /** @returns means of the payer's calls of this model; undefined where there was none */
    of(key: Key): Mean | undefined {
      const sums = ofPayer.get(keyOf(key));
      if (!sums?.requests) return undefined;
      const { requests, output, priced, cost } = sums;
      return { output: (output ?? 0) / requests, cost: priced ? (cost ?? 0) / priced : undefined };
    },
    /** @returns tokens of the body, about */
    inputOf: (call: Call): number => inputOf(call, ofAll.get(keyOf(call))),
    /** @param bytesOut of the answer; undefined where it was not seen, and so may be as long as others */
    estimate(call: Call, bytesOut: number | undefined): Usage {
      const sums = ofAll.get(keyOf(call));
      const otherwise = call.isStreamed ? BYTES_A_STREAMED_TOKEN : BYTES_A_TOKEN;
      const bytes = Math.min(MOST_BYTES_A_TOKEN, bytesOf(sums?.bytesOut ?? null, sums?.output ?? null, otherwise));
      const output = bytesOut === undefined ? (sums?.output ?? 0) / (sums?.requests ?? 1) : bytesOut / bytes;
      return { input: inputOf(call, sums), output: Math.round(output) };
    },
  };
}
