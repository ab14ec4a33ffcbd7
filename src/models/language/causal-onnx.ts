import { addDims } from '../../graph/dims.ts';
import { Graph } from '../../graph/graph.ts';
import { cast, concat, slice } from '../../graph/ops.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { type ExportDtype, onnxBytes } from '../folder/onnx-export.ts';
import type { LanguageModel } from './language-model.ts';

/** Names of the two tensors of a layer. */
const SIDES = ['key', 'value'] as const;

/** Names of the keys and values in an exported file: inputs `past_key_values.<layer>.key`, outputs `present.<layer>.key`. */
export const cacheNames = (layers: number): { readonly past: string; readonly present: string }[] =>
  Array.from({ length: layers }, (_, layer) =>
    SIDES.map((side) => ({
      past: `past_key_values.${layer}.${side}`,
      present: `present.${layer}.${side}`,
    })),
  ).flat();

/**
 * Exports a language model as an ONNX file in standard operators, with its weights under their Hugging Face names. Names and shapes are
 * those of optimum's exports, which transformers.js reads:
 *
 *     inputs    input_ids, position_ids           i64[batch_size, sequence_length]
 *               attention_mask                    i64[batch_size, past_sequence_length + sequence_length]
 *               past_key_values.<layer>.key, .value   f32[batch_size, G, past_sequence_length, S]
 *     outputs   logits                            f32[batch_size, sequence_length, V]
 *               present.<layer>.key, .value       f32[batch_size, G, past_sequence_length + sequence_length, S]
 *
 * The past may be empty, of length 0. Padding may stand anywhere, where `attention_mask` is 0.
 *
 * @throws UndriftError when the file would exceed ONNX's limit of 2 GiB
 */
export function exportCausalOnnx(
  model: LanguageModel,
  { dtype = 'f32' }: { dtype?: ExportDtype } = {},
): Uint8Array {
  const { decoder, weights } = model;
  const graph = new Graph('decoder');
  const [batch, tokens, past] = ['batch_size', 'sequence_length', 'past_sequence_length'];
  const ids = graph.input('input_ids', 'i64', [batch, tokens]);
  const all = cast(graph.input('attention_mask', 'i64', [batch, addDims(past, tokens)]), 'f32');
  const positions = graph.input('position_ids', 'i64', [batch, tokens]);
  const { layers, heads, size } = decoder.cacheShape;
  const names = cacheNames(layers);
  const inputs = names.map((each) => graph.input(each.past, 'f32', [batch, heads, past, size]));

  const constants = new Map<string, Tensor>();
  const parameter = (name: string): Tensor => {
    const { dtype, dims, data } = weights[name]!;
    const made = constants.get(name) ?? graph.constant(dtype, dims, data, decoder.storedName(name));
    constants.set(name, made);
    return made;
  };
  const logits = decoder.logits(parameter, {
    ids,
    positions,
    mask: slice(all, { axis: 1, start: past, length: tokens }),
    cache: {
      mask: slice(all, { axis: 1, length: past }),
      attended(layer, own) {
        // One tensor, and not past and own apart: a product over 0 places is not defined everywhere.
        const [key, value] = SIDES.map((side, i) => concat([inputs[2 * layer + i]!, own[side]], 2)) as [
          Tensor,
          Tensor,
        ];
        graph.output(names[2 * layer]!.present, key);
        graph.output(names[2 * layer + 1]!.present, value);
        return [{ key, value }];
      },
    },
  });
  graph.output('logits', logits);
  return onnxBytes(graph, dtype);
}
