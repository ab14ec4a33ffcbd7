import type { TrainingExamples } from '../data/examples.ts';
import type { TrainingBatch } from '../methods/contract/method.ts';
import { lengthGroupedBatches } from '../text/length-grouped-batches.ts';
import type { TokenStore } from '../text/token-store.ts';
import { UsageError } from '../util/errors.ts';
import { option } from '../util/option-name.ts';
import { permutation, rngKey, uniform } from '../util/rng.ts';
import { NONE } from '../util/vector-rows.ts';
import { LENGTH_OPTIONS } from './run-options.ts';

/** Options of `Batches`. */
export interface BatchOptions {
  /** Examples in a batch. */
  batchSize: number;
  /** Negatives of the data drawn for each query; 0 for none. */
  negativesPerQuery: number;
  /** Seed of the run. */
  seed: number;
}

/** Fewest examples in a batch. */
const LEAST_BATCH = LENGTH_OPTIONS.batchSize.min;

/**
 * Batches of a run. Each epoch visits each example once, in an order of its own. An example with several positives gets one of
 * them, drawn anew each epoch. Texts of similar length are batched together, so that little of a batch is padding. A batch
 * depends only on seed and number, so that a resumed run continues as if it had never stopped.
 */
export class Batches {
  /** Batches of one pass over the data. */
  readonly perEpoch: number;
  private readonly examples: TrainingExamples;
  private readonly documents: Pick<TokenStore, 'length'>;
  private readonly options: BatchOptions;
  private epoch = -1;
  /** Places of the examples' positives in the list of all positives. */
  private epochPositives = new Int32Array(0);
  private epochBatches: readonly Uint32Array[] = [];

  /**
   * @param documents  tokens of all documents, for their lengths
   * @throws UsageError where a batch is larger than the data
   */
  constructor(examples: TrainingExamples, documents: Pick<TokenStore, 'length'>, options: BatchOptions) {
    const count = examples.queryRows.length;
    if (count < LEAST_BATCH) {
      throw new UsageError(
        `the data has ${count === 0 ? 'no' : 'only one'} training query, and a batch has at least ${LEAST_BATCH}`,
        {
          help: 'give more training data: the queries of a batch learn from each other',
        },
      );
    }
    if (options.batchSize > count) {
      throw new UsageError(`a batch of ${options.batchSize} is more than the ${count} training queries`, {
        help: `use ${option('batchSize', Math.max(LEAST_BATCH, 2 ** Math.floor(Math.log2(count / 2))))} or less`,
      });
    }
    this.examples = examples;
    this.documents = documents;
    this.options = options;
    // Examples at the end of an epoch that fill no batch are left out. The next epoch has another order, so that no example is
    // left out for good.
    this.perEpoch = Math.floor(count / options.batchSize);
  }

  /**
   * Returns a batch of the run.
   *
   * @param number  number of the batch in the run, from 0
   */
  batch(number: number): TrainingBatch {
    const epoch = Math.floor(number / this.perEpoch);
    if (epoch !== this.epoch) this.shuffle(epoch);
    const picked = this.epochBatches[number % this.perEpoch]!;
    const { positives } = this.examples;
    const negatives = this.negatives(picked, number);
    return {
      queryRows: Int32Array.from(picked, (i) => this.examples.queryRows[i]!),
      positiveRows: Int32Array.from(picked, (i) => positives.rows[this.epochPositives[i]!]!),
      negativeRows: negatives?.rows.filter((row) => row !== NONE) ?? new Int32Array(0),
      ...(negatives && { ownNegatives: negatives.rows }),
      ...(positives.scores && {
        scores: {
          positives: Float32Array.from(picked, (i) => positives.scores![this.epochPositives[i]!]!),
          ...(negatives?.scores && { negatives: negatives.scores }),
        },
      }),
    };
  }

  private shuffle(epoch: number): void {
    const { seed, batchSize } = this.options;
    const { positives } = this.examples;
    const count = this.examples.queryRows.length;
    const draws = new Float32Array(count);
    uniform(rngKey(seed, epoch, 'positives'), draws);
    this.epochPositives = Int32Array.from(draws, (u, i) => {
      const [start, end] = [positives.offsets[i]!, positives.offsets[i + 1]!];
      return start + Math.floor(u * (end - start));
    });
    const lengths = Uint32Array.from(this.epochPositives, (i) => this.documents.length(positives.rows[i]!));
    const order = permutation(rngKey(seed, epoch, 'examples'), count);
    this.epochBatches = lengthGroupedBatches(lengths, order, { batchSize, dropLast: true });
    this.epoch = epoch;
  }

  /** Draws up to k negatives of each example: i32[B, k], `NONE` where it has fewer; and their scores f32[B, k]. */
  private negatives(picked: Uint32Array, number: number) {
    const { negativesPerQuery: k, seed } = this.options;
    const { negatives } = this.examples;
    if (!negatives || k === 0) return undefined;
    const rows = new Int32Array(picked.length * k).fill(NONE);
    const scores = negatives.scores && new Float32Array(rows.length);
    for (const [b, example] of picked.entries()) {
      const [start, end] = [negatives.offsets[example]!, negatives.offsets[example + 1]!];
      const order = permutation(rngKey(seed, number, `negatives/${example}`), end - start);
      for (const [j, i] of order.subarray(0, k).entries()) {
        rows[b * k + j] = negatives.rows[start + i]!;
        if (scores) scores[b * k + j] = negatives.scores![start + i]!;
      }
    }
    return { rows, scores };
  }
}
