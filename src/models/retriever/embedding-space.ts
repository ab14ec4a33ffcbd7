import { createHash } from 'node:crypto';
import { bytesOf } from '../../onnx/dtypes.ts';
import type { TokenizerJson } from '../../text/tokenizer-json.ts';
import { isProjection } from './encoder.ts';
import type { Retriever } from './retriever.ts';
import { storedWeights } from './stored-weights.ts';

/**
 * Computes the id of the space of a retriever's vectors: the first 16 hexadecimal digits of
 *
 *     SHA-256(settings, tokenizer, every weight with its name and shape)
 *
 * The settings are architecture, pooling, dense layers, normalisation, dimension, prompts, maximum lengths and the dtype of encoding. Vectors may
 * be compared if their ids are equal. The two towers of a pair share one space and one id.
 *
 * Settings that do not change a vector (dropout, training steps, the place of the folder) are not part of the
 * id. Whether a static encoder's token weights are folded into its table does not change the id either,
 * although folding rounds.
 */
export function embeddingSpaceId(retriever: Retriever): string {
  const { config, dimension, tokenizer } = retriever;
  const { model, pooling, normalize, includePrompt, dense = [] } = config.encoder;
  const { hidden_dropout_prob: _bert, dropout: _distilbert, ...architecture } = model;
  const { towers, prompts, maxTokens, encodeDtype } = config;
  const settings = {
    ...{ architecture, pooling, normalize, dimension, towers, prompts, maxTokens },
    // Left out where they have their usual values, for which the ids are older than the settings.
    ...(includePrompt === false && { includePrompt }),
    ...(!isProjection(dense) && { dense }),
    ...(encodeDtype && { encodeDtype }),
  };
  const hash = createHash('sha256');
  hash.update(canonicalJson(settings)).update('\n').update(tokenizerKey(tokenizer.toJson())).update('\n');
  const sides = towers === 'shared' ? (['document'] as const) : (['query', 'document'] as const);
  for (const side of sides) {
    const weights = storedWeights(retriever, side);
    for (const name of Object.keys(weights).sort()) {
      const { dtype, dims, data } = weights[name]!;
      hash.update(`${name} ${dtype}[${dims}]\n`).update(bytesOf(data));
    }
  }
  return hash.digest('hex').slice(0, 16);
}

/**
 * Makes a text that is equal for tokenizers that give equal ids. Truncation and padding are left out, because
 * the caller decides on them; only the end at which long texts are cut off is the tokenizer's own.
 */
export function tokenizerKey(json: TokenizerJson): string {
  const { version: _version, truncation, padding: _padding, ...ids } = json;
  return canonicalJson(truncation?.direction === 'Left' ? { ...ids, truncation: 'left' } : ids);
}

/** Formats JSON with the keys of every object sorted. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}
