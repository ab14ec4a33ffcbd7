import { MASKED_SCORE } from '../nn/masked-score.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { hostTensor } from '../runtime/host-tensor.ts';
import { Program } from '../runtime/program.ts';
import { ShapeError } from '../util/errors.ts';
import { logAddExp } from '../util/log-sum-exp.ts';
import {
  Comparison,
  chunks,
  comparisonGraph,
  type DiagnosisInput,
  overlap,
  Partitions,
  partitionGraph,
  TOP_RANKS,
} from './diagnosis-passes.ts';
import { type Divergence, type DivergenceBounds, divergenceBounds } from './divergence.ts';
import { documentBias, type GradientBias, queryBias, rowProduct } from './gradient-bias.ts';

/**
 * Computes the relative squared distance of cached embeddings b from fresh embeddings g:  mean ‖b − g‖² /
 * ‖g‖².
 *
 * @param cached  f32[M, D]
 * @param fresh  f32[M, D]
 * @throws ShapeError when the lengths differ, are 0 or are no multiple of `dimension`
 */
export function staleness(cached: Float32Array, fresh: Float32Array, dimension: number): number {
  if (cached.length !== fresh.length || cached.length === 0 || cached.length % dimension !== 0) {
    throw new ShapeError(
      `${cached.length} cached and ${fresh.length} fresh numbers of dimension ${dimension}`,
    );
  }
  let total = 0;
  for (let start = 0; start < cached.length; start += dimension) {
    let [distance, norm] = [0, 0];
    for (let i = start; i < start + dimension; i++) {
      distance += (cached[i]! - fresh[i]!) ** 2;
      norm += fresh[i]! ** 2;
    }
    total += distance / norm;
  }
  return total / (cached.length / dimension);
}

/** Result of {@link diagnoseTable}. */
export interface TableDiagnosis {
  /**
   * Divergence of the table's distribution of negatives from the fresh one. `kl` and `totalVariation` are
   * means over the queries; the two score errors are maxima.
   */
  readonly divergence: Divergence;
  /** Means over the queries of the bounds given by each query's own score errors. */
  readonly bounds: DivergenceBounds;
  /** Share of queries with a score error above 2, for which the bounds are vacuous. */
  readonly vacuousRatio: number;
  /** Share of queries for which fresh and stale scores have the same best document. */
  readonly topAgreement: number;
  /** Mean share of the `TOP_RANKS` best documents that are common to fresh and stale scores. */
  readonly topOverlap: number;
  /** Mean probability p⁺ of the positive against the fresh and against the stale table. */
  readonly positiveProbability: { readonly fresh: number; readonly stale: number };
  /** Mean −log p⁺ against the fresh and against the stale table, in nats. */
  readonly risk: {
    readonly fresh: number;
    readonly stale: number;
    /** Bound on the difference of the two risks, per unit of mean ‖b − g‖; see `diagnoseTable`. */
    readonly gapPerDistance: number;
  };
  /** Share of queries that learn next to nothing under fresh scores: 1 − p⁺ < 0.001. */
  readonly deadQueryRatio: number;
  /** Bias of the loss gradient with respect to the query embeddings, [B, D]. */
  readonly queryGradient: GradientBias;
  /**
   * Bias of the loss gradient with respect to the document embeddings, [N + B, D]: those of the table, then
   * the positives.
   */
  readonly documentGradient: GradientBias;
}

/** Score error above which the bounds on the divergence are near the trivial ones: tanh(1) = 0.76, ε²/2 = 2 nats. */
const VACUOUS_SCORE_ERROR = 2;
const DEAD = 1e-3;

/**
 * Measures the effect of stale embeddings on training.
 *
 * Compares the distribution from which negatives are drawn, and the expected gradient of the Negative Cache
 * loss (`expectation`), with their values if every document were embedded with the current weights:
 *
 *     ∇L       = (β/B) Σ_i [ −(1 − p⁺_i) ∇s⁺_i + Σ_n p_in ∇s_in ],     p over {positive} ∪ documents, from fresh scores
 *     E∇L̂      = the same with p̃ from the table's scores: draws have probability p̃_in / (1 − p̃⁺_i) and weight 1 − p̃⁺_i
 *
 *     ‖E∇L̂ − ∇L‖ ≤ 2 β M TV(P, P̃) for each query, ‖q‖, ‖d‖ ≤ M
 *
 *     |R − R̃| ≤ W · (1/B) Σ_i β ‖q_i‖ N e^{s*_i} / min(Z_i, Z̃_i),     W = mean ‖b − g‖, s*_i the largest of both kinds of scores
 *
 * The last line bounds the risk by a Wasserstein distance (Monath et al., ICML 2024, lemma 4.0). Its constant
 * is computed from the data, by |e^a − e^b| ≤ max(e^a, e^b) |a − b|.
 *
 * If the documents are a sample of the table, each counts w = `documentsPerRow` times in partition functions
 * and gradients.
 *
 * The cost is four matrix products of B × N × D and three more for the gradients, with N in chunks. Meant for
 * N up to about 100,000.
 *
 * Bounds: Monath et al., "Improving Dual-Encoder Training through Dynamic Indexes for Negative Mining",
 * AISTATS 2023, proposition 5.
 *
 * @throws ShapeError when the lengths of the embeddings do not fit together
 */
