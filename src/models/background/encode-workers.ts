import { mkdtemp, rm } from 'node:fs/promises';
import { getPriority, tmpdir } from 'node:os';
import { join } from 'node:path';
import { defaultThreads } from '../../runtime/devices.ts';
import type { TokenStore } from '../../text/token-store.ts';
import { RuntimeError, UsageError } from '../../util/errors.ts';
import { option } from '../../util/option-name.ts';
import type { OptionTable } from '../../util/option-table.ts';
import { blockEnds, lengthsOf } from '../retriever/encode-blocks.ts';
import { passes } from '../retriever/encode-rows.ts';
import type { Retriever, Side } from '../retriever/retriever.ts';
import type { RowSharing } from '../retriever/row-sharing.ts';
import { BackgroundEncoder } from './background-encoder.ts';

/** Option for the number of processes that encode. */
export const WORKERS_OPTION = {
  /** Processes that share the texts to encode, with the threads divided among them. Default 1: no other process. */
  workers: {
    type: 'integer',
    min: 1,
    max: 256,
    default: 1,
    help:
      'processes that share the texts to encode, with the threads divided among them: as many as cores is fastest; ' +
      'each holds a copy of the weights',
  },
} as const satisfies OptionTable;

/** Settings of {@link shareEncoding}. */
export interface WorkerOptions {
  /** Number of processes, from 1 on. */
  readonly workers: number;
  /** Threads of all processes together. Default: all cores. */
  readonly threads?: number | undefined;
}

/** Texts for each process from which on they are shared. With fewer, starting a process takes longer than encoding. */
const LEAST_ROWS = 256;
/** Time between two reports of progress. */
const PROGRESS_MS = 200;

/**
 * Lets a retriever encode in several processes at once, wherever many texts are encoded: `encode` and `encodeTokens` then share 256 texts or more
 * for each process between them. Processes start when they are first needed and end with `Retriever.dispose`.
 *
 * Operations of one text or of a small batch do not divide well between threads, so two processes with one thread each encode faster than one
 * with two (docs/performance.md). The vectors equal those of one process with the threads of each, to the bit.
 *
 * @throws UsageError for a number of processes below 1
 */
export function shareEncoding(retriever: Retriever, options: WorkerOptions): void {
  const { workers } = options;
  if (!Number.isInteger(workers) || workers < 1) {
    throw new UsageError(`${option('workers')} must be a whole number from 1 on, found ${workers}`, {
      help: 'use the number of cores',
    });
  }
  if (workers > 1) retriever.share(new EncodeWorkers(retriever, options));
}

/** Processes that encode texts of a retriever together. */
class EncodeWorkers implements RowSharing {
  readonly leastRows: number;
  private readonly retriever: Retriever;
  private readonly count: number;
  private readonly threads: number;
  private readonly encoders = new Map<string, BackgroundEncoder[]>();
  private folder: string | undefined;
  /** End of the last job. */
  private last: Promise<void> = Promise.resolve();
  /** Reason of the last failure of a process. */
  private failure = '';

  constructor(retriever: Retriever, { workers, threads = defaultThreads() }: WorkerOptions) {
    this.retriever = retriever;
    this.count = workers;
    this.threads = Math.max(1, Math.floor(threads / workers));
    this.leastRows = LEAST_ROWS * workers;
  }

  async encode(...given: Parameters<RowSharing['encode']>): Promise<void> {
    // The processes have one job at a time.
    const own = this.last.then(() => this.encodeNow(...given));
    this.last = own.catch(() => {});
    await own;
  }

