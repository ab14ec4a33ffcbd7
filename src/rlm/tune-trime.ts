import type { SegmentRecall } from './recaller.ts';
import { memoryScale, type TrimeWeights, unifiedLogProbabilities } from './trime.ts';
import { basePredictions, baseResult, bestPoint, bestWeights, joinedSegments } from './tune-knn-lm.ts';

/** One point of the grid: temperatures, the best weight for them, and the perplexity that they give. */
export interface TunedTrimeWeights extends TrimeWeights {
  readonly perplexity: number;
}

/** Result of `tuneTrime`. */
export interface TrimeTuning {
  /** Point of the lowest perplexity. */
  readonly best: TunedTrimeWeights;
  /** All points that were tried. */
  readonly grid: readonly TunedTrimeWeights[];
  /** Perplexity of the language model alone on the same tokens. */
  readonly basePerplexity: number;
  /** Number of tokens. */
  readonly tokens: number;
}

/** Options of `tuneTrime`. */
export interface TuneTrimeOptions {
  /** Size D of the states. */
  readonly dimension: number;
  /** Whether the neighbours are in the softmax too. Default true. */
  readonly externalInside?: boolean | undefined;
  /** Whether the neighbours are mixed in. Default true. */
  readonly mixed?: boolean | undefined;
  /** Temperatures τ to try. Default powers of √2 from ¼ to 64, then finer ones around the best. */
  readonly temperatures?: readonly number[] | undefined;
  /** Temperatures τ' to try. Default powers of 2 from ¼ to 64. */
  readonly externalTemperatures?: readonly number[] | undefined;
}

/** Powers of 2 of temperatures: smallest, largest, and distance of the coarse points of τ. */
const POWERS = { least: -2, most: 6, step: 0.5 };
/** Finer powers of 2 around the best coarse point. */
const FINER = [-0.375, -0.25, -0.125, 0.125, 0.25, 0.375];

/**
 * Chooses temperatures and weight of TRIME on text that was recalled once, with logits. For each pair of temperatures the weight is that of
 * the largest likelihood.
 *
 * @param recalled  recall of development text, such as that of `Recaller`
 * @throws UsageError where no token was recalled
 */
export function tuneTrime(recalled: readonly SegmentRecall[], options: TuneTrimeOptions): TrimeTuning {
  const { dimension: D, externalInside, mixed = true } = options;
  const base = basePredictions(recalled);
  const powers = (step: number) =>
    Array.from({ length: (POWERS.most - POWERS.least) / step + 1 }, (_, i) => 2 ** (POWERS.least + i * step));
  const hasMixture = mixed && recalled[0]!.neighbours !== undefined;
  const external = hasMixture
    ? (options.externalTemperatures ?? powers(1)).map((externalTemperature) => ({
        externalTemperature,
        own: joinedSegments(recalled, ({ neighbours }) =>
          neighbours!.logProbabilities(memoryScale(D, externalTemperature)),
        ),
      }))
    : [{ externalTemperature: 1, own: undefined }];
  const grid: TunedTrimeWeights[] = [];
  const tryOut = (temperature: number) => {
    const unified = joinedSegments(recalled, (each) =>
      unifiedLogProbabilities(each, D, { temperature, externalInside }),
    );
    for (const { externalTemperature, own } of external) {
      const { weights, nats } = bestWeights(unified, [own]);
      const perplexity = Math.exp(nats / base.length);
      grid.push({ temperature, externalTemperature, lambda: weights[0]!, perplexity });
    }
  };
  for (const temperature of options.temperatures ?? powers(POWERS.step)) tryOut(temperature);
  if (!options.temperatures) {
    const { temperature } = bestPoint(grid);
    for (const power of FINER) tryOut(temperature * 2 ** power);
  }
  return { best: bestPoint(grid), grid, ...baseResult(base) };
}
