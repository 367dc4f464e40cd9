import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { LineWriter } from '../../../src/telemetry/line-writer.ts';
import { until, withTimeout } from '../../support/process/with-timeout.ts';

let directory: string;
let path: string;
let fd: number;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'modelgate-lines-'));
  path = join(directory, 'out');
  fd = openSync(path, 'a');
});
afterEach(() => {
  closeSync(fd);
  rmSync(directory, { recursive: true });
});

const lossNotice = (lines: number): string => `lost ${lines}\n`;
const written = (): string[] => readFileSync(path, 'utf8').split('\n').slice(0, -1);

describe('a line writer', () => {
  test('writes every line once and in order', async () => {
    const writer = new LineWriter({ fd, lossNotice });
    const lines = Array.from({ length: 1_000 }, (_, index) => `line ${index} ✓`);
    for (const line of lines) writer.write(`${line}\n`);
    await withTimeout(writer.flush(), 5_000, 'flush');
    expect(written()).toEqual(lines);
  });

  test('does not wait for a batch to be full', async () => {
    new LineWriter({ fd, lossNotice }).write('alone\n');
    await until(() => written().length === 1, 5_000, 'the line');
  });

  test('has nothing to flush when nothing waits', async () => {
    await withTimeout(new LineWriter({ fd, lossNotice }).flush(), 100, 'flush');
  });

  test('gets out what waits at the last moment', () => {
    const writer = new LineWriter({ fd, lossNotice });
    writer.write('last\n');
    writer.flushNow();
    writer.flushNow();
    expect(written()).toEqual(['last']);
  });

  test('loses lines beyond the backlog, and says how many', async () => {
    const writer = new LineWriter({ fd, lossNotice, longestBacklog: 20 });
    for (let index = 0; index < 5; index += 1) writer.write(`0123456${index}\n`);
    await withTimeout(writer.flush(), 5_000, 'flush');
    expect(written()).toEqual(['lost 3', '01234560', '01234561']);
  });

  test('goes on, and ends, where nothing can be written', async () => {
    const full = openSync('/dev/full', 'w');
    const writer = new LineWriter({ fd: full, lossNotice });
    for (let index = 0; index < 500; index += 1) writer.write('lost\n');
    await withTimeout(writer.flush(), 5_000, 'flush');
    writer.write('lost too\n');
    writer.flushNow();
    closeSync(full);
  });
});
