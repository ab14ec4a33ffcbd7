import { CachedReading } from '../models/language/cached-reading.ts';
import type { LanguageModel } from '../models/language/language-model.ts';
import { TextStream } from '../models/language/text-stream.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import type { Reading } from './language-system.ts';

/**
 * Continues an ensemble of sequences greedily: every new token is the most likely one under the mixture of the sequences' predictions,
 * and is added to all of them. The weights of the sequences stay as they are.
 *
 * @param options.tokens  maximum number of new tokens
 * @param options.stop  strings before which the text ends
 * @returns the new text
 */
export async function generateFromEnsemble(
  model: LanguageModel,
  { sequences, logWeights }: Reading,
  {
    tokens,
    stop = [],
    ...compute
  }: { readonly tokens: number; readonly stop?: readonly string[] } & ComputeOptions,
): Promise<string> {
  const V = model.decoder.vocabSize;
  const longest = sequences.reduce((most, { length }) => Math.max(most, length), 0);
  const most = Math.min(tokens, (model.decoder.maxTokens ?? Number.POSITIVE_INFINITY) - longest);
  if (most < 1) return '';
  const stream = new TextStream(model.tokenizer, sequences[0]!, stop);
  const reading = await CachedReading.begin(model, sequences, compute);
  const mixture = new Float64Array(V);
  for (let written = 0; written < most; written++) {
    mix(reading.logits, logWeights, mixture);
    const id = mixture.indexOf(mixture.reduce((a, b) => Math.max(a, b)));
    if (model.endIds.has(id)) break;
    stream.push(id);
    if (stream.stopped) break;
    if (written + 1 < most) await reading.read(sequences.map(() => [id]));
  }
  stream.end();
  return stream.text;
}

/** Computes Σ_d λ_d softmax(logits_d) of every token of the vocabulary. */
function mix(logits: Float32Array, logWeights: Float64Array, into: Float64Array): void {
  const V = into.length;
  into.fill(0);
  for (const [d, logWeight] of logWeights.entries()) {
    const own = logits.subarray(d * V, (d + 1) * V);
    const largest = own.reduce((a, b) => Math.max(a, b));
    let sum = 0;
    for (const logit of own) sum += Math.exp(logit - largest);
    const weight = Math.exp(logWeight) / sum;
    for (let v = 0; v < V; v++) into[v]! += weight * Math.exp(own[v]! - largest);
  }
}
