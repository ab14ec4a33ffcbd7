import type { TokenState } from '../models/language/decoder.ts';
import type { LanguageModel } from '../models/language/language-model.ts';
import { UsageError } from '../util/errors.ts';
import { logAddExp } from '../util/log-sum-exp.ts';
import { checkPositive, checkShare } from './check-number.ts';
import type { LanguageSystem } from './language-system.ts';
import { mixLogProbabilities } from './recalled-tokens.ts';
import { Recaller, type SegmentRecall } from './recaller.ts';
import type { TokenMemory } from './token-datastore.ts';

/** Temperatures and weights of TRIME. */
export interface TrimeWeights {
  /** Temperature τ of the memory in the softmax, > 0. */
  readonly temperature: number;
  /** Temperature τ' of the neighbours in the mixture, > 0. Read only where `lambda` is above 0. */
  readonly externalTemperature: number;
  /** Weight λ of the neighbours in the mixture, from 0 to 1. */
  readonly lambda: number;
}

/** Memories of TRIME. */
export interface TrimeMemories {
  /** Whether the earlier tokens of the window are in the softmax. Default true. */
  readonly local?: boolean | undefined;
  /** Tokens of earlier windows of the document that are in the softmax, at most. Default 0. */
  readonly longTokens?: number | undefined;
  /** Whether the neighbours are in the softmax too, and not only in the mixture. Default true. */
  readonly externalInside?: boolean | undefined;
  /** Neighbours of each token, ≥ 1. Default 1,024. A datastore of fewer tokens is searched whole. */
  readonly neighbours?: number | undefined;
  /** State that is the key of a token, where there is no datastore. Default `feed-forward-input`. */
  readonly keys?: TokenState | undefined;
}

/** Options of `trimeSystem`. */
export interface TrimeOptions extends TrimeWeights, TrimeMemories {}

/**
 * Makes the system TRIME: one softmax over the vocabulary and the tokens of memories, mixed with the neighbours alone.
 *
 *     P(w) ∝ exp(E_w · f) + Σ_{j: x_j = w} exp(g · g_j / (√D τ)),      p(w) = (1 − λ) P(w) + λ Σ_{i: v_i = w} softmax_i(g · k_i / (√D τ'))
 *
 * The memory of the softmax holds the earlier tokens of the window (local), the last tokens of earlier windows of the document (long), and
 * the nearest tokens of a datastore by inner product (external), without those of the segment's own document. It suits models trained by
 * `trainTrime`, and can be put on any other as a control. Where no memory is left, the scores are those of the language model to the bit.
 *
 * The long memory needs segments with `document` and `start`, in their order.
 *
 * @param memory  datastore, which belongs to the caller; undefined for memories of the document alone
 * @throws UsageError for weights and temperatures out of range
 * @paper Zhong, Lei, Chen 2022: "Training Language Models with Memory Augmentation"
 */
export function trimeSystem(
  model: LanguageModel,
  memory: TokenMemory | undefined,
  options: TrimeOptions,
): LanguageSystem {
  checkWeights(options, memory);
  const recaller = trimeRecaller(model, memory, options);
  const D = model.decoder.hiddenSize;
  const { lambda, externalTemperature } = options;
  return {
    name: 'trime',
    model,
    ledger: recaller.ledger,
    async score(segments, scoring = {}) {
      const scores: Float32Array[] = [];
      for await (const recall of recaller.recall(segments, scoring)) {
        const unified = Float32Array.from(unifiedLogProbabilities(recall, D, options));
        const external =
          lambda > 0 ? recall.neighbours?.logProbabilities(memoryScale(D, externalTemperature)) : undefined;
        scores.push(
          external ? mixLogProbabilities(unified, [{ logProbabilities: external, weight: lambda }]) : unified,
        );
      }
      return scores;
    },
    dispose: () => recaller.dispose(),
  };
}

/** Makes the recaller of the memories of TRIME. */
export const trimeRecaller = (
  model: LanguageModel,
  memory: TokenMemory | undefined,
  { local = true, longTokens, neighbours, keys }: TrimeMemories,
): Recaller =>
  new Recaller(model, {
    ...{ memory, neighbours, keys, longTokens },
    ...{ by: 'product', cache: local, targetScores: true },
  });

/** Factor of inner products of states of size D at a temperature: 1 / (√D τ). */
export const memoryScale = (D: number, temperature: number): number => 1 / (Math.sqrt(D) * temperature);

/**
 * Computes the log-probabilities of the softmax over vocabulary and memories.
 *
 * @param recall  recall of one segment, with the logits of its tokens
 * @returns f64[n], in nats
 */
export function unifiedLogProbabilities(
  { base, targetScores, cache, neighbours }: SegmentRecall,
  D: number,
  { temperature, externalInside = true }: Pick<TrimeOptions, 'temperature' | 'externalInside'>,
): Float64Array {
  const memories = [cache, externalInside ? neighbours : undefined].flatMap((each) =>
    each ? [each.logSums(memoryScale(D, temperature))] : [],
  );
  return Float64Array.from(base, (logProbability, t) => {
    const target = targetScores![t]!;
    const own = target - logProbability;
    const sum = (of: 'all' | 'matching') =>
      memories.reduce((all, each) => logAddExp(all, each[of][t]!), Number.NEGATIVE_INFINITY);
    return logProbability + softplus(sum('matching') - target) - softplus(sum('all') - own);
  });
}

/** log(1 + exp x) */
const softplus = (x: number): number => Math.max(0, x) + Math.log1p(Math.exp(-Math.abs(x)));

function checkWeights(options: TrimeOptions, memory: TokenMemory | undefined): void {
  const { temperature, externalTemperature, lambda } = options;
  checkPositive('temperature', temperature);
  checkShare('lambda', lambda);
  if (lambda > 0) checkPositive('externalTemperature', externalTemperature);
  if (lambda > 0 && !memory) throw new UsageError('the weight lambda is above 0, and there is no datastore');
}
