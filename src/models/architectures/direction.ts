import { add, cast, concat } from '../../graph/ops.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { attentionBias, causalBias, type KeyValues } from '../../nn/attention.ts';
import { documentBias, documentPositions } from '../../nn/documents.ts';
import { DataError } from '../../util/errors.ts';
import type { Json } from '../../util/json-objects.ts';
import type { ForwardOptions, TokenInputs } from './architecture.ts';

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
 * Makes the additive attention mask of a batch: of padding, of other documents and, unless it reads in both
 * directions, of later tokens. Tokens read before those of the batch are seen by all.
 *
 * @returns f32 that broadcasts to [B, H, T, P + T]
 */
export function seenBias(
  { is_causal }: Direction,
  { mask, documents, cache }: Pick<TokenInputs, 'mask' | 'documents' | 'cache'>,
): Tensor {
  const before = cache?.mask;
  const padding = attentionBias(before ? concat([before, mask], 1) : mask);
  const others = documents ? add(padding, documentBias(documents)) : padding;
  if (is_causal === false) return others;
  return add(others, causalBias(mask.graph, mask.shape[1]!, before?.shape[1]));
}

/** Returns the option `attended` of a layer's attention for a batch: what its cache says. */
export const attendedIn = (
  { cache }: TokenInputs,
  layer: number,
): ((own: KeyValues) => readonly KeyValues[]) | undefined => cache && ((own) => cache.attended(layer, own));

/**
 * Tells whether attention over a batch can be one kernel: that of each token to itself and all tokens before it in its row, by places in the
 * row. Padding at the end is then seen by no token.
 *
 * @param headSize S; the kernel rotates multiples of 16
 */
export const isFusable = (
  { is_causal }: Direction,
  { documents, positions, cache }: TokenInputs,
  { inference = false, dropoutRatio = 0 }: ForwardOptions,
  headSize: number,
): boolean =>
  inference &&
  dropoutRatio === 0 &&
  is_causal !== false &&
  headSize % 16 === 0 &&
  !documents &&
  !positions &&
  !cache;

/** Returns the positions of a decoder's tokens, f32[B, T]; undefined if they are their places in the row. */
export const positionsIn = ({ positions, documents }: TokenInputs): Tensor | undefined =>
  positions ? cast(positions, 'f32') : documents && documentPositions(documents);
