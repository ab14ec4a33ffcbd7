/**
 * Child process of `bench/cache.ts` and `bench/corrector.ts` that runs training steps:
 *
 *     measure-cache-step.ts step ENCODER ROWS THREADS [ROUNDS]       a step of negative-cache compared with one of in-batch
 *     measure-cache-step.ts corrector ENCODER ROWS THREADS [ROUNDS]  a step of corrector over all rows and by an index, and the corrector's part of both
 *     measure-cache-step.ts memory ENCODER ROWS THREADS [STEPS]      the memory of many steps
 */
import { CacheTraining, TRAINING_CASES } from './cache-training.ts';
import { report } from './fresh-process.ts';
import { followMemory, type ResidentMemory } from './resident-memory.ts';
import { median, medians, minimum, type WithQuartiles } from './statistics.ts';

/** Times of a step of `negative-cache` and of `in-batch`. */
export interface CacheStepResult extends WithQuartiles {
  readonly case: 'step';
  readonly encoder: string;
  readonly title: string;
  readonly rows: number;
  readonly threads: number;
  readonly rounds: number;
  /** Median time of a step of `in-batch`, in milliseconds. */
  readonly inBatchMs: number;
  /** Median time of a step of `negative-cache`, in milliseconds. */
  readonly negativeCacheMs: number;
  /**
   * Median time of scoring, masking and sampling in a step of `negative-cache`, in milliseconds. Includes
   * encoding the queries for it.
   */
  readonly sampleMs: number;
  /** Median ratio over the rounds, `negative-cache` to `in-batch`. */
  readonly ratio: number;
  /** Ratio of the best times. */
  readonly bestRatio: number;
}
/** Times of a step of `corrector`, and the corrector's part of it. */
export interface CorrectorShare extends WithQuartiles {
  /** Median time of the whole step, in milliseconds. */
  readonly stepMs: number;
  /** Median time of the corrector in a step, in milliseconds. Includes its training. */
  readonly correctMs: number;
  /** Median over the rounds of the corrector's share of the step. */
  readonly share: number;
}
/** Steps of `corrector` that correct all rows, and those that correct the rows drawn by an index, in turn. */
export interface CorrectorStepResult {
  readonly case: 'step';
  readonly title: string;
  readonly rows: number;
  readonly threads: number;
  readonly rounds: number;
  readonly exact: CorrectorShare;
  readonly index: CorrectorShare & {
    /** Median share of the rows that a step corrects. */
    readonly correctedRatio: number;
    /** Mean estimate of the total variation distance of the draws from those of `exact`. */
    readonly missedProbability: number;
  };
}
/** Memory over many steps of `negative-cache`. */
export interface CacheMemoryResult extends ResidentMemory {
  readonly case: 'memory';
  readonly title: string;
  readonly rows: number;
  readonly threads: number;
  readonly steps: number;
}

const [kind, id, rowsGiven, threadsGiven, countGiven] = process.argv.slice(2);
const [rows, threads] = [Number(rowsGiven), Number(threadsGiven)];
const shape = TRAINING_CASES.find((known) => known.id === id);
if (!shape) throw new Error(`unknown encoder "${id}"`);
const training = await CacheTraining.create(shape, { documents: rows, threads });
const { title } = shape;

async function steps(): Promise<CacheStepResult> {
  const rounds = Number(countGiven ?? Math.max(10, Math.min(60, Math.round(2 ** 22 / rows))));
  const times: Record<'in-batch' | 'negative-cache', number[]> = { 'in-batch': [], 'negative-cache': [] };
  const sampleMs: number[] = [];
  for (let i = -3; i < rounds; i++) {
    for (const method of ['in-batch', 'negative-cache'] as const) {
      const { sampleMs: before = 0 } = training.ledger.totals;
      const startMs = performance.now();
      await training.step(method);
      if (i < 0) continue;
      times[method].push(performance.now() - startMs);
      if (method === 'negative-cache') sampleMs.push((training.ledger.totals.sampleMs ?? 0) - before);
    }
  }
  const { 'in-batch': inBatch, 'negative-cache': negativeCache } = times;
  return {
    case: 'step',
    encoder: shape!.id,
    title,
    rows,
    threads,
    rounds,
    ...medians({
      inBatchMs: inBatch,
      negativeCacheMs: negativeCache,
      sampleMs,
      ratio: negativeCache.map((ms, i) => ms / inBatch[i]!),
    }),
    bestRatio: minimum(negativeCache) / minimum(inBatch),
  };
}

async function correctorSteps(): Promise<CorrectorStepResult> {
  const rounds = Number(countGiven ?? 20);
  const ways = { exact: 'corrector', index: 'corrector by an index' } as const;
  const times = {
    exact: { stepMs: [] as number[], correctMs: [] as number[] },
    index: { stepMs: [] as number[], correctMs: [] as number[] },
  };
  const [corrected, missed]: [number[], number[]] = [[], []];
  for (let i = -2; i < rounds; i++) {
    for (const way of ['exact', 'index'] as const) {
      const { correctMs: before = 0 } = training.ledger.totals;
      const startMs = performance.now();
      const { correctedRatio, missedProbability } = await training.step(ways[way]);
      if (i < 0) continue;
      times[way].stepMs.push(performance.now() - startMs);
      times[way].correctMs.push((training.ledger.totals.correctMs ?? 0) - before);
      if (correctedRatio !== undefined) corrected.push(correctedRatio);
      if (missedProbability !== undefined) missed.push(missedProbability);
    }
  }
  const shareOf = ({ stepMs, correctMs }: { stepMs: number[]; correctMs: number[] }): CorrectorShare =>
    medians({ stepMs, correctMs, share: correctMs.map((ms, i) => ms / stepMs[i]!) });
  return {
    case: 'step',
    title,
    rows,
    threads,
    rounds,
    exact: shareOf(times.exact),
    index: {
      ...shareOf(times.index),
      correctedRatio: median(corrected),
      missedProbability: missed.reduce((sum, x) => sum + x, 0) / missed.length,
    },
  };
}

async function memory(): Promise<CacheMemoryResult> {
  const steps = Number(countGiven ?? 10_000);
  const followed = await followMemory(steps, () => training.step('negative-cache'));
  return { case: 'memory', title, rows, threads, steps, ...followed };
}

report(kind === 'memory' ? await memory() : kind === 'corrector' ? await correctorSteps() : await steps());
