import { add } from '../../graph/ops.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { attentionBias, causalBias } from '../../nn/attention.ts';
import { documentBias } from '../../nn/documents.ts';
import { DataError } from '../../util/errors.ts';
import type { Json } from '../../util/json-objects.ts';
import type { TokenInputs } from './architecture.ts';

/** Field of a decoder's `config.json` for the direction in which it reads. */
export interface Direction {
  /** `false`: every token attends to the whole text. Absent: to itself and the tokens before it. */
  is_causal?: false;
}

/**
 * Reads `is_causal`, by which transformers makes an encoder of a decoder. Like transformers it takes `null` for
 * `false`.
 *
 * @throws DataError for a value that is not a truth value
 */
export function direction(json: Json, file: string): Direction {
  const { is_causal: causal = true } = json;
  if (typeof causal !== 'boolean' && causal !== null) {
    throw new DataError(`"is_causal" must be true or false, found ${JSON.stringify(causal)}`, { file });
  }
  return causal ? {} : { is_causal: false };
}

/**
 * Makes the additive attention mask of a decoder: of padding, of other documents and, unless it reads in both
 * directions, of later tokens.
 *
 * @returns f32 that broadcasts to [B, H, T, T]
 */
export function seenBias(
  { is_causal }: Direction,
  { mask, documents }: Pick<TokenInputs, 'mask' | 'documents'>,
): Tensor {
  const others = documents ? add(attentionBias(mask), documentBias(documents)) : attentionBias(mask);
  return is_causal === false ? others : add(others, causalBias(mask.graph, mask.shape[1]!));
}
