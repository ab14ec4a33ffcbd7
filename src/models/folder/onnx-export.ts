import { Graph } from '../../graph/graph.ts';
import { cast } from '../../graph/ops.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { toOnnx } from '../../graph/to-onnx.ts';
import { encodeModel } from '../../onnx/encode.ts';
import { halfWeights } from '../../onnx/half-weights.ts';
import type { OnnxModel, OnnxNode } from '../../onnx/model.ts';
import { quantizeWeights } from '../../onnx/quantize-weights.ts';
import type { FoldedParameters } from '../architectures/architecture.ts';
import { embeddingSpaceId } from '../retriever/embedding-space.ts';
import type { Retriever, Side } from '../retriever/retriever.ts';
import { storedWeights } from '../retriever/stored-weights.ts';

/**
 * Dtypes of the weights in an exported file. `f32`: unchanged. `f16`: half precision, computed in f32.
 * `int8`: 8-bit integers, with activations quantised at run time. See `halfWeights` and `quantizeWeights`.
 */
export const EXPORT_DTYPES = ['f32', 'f16', 'int8'] as const;

/** Dtype of the weights in an exported file; see {@link EXPORT_DTYPES}. */
export type ExportDtype = (typeof EXPORT_DTYPES)[number];

/** Settings of {@link exportOnnx}. */
export interface OnnxExportOptions {
  /** Id of the embedding space, stored in the file. Default that of the retriever. */
  embeddingSpace?: string;
  /** Output token vectors besides the embedding, if the encoder has them. Default true. */
  tokens?: boolean;
  /** Dtype of the weights. Default f32. */
  dtype?: ExportDtype;
}

/**
 * Name of the input i64[batch] with the number of tokens at the beginning of each text that pooling leaves out: the
 * prompt and the special tokens before it.
 */
export const PROMPT_LENGTH = 'prompt_length';

const STORED: Readonly<Record<ExportDtype, (model: OnnxModel) => OnnxModel>> = {
  f32: (model) => model,
  f16: halfWeights,
  int8: quantizeWeights,
};

/**
 * Exports the encoder of one side as an ONNX file in standard operators, with its weights under their Hugging
 * Face names.
 *
 *     inputs    input_ids, attention_mask, and token_type_ids where the encoder reads it: i64[batch, sequence]
 *               prompt_length where the pooling leaves out the prompt: i64[batch], the number of tokens of the prompt
 *     outputs   last_hidden_state    f32[batch, sequence, hidden size], where the encoder has one vector for each token
 *               sentence_embedding   f32[batch, D]: pooled, projected and normalised, as `Retriever.encode` gives it
 *
 * transformers.js and sentence-transformers know these names. Token ids are rows of the whole table.
 *
 * @throws UndriftError when the file would exceed ONNX's limit of 2 GiB
 */
export function exportOnnx(retriever: Retriever, side: Side, options: OnnxExportOptions = {}): Uint8Array {
  const { embeddingSpace = embeddingSpaceId(retriever), tokens = true, dtype = 'f32' } = options;
  const { encoder } = retriever;
  const graph = new Graph(retriever.prefix(side));
  const shape = ['batch', 'sequence'];
  const ids = graph.input('input_ids', 'i64', shape);
  const mask = cast(graph.input('attention_mask', 'i64', shape), 'f32');
  const types = encoder.tokenTypes ? graph.input('token_type_ids', 'i64', shape) : undefined;

  const weights = storedWeights(retriever, side);
  const constants = new Map<string, Tensor>();
  const parameters: FoldedParameters = (name) => {
    const weight = weights[name];
    if (!weight) return undefined;
    const { dtype, dims, data } = weight;
    const made = constants.get(name) ?? graph.constant(dtype, dims, data, name);
    constants.set(name, made);
    return made;
  };
  const unpooled =
    encoder.config.includePrompt === false ? graph.input(PROMPT_LENGTH, 'i64', ['batch']) : undefined;
  const { hidden, embedding } = encoder.infer(parameters, {
    ids,
    mask,
    ...(types && { types }),
    ...(unpooled && { unpooled }),
  });
  if (hidden && tokens) graph.output('last_hidden_state', hidden);
  graph.output('sentence_embedding', embedding);

  return onnxBytes(graph, dtype, {
    'undrift.embedding_space': embeddingSpace,
    'undrift.trained_steps': String(retriever.trainedSteps),
  });
}

/**
 * Makes an ONNX file in standard operators of a graph that holds its weights as constants.
 *
 * @param dtype  dtype of the stored weights
 * @param metadata  free text by key, stored in the file
 * @throws UndriftError when the file would exceed ONNX's limit of 2 GiB
 */
export function onnxBytes(
  graph: Graph,
  dtype: ExportDtype,
  metadata: Record<string, string> = {},
): Uint8Array {
  const model = toOnnx(graph, { ...metadata, ...(dtype !== 'f32' && { 'undrift.dtype': dtype }) });
  return encodeModel(STORED[dtype](standardOperators(model, graph)));
}

/**
 * Replaces onnxruntime's own `FusedMatMul`, which other runtimes lack, and removes results that nothing reads
 * (the means of layer norms):
 *
 *     FusedMatMul(a, b; transA, transB, α) = α · MatMul(aᵀ, bᵀ),  transposing the last two axes where asked
 *
 * No speed is lost: onnxruntime fuses the three operators again when it loads the file.
 */
function standardOperators(model: OnnxModel, graph: Graph): OnnxModel {
  const made = new Map(graph.nodes.map((node) => [node.outputs[0]!.name, node]));
  const initializers = [...model.graph.initializers];
  const read = new Set([
    ...model.graph.nodes.flatMap(({ inputs }) => inputs),
    ...model.graph.outputs.map(({ name }) => name),
  ]);
  const nodes = model.graph.nodes.flatMap((node): OnnxNode[] => {
    if (node.opType !== 'FusedMatMul') {
      const last = node.outputs.findLastIndex((output) => read.has(output));
      return [{ ...node, outputs: node.outputs.slice(0, last + 1) }];
    }
    const result = node.outputs[0]!;
    const steps: OnnxNode[] = [];
    const operands = node.inputs.map((name, i) => {
      if (intAttribute(node, i === 0 ? 'transA' : 'transB') === 0) return name;
      const { rank } = made.get(node.name!)!.inputs[i]!;
      const perm = Array.from({ length: rank }, (_, axis) => axis);
      [perm[rank - 2], perm[rank - 1]] = [rank - 1, rank - 2];
      const transposed = `${result}/transposed.${i}`;
      steps.push({
        opType: 'Transpose',
        inputs: [name],
        outputs: [transposed],
        attributes: { perm: { kind: 'ints', value: perm } },
      });
      return transposed;
    });
    const alpha = node.attributes?.alpha;
    const product = `${result}/product`;
    steps.push({ opType: 'MatMul', inputs: operands, outputs: [product] });
    initializers.push({
      name: `${result}/alpha`,
      dtype: 'f32',
      dims: [],
      data: Float32Array.of(alpha?.kind === 'float' ? alpha.value : 1),
    });
    steps.push({ opType: 'Mul', inputs: [product, `${result}/alpha`], outputs: [result] });
    return steps;
  });
  const { '': standard } = model.opsets;
  return { ...model, opsets: { '': standard! }, graph: { ...model.graph, nodes, initializers } };
}

function intAttribute(node: OnnxNode, name: string): number {
  const attribute = node.attributes?.[name];
  return attribute?.kind === 'int' ? attribute.value : 0;
}
