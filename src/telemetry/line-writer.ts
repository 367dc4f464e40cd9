/**
 * A batch takes a tenth of a write a line (measured). Not pino's: its `flushSync` never ends on `ENOSPC` (sonic-boom
 * 4.2).
 */
import { write, writeSync } from 'node:fs';

interface LineWriterOptions {
  readonly fd: number;
  readonly lossNotice: (lines: number) => string;
  readonly longestBacklog?: number;
}

const BATCH_LINES = 256;
const BATCH_MS = 50;
const LONGEST_BACKLOG = 16 * 1024 ** 2;
const LONGEST_FLUSH_MS = 1_000;
const RETRY_MS = 5;

export class LineWriter {
  readonly #options: LineWriterOptions;
  #waiting: string[] = [];
  #waitingLength = 0;
  #lost = 0;
  #isWriting = false;
  #whenIdle: (() => void)[] = [];

  constructor(options: LineWriterOptions) {
    this.#options = options;
    setInterval(() => this.#start(), BATCH_MS).unref();
  }

  write(line: string): void {
    if (this.#waitingLength + line.length > (this.#options.longestBacklog ?? LONGEST_BACKLOG)) {
      this.#lost += 1;
      return;
    }
    this.#waitingLength += line.length;
    if (this.#waiting.push(line) >= BATCH_LINES) this.#start();
  }

  /** Resolves when all earlier lines are out, or cannot be got out in a second; never rejects. */
  async flush(): Promise<void> {
    this.#start();
    if (!this.#isWriting) return;
    await new Promise<void>((resolve) => {
      this.#whenIdle.push(resolve);
      setTimeout(resolve, LONGEST_FLUSH_MS).unref();
    });
  }

  /** For the last moment of a process. */
  flushNow(): void {
    if (this.#waiting.length === 0) return;
    try {
      writeSync(this.#options.fd, this.#take());
    } catch {
      // the other end is closed, and the process ends
    }
  }

  #take(): string {
    const notice = this.#lost === 0 ? '' : this.#options.lossNotice(this.#lost);
    const text = notice + this.#waiting.join('');
    this.#lost = 0;
    this.#waiting = [];
    this.#waitingLength = 0;
    return text;
  }

  #start(): void {
    if (this.#isWriting || this.#waiting.length === 0) return;
    this.#isWriting = true;
    const lines = this.#waiting.length;
    this.#write(Buffer.from(this.#take()), lines);
  }

  #write(bytes: Buffer, lines: number): void {
    write(this.#options.fd, bytes, (error, written) => {
      if (error?.code === 'EAGAIN') setTimeout(() => this.#write(bytes, lines), RETRY_MS).unref();
      else if (error === null && written < bytes.length) this.#write(bytes.subarray(written), lines);
      else this.#end(error === null ? 0 : lines);
    });
  }

  #end(lost: number): void {
    this.#lost += lost;
    this.#isWriting = false;
    const isUrgent = this.#whenIdle.length > 0 && this.#waiting.length > 0;
    if (isUrgent || this.#waiting.length >= BATCH_LINES) this.#start();
    else for (const resolve of this.#whenIdle.splice(0)) resolve();
  }
}