export async function diagnoseTable(
  input: DiagnosisInput,
  compute: ComputeOptions = {},
): Promise<TableDiagnosis> {
  const { queries, positives, fresh, stale, dimension: D, inverseTemperature: beta } = input;
  const weight = input.documentsPerRow ?? 1;
  if (queries.length === 0 || queries.length % D !== 0 || positives.length !== queries.length) {
    throw new ShapeError(
      `${queries.length} numbers of queries and ${positives.length} of positives, D = ${D}`,
    );
  }
  if (fresh.length === 0 || fresh.length % D !== 0 || stale.length !== fresh.length) {
    throw new ShapeError(`${fresh.length} fresh and ${stale.length} stale numbers of dimension ${D}`);
  }
  const B = queries.length / D;
  const scaled = queries.map((x) => beta * x);
  const q = hostTensor('f32', [B, D], scaled);
  const perQuery = (values: ArrayLike<number>) => hostTensor('f32', [B], Float32Array.from(values));

  const ranks = Math.min(TOP_RANKS, fresh.length / D);
  const partitions = await Program.compile(partitionGraph(D, ranks), compute);
  const first = new Partitions(B);
  for (const chunk of chunks(input))
    first.add(chunk.start, await partitions.run({ queries: q, ...chunk.feeds }));
  await partitions.dispose();

  const positiveScores = Float64Array.from({ length: B }, (_, i) => rowProduct(scaled, positives, i, D));
  const withPositive = (logZ: Float64Array) =>
    logZ.map((z, i) => logAddExp(z + Math.log(weight), positiveScores[i]!));
  const [logAll, staleLogAll] = [withPositive(first.logZ), withPositive(first.staleLogZ)];
  const comparisons = await Program.compile(comparisonGraph(D), compute);
  const second = new Comparison(B, D, weight);
  const feeds = {
    queries: q,
    logZ: perQuery(first.logZ),
    staleLogZ: perQuery(first.staleLogZ),
    logAll: perQuery(logAll.map((value) => value - Math.log(weight))),
    staleLogAll: perQuery(staleLogAll.map((value) => value - Math.log(weight))),
  };
  for (const chunk of chunks(input)) second.add(await comparisons.run({ ...feeds, ...chunk.feeds }));
  await comparisons.dispose();

  const divergences = Array.from({ length: B }, (_, i) => ({
    kl: second.crossScore[i]! - first.logZ[i]! + first.staleLogZ[i]!,
    totalVariation: second.distance[i]! / 2,
    // The errors are 0 if all documents are masked.
    maxScoreError: Math.max(0, first.most[i]!, -first.least[i]!),
    scoreErrorRange: Math.max(0, first.most[i]! - first.least[i]!),
  }));
  const bounds = divergences.map(divergenceBounds);
  const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / B;
  // Probability of the positive among all scores, under fresh and under stale scores.
  const p = positiveScores.map((s, i) => Math.exp(s - logAll[i]!));
  const staleP = positiveScores.map((s, i) => Math.exp(s - staleLogAll[i]!));
  const variations = p.map((value, i) => second.distanceWithPositive[i]! + Math.abs(value - staleP[i]!));
  return {
    divergence: {
      kl: Math.max(0, mean(divergences.map(({ kl }) => kl))),
      totalVariation: mean(divergences.map(({ totalVariation }) => totalVariation)),
      maxScoreError: Math.max(...divergences.map(({ maxScoreError }) => maxScoreError)),
      scoreErrorRange: Math.max(...divergences.map(({ scoreErrorRange }) => scoreErrorRange)),
    },
    bounds: {
      kl: mean(bounds.map(({ kl }) => kl)),
      klByRange: mean(bounds.map(({ klByRange }) => klByRange)),
      totalVariation: mean(bounds.map(({ totalVariation }) => totalVariation)),
    },
    vacuousRatio: mean(divergences.map(({ maxScoreError }) => Number(maxScoreError > VACUOUS_SCORE_ERROR))),
    topAgreement: mean(first.best.map((list, i) => Number(list[0]?.row === first.staleBest[i]![0]?.row))),
    topOverlap: mean(first.best.map((list, i) => overlap(list, first.staleBest[i]!))),
    positiveProbability: { fresh: mean([...p]), stale: mean([...staleP]) },
    risk: {
      fresh: mean([...positiveScores].map((s, i) => logAll[i]! - s)),
      stale: mean([...positiveScores].map((s, i) => staleLogAll[i]! - s)),
      gapPerDistance: mean(
        first.best.map((list, i) => {
          const best = Math.max(
            list[0]?.score ?? MASKED_SCORE,
            first.staleBest[i]![0]?.score ?? MASKED_SCORE,
          );
          const logZ = Math.min(first.logZ[i]!, first.staleLogZ[i]!);
          const norm = Math.sqrt(rowProduct(scaled, scaled, i, D));
          return list.length === 0 ? 0 : (norm * Math.exp(best - logZ) * fresh.length) / D;
        }),
      ),
    },
    deadQueryRatio: mean([...p].map((value) => Number(1 - value < DEAD))),
    queryGradient: queryBias(input, { p, staleP, variations }, second),
    documentGradient: documentBias(scaled, { p, staleP, variations }, second, D),
  };
}
