/** Files in and out of gzip, in streams: a database need not fit into memory. */
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream, statSync } from 'node:fs';
import { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createGzip } from 'node:zlib';
import { OperationFailure } from '../failure.ts';

/** Bytes of the source so far, and all of them. */
type OnBytes = (done: number, total: number) => void;

/** @returns the SHA-256 of what was compressed @throws system errors; OperationFailure after Ctrl-C */
export async function compressFile(
  source: string,
  target: string,
  signal: AbortSignal,
  onBytes: OnBytes,
): Promise<string> {
  const hash = createHash('sha256');
  await stopped(signal, () =>
    pipeline(
      createReadStream(source, { highWaterMark: CHUNK_BYTES }),
      through(hash, source, onBytes),
      createGzip(),
      createWriteStream(target),
      { signal },
    ),
  );
  return hash.digest('hex');
}

/** @returns the SHA-256 of what comes out @throws errors of zlib where the file is cut off or damaged */
export async function hashCompressed(source: string, signal: AbortSignal, onBytes: OnBytes): Promise<string> {
  const hash = createHash('sha256');
  const sink = new Writable({
    write(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      done();
    },
  });
  await stopped(signal, () =>
    pipeline(createReadStream(source), counting(source, onBytes), createGunzip(), sink, { signal }),
  );
  return hash.digest('hex');
}

/** @throws errors of zlib, system errors; OperationFailure after Ctrl-C */
export async function decompressFile(
  source: string,
  target: string,
  signal: AbortSignal,
  onBytes: OnBytes,
): Promise<void> {
  await stopped(signal, () =>
    pipeline(createReadStream(source), counting(source, onBytes), createGunzip(), createWriteStream(target), {
      signal,
    }),
  );
}

const CHUNK_BYTES = 1024 * 1024;

type Chunks = AsyncIterable<Buffer>;

function through(hash: { update(chunk: Buffer): unknown }, source: string, onBytes: OnBytes) {
  const count = counting(source, onBytes);
  return async function* (chunks: Chunks): AsyncGenerator<Buffer> {
    for await (const chunk of count(chunks)) {
      hash.update(chunk);
      yield chunk;
    }
  };
}

function counting(source: string, onBytes: OnBytes): (chunks: Chunks) => AsyncGenerator<Buffer> {
  const total = statSync(source).size;
  return async function* (chunks) {
    let done = 0;
    for await (const chunk of chunks) {
      yield chunk;
      onBytes((done += chunk.length), total);
    }
  };
}

async function stopped(signal: AbortSignal, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (signal.aborted) throw new OperationFailure('Stopped. Nothing was changed.', { cause: error });
    throw error;
  }
}
