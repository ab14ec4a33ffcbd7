import { add, fill } from '../../graph/ops.ts';
import type { Tensor } from '../../graph/tensor.ts';
import type { TextRows } from '../../nn/text-rows.ts';
import type { LayerMemory } from './architecture.ts';

/**
 * Adds what a layer reads from memory to the residual stream.
 *
 * @param rows batches of the forward pass
 * @param h residual stream after attention, f32[Σ R, D]
 * @param layer number of the layer, from 0
 * @param memory memory to read; undefined for none
 * @returns f32[Σ R, D]: `h` itself, if nothing is read
 */
export function readMemory(
  rows: TextRows,
  h: Tensor,
  layer: number,
  memory: LayerMemory | undefined,
): Tensor {
  if (!memory) return h;
  const texts = rows.split(h);
  const read = texts.map((hidden, batch) => memory.read(layer, hidden, batch));
  if (read.every((each) => each === undefined)) return h;
  return add(h, rows.join(read.map((each, i) => each ?? fill(h.graph, 0, texts[i]!.shape))));
}