  private async encodeNow(
    side: Side,
    { store, rows }: { store: TokenStore; rows: Uint32Array },
    out: Float32Array,
    onRows?: (done: number) => void,
  ): Promise<void> {
    const { retriever, count } = this;
    const D = retriever.dimension;
    const shares = shareRows(lengthsOf(store, rows), count);
    const encoders = await this.encodersOf(side, store);
    const weights = retriever.encodeWeights(side);
    const jobs = await Promise.all(
      encoders.map((encoder, worker) => {
        const { places, ends } = shares[worker]!;
        return encoder.encode(
          weights,
          places.map((place) => rows[place]!),
          store,
          ends,
        );
      }),
    );
    // The timer also keeps the event loop alive, which the jobs do not.
    const timer = setInterval(() => onRows?.(jobs.reduce((sum, { done }) => sum + done, 0)), PROGRESS_MS);
    await Promise.all(jobs.map(({ settled }) => settled));
    clearInterval(timer);
    if (jobs.some(({ outcome }) => outcome === 'failed')) {
      throw new RuntimeError(`a process that encodes ${this.failure}`, {
        help: `encode in one process: ${option('workers', 1)}`,
      });
    }
    for (const [worker, job] of jobs.entries()) {
      const { places } = shares[worker]!;
      await job.read((first, embeddings) => {
        for (let n = 0; n * D < embeddings.length; n++)
          out.set(embeddings.subarray(n * D, (n + 1) * D), places[first + n]! * D);
      });
    }
    onRows?.(rows.length);
  }

  async dispose(): Promise<void> {
    await Promise.all([...this.encoders.values()].flat().map((encoder) => encoder.dispose()));
    this.encoders.clear();
    if (this.folder) await rm(this.folder, { recursive: true, force: true });
    this.folder = undefined;
  }

  /** Processes of a side; both sides of shared towers without prompts to leave out have the same. */
  private async encodersOf(side: Side, store: TokenStore): Promise<BackgroundEncoder[]> {
    const key = this.retriever.encoderKey(side);
    const known = this.encoders.get(key);
    if (known) return known;
    this.folder ??= await mkdtemp(join(tmpdir(), 'undrift-encode-'));
    const made = Array.from(
      { length: this.count },
      (_, worker) =>
        new BackgroundEncoder(this.retriever, side, store, {
          threads: this.threads,
          // A folder of its own, since each removes what others have left in it.
          folder: join(this.folder!, `${this.encoders.size}-${worker}`),
          niceness: Math.max(0, getPriority()),
          onFailure: ({ reason }) => {
            this.failure = reason;
          },
        }),
    );
    this.encoders.set(key, made);
    return made;
  }
}

/** Rows of one process. */
interface Share {
  /** Their places in the list of rows. */
  readonly places: Uint32Array<ArrayBuffer>;
  /** End of each piece that is embedded by itself. */
  readonly ends: Uint32Array<ArrayBuffer>;
}

/**
 * Divides rows among processes so that each has about equal work, and each pass is one that `encodeBlocks` makes: a process gets consecutive
 * passes of a block, which are the passes of these rows alone.
 *
 * @param lengths  tokens of each row
 */
export function shareRows(lengths: Int32Array, count: number): Share[] {
  const places: number[][] = Array.from({ length: count }, () => []);
  const ends: number[][] = Array.from({ length: count }, () => []);
  const tokens = new Float64Array(count);
  let start = 0;
  for (const end of blockEnds(lengths)) {
    const made = [...passes(lengths.subarray(start, end))].map((picked) => {
      const rows = Array.from(picked, (i) => start + i);
      return { rows, tokens: rows.length * Math.max(1, lengths[rows[0]!]!) };
    });
    let left = made.reduce((sum, pass) => sum + pass.tokens, 0);
    let next = 0;
    // Who has most to do so far gets the last and smallest run of the block.
    const order = Array.from(tokens.keys()).sort((a, b) => tokens[a]! - tokens[b]! || a - b);
    for (const [turn, worker] of order.entries()) {
      const share = left / (count - turn);
      let taken = 0;
      for (; next < made.length && (taken === 0 || taken + made[next]!.tokens / 2 <= share); next++) {
        places[worker]!.push(...made[next]!.rows);
        taken += made[next]!.tokens;
      }
      if (taken > 0) ends[worker]!.push(places[worker]!.length);
      tokens[worker]! += taken;
      left -= taken;
    }
    start = end;
  }
  return places.map((own, worker) => ({
    places: Uint32Array.from(own),
    ends: Uint32Array.from(ends[worker]!),
  }));
}
