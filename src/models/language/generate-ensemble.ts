import { CachedReading } from './cached-reading.ts';
import type { GenerationOptions } from './generate.ts';
import { generationSettings, refusePackedWeights } from './generation-options.ts';
import { type GeneratingModel, GenerationRow } from './generation-rows.ts';
import type { LanguageModel } from './language-model.ts';

/** Sequences whose predictions are mixed. */
export interface Ensemble {
  /** Token ids that each sequence begins with, at least one sequence. */
  readonly sequences: readonly ArrayLike<number>[];
  /** f64[sequences]: logarithms of their weights, which sum to 1. */
  readonly logWeights: ArrayLike<number>;
}

/** Ways in which the weights of an ensemble go on: as they are, or times the probability of what was written. */
export type EnsembleWeights = 'fixed' | 'posterior';

/** Options of generation from an ensemble. */
export interface EnsembleOptions extends GenerationOptions {
  /**
   * How the weights go on. Default `fixed`.
   *
   * - `fixed`: each token has the probability Σ_d λ_d p(y_t | d, y_<t), as in REPLUG.
   * - `posterior`: λ_d is multiplied by p(y_<t | d), so that whole texts have the probability Σ_d λ_d p(y | d).
   */
  readonly weights?: EnsembleWeights | undefined;
}

/**
 * Continues an ensemble of sequences: every new token is chosen by the mixture of the sequences' predictions, and is added to all of them.
 *
 * @param options  options of generation; greedy by default
 * @returns the new text
 * @throws UsageError where an option is wrong
 */
export async function generateFromEnsemble(
  model: LanguageModel,
  ensemble: Ensemble,
  { device, threads, ...options }: EnsembleOptions,
): Promise<string> {
  const { sequences } = ensemble;
  const compute = { ...(device && { device }), ...(threads && { threads }) };
  return await generateMixed(model, ensemble, options, () => CachedReading.begin(model, sequences, compute));
}

/**
 * Continues an ensemble as {@link generateFromEnsemble}, by another way of reading it.
 *
 * @param context  tokens before the new ones that are text. Default: the first sequence
 * @param begin  reads the sequences
 */
export async function generateMixed(
  model: GeneratingModel,
  { sequences, logWeights, context = sequences[0]! }: Ensemble & { readonly context?: ArrayLike<number> },
  { weights = 'fixed', signal, ...options }: EnsembleOptions,
  begin: () => Promise<CachedReading>,
): Promise<string> {
  const settings = generationSettings(options);
  refusePackedWeights(settings);
  const longest = sequences.reduce((most, each) => (each.length > most.length ? each : most));
  if (longest.length >= (model.decoder.maxTokens ?? Number.POSITIVE_INFINITY)) return '';
  const row = new GenerationRow(model, longest, { settings, number: 0, context });
  if (row.isDone) return row.result().text;
  signal?.throwIfAborted();
  const mixture = new Mixture(model.decoder.vocabSize, logWeights);
  const reading = await begin();
  for (;;) {
    signal?.throwIfAborted();
    row.choose(mixture.of(reading.logits));
    if (row.isDone) return row.result().text;
    if (weights === 'posterior') mixture.observe(reading.logits, row.last);
    await reading.read(sequences.map(() => [row.last]));
  }
}

/** Mixture of the predictions of several sequences. */
class Mixture {
  private readonly vocabSize: number;
  private readonly logWeights: Float64Array;
  /** log Σ exp of the logits of each sequence. */
  private readonly logSums: Float64Array;

  constructor(vocabSize: number, logWeights: ArrayLike<number>) {
    this.vocabSize = vocabSize;
    this.logWeights = Float64Array.from(logWeights);
    this.logSums = new Float64Array(logWeights.length);
  }

  /** Computes log Σ_d λ_d softmax(logits_d) of every token of the vocabulary, f32[V]. */
  of(logits: Float32Array): Float32Array {
    const { vocabSize: V, logWeights, logSums } = this;
    const sum = new Float64Array(V);
    for (const [d, logWeight] of logWeights.entries()) {
      const own = logits.subarray(d * V, (d + 1) * V);
      const largest = own.reduce((a, b) => Math.max(a, b));
      let total = 0;
      for (const logit of own) total += Math.exp(logit - largest);
      logSums[d] = largest + Math.log(total);
      const weight = Math.exp(logWeight) / total;
      for (let v = 0; v < V; v++) sum[v]! += weight * Math.exp(own[v]! - largest);
    }
    return Float32Array.from(sum, Math.log);
  }

  /** Multiplies the weight of each sequence by its probability of a token, and scales them to the sum 1. */
  observe(logits: Float32Array, token: number): void {
    const { vocabSize: V, logWeights, logSums } = this;
    for (const d of logWeights.keys()) logWeights[d]! += logits[d * V + token]! - logSums[d]!;
    const largest = logWeights.reduce((a, b) => Math.max(a, b));
    const logSum = largest + Math.log(logWeights.reduce((sum, each) => sum + Math.exp(each - largest), 0));
    for (const d of logWeights.keys()) logWeights[d]! -= logSum;
  }
}
