import type { Graph } from '../../graph/graph.ts';
import { toStandardOnnx } from '../../graph/standard-onnx.ts';
import { encodeModel } from '../../onnx/encode.ts';
import { halfWeights } from '../../onnx/half-weights.ts';
import type { OnnxModel } from '../../onnx/model.ts';
import { quantizeWeights } from '../../onnx/quantize-weights.ts';
import { embeddingSpaceId } from '../retriever/embedding-space.ts';
import type { Retriever, Side } from '../retriever/retriever.ts';
import { storedWeights } from '../retriever/stored-weights.ts';
import { wholeEncoder } from '../retriever/whole-encoder.ts';

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

const STORED: Readonly<Record<ExportDtype, (model: OnnxModel) => OnnxModel>> = {
  f32: (model) => model,
  f16: halfWeights,
  int8: quantizeWeights,
};

/**
 * Exports the encoder of one side as an ONNX file in standard operators, with its weights under their Hugging
 * Face names. Inputs and outputs are those of `wholeEncoder`, which transformers.js and sentence-transformers know.
 *
 * @throws UndriftError when the file would exceed ONNX's limit of 2 GiB
 */
export function exportOnnx(retriever: Retriever, side: Side, options: OnnxExportOptions = {}): Uint8Array {
  const { embeddingSpace = embeddingSpaceId(retriever), tokens = true, dtype = 'f32' } = options;
  const { encoder } = retriever;
  const graph = wholeEncoder(retriever.prefix(side), encoder, storedWeights(retriever, side), { tokens });
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
  const model = toStandardOnnx(graph, { ...metadata, ...(dtype !== 'f32' && { 'undrift.dtype': dtype }) });
  return encodeModel(STORED[dtype](model));
}
