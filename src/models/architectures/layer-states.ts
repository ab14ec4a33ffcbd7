import type { Tensor } from '../../graph/tensor.ts';
import type { TextRows } from '../../nn/text-rows.ts';

/**
 * Names of the states inside a layer of a pre-norm decoder:
 *
 * - `before-attention-norm`: input of the layer
 * - `attention-input`: the same after the norm before attention
 * - `before-feed-forward-norm`: sum of the input and the result of attention, and of memory where there is one
 * - `feed-forward-input`: the same after the norm before the feed-forward part
 */
export const LAYER_STATES = [
  'before-attention-norm',
  'attention-input',
  'before-feed-forward-norm',
  'feed-forward-input',
] as const;

/** Name of a state inside a layer. */
export type LayerState = (typeof LAYER_STATES)[number];

/**
 * Callback for the states inside the layers.
 *
 * @param state name of the state
 * @param layer number of the layer, from 0
 * @param x f32[B, T, D]
 */
export type LayerStateListener = (state: LayerState, layer: number, x: Tensor) => void;

/**
 * Returns the function that applies the norm before a part of a layer and reports the states before and after it.
 *
 * @param rows texts of the forward pass
 * @param norm norm with the parameters of a name
 * @param onState listener, if there is one
 */
export const partInputs =
  (
    rows: TextRows,
    norm: (x: Tensor, name: string) => Tensor,
    onState: LayerStateListener | undefined,
  ): PartInput =>
  (part, layer, x, name) => {
    onState?.(`before-${part}-norm`, layer, rows.split(x)[0]!);
    const y = norm(x, name);
    onState?.(`${part}-input`, layer, rows.split(y)[0]!);
    return y;
  };

/**
 * Computes the input of a part of a layer from the rows before its norm.
 *
 * @param x rows f32[Σ R, D]
 * @param name name of the norm's parameters
 * @returns rows f32[Σ R, D]
 */
export type PartInput = (
  part: 'attention' | 'feed-forward',
  layer: number,
  x: Tensor,
  name: string,
) => Tensor;
