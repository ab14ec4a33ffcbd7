import type { SafetensorsReader } from '../../io/safetensors.ts';
import { initialValue, type ParameterSpec } from '../../nn/parameters.ts';
import { type HostTensor, hostTensor } from '../../runtime/host-tensor.ts';
import { DataError } from '../../util/errors.ts';
import type { Json } from '../../util/json-objects.ts';
import type { EncoderWeights } from '../architectures/architecture.ts';
import { STATIC_TABLE, staticEmbedding } from '../architectures/static.ts';
import type { EncoderConfig } from '../retriever/encoder.ts';
import { readWeights, storedShape, toF32 } from './weight-files.ts';

/** Tensors of model2vec: distinct vectors, the row of each token, and a factor for each token. */
const [VECTORS, MAPPING, FACTORS] = ['embeddings', 'mapping', 'weights'];

/** Configuration of a StaticEmbedding: Undrift's own, or derived from the shapes of its tensors. */
export function staticConfig(
  config: Json | undefined,
  reader: SafetensorsReader,
  file: string,
): EncoderConfig['model'] {
  const { modelType } = staticEmbedding;
  if (config?.model_type === modelType) return { ...config, model_type: modelType };
  const shape = storedShape(reader, STATIC_TABLE, file);
  if (shape?.length !== 2) {
    throw new DataError(`there is no matrix '${STATIC_TABLE}' or '${VECTORS}'`, {
      file,
      help: 'a folder of sentence-transformers (StaticEmbedding) or of model2vec has one',
    });
  }
  const tokens = isFactored(reader) ? reader.tensors.get(MAPPING)?.dims[0] : undefined;
  return { model_type: modelType, vocab_size: tokens ?? shape[0]!, hidden_size: shape[1]! };
}

/** Tells whether the file has the tensors of model2vec, with which rows, factors or 8-bit numbers may come. */
const isFactored = ({ tensors }: SafetensorsReader): boolean =>
  tensors.has(VECTORS) &&
  (tensors.has(MAPPING) || tensors.has(FACTORS) || tensors.get(VECTORS)!.dtype === 'i8');

/**
 * Reads the weights of a StaticEmbedding. Of a quantised vocabulary (model2vec) the table is written out: the row of
 * token t is `weights[t] · embeddings[mapping[t]]`.
 *
 * @throws DataError that names the tensor when one is damaged or does not fit the others
 */
export async function readStaticWeights(
  reader: SafetensorsReader,
  specs: readonly ParameterSpec[],
  options: Parameters<typeof readWeights>[2],
): Promise<EncoderWeights> {
  if (!isFactored(reader)) return await readWeights(reader, specs, options);
  const { file } = options;
  const weights: Record<string, HostTensor> = {};
  for (const spec of specs) {
    weights[spec.name] =
      spec.name === STATIC_TABLE
        ? await writtenOut(reader, spec, file)
        : hostTensor('f32', spec.shape, initialValue(spec, 0));
  }
  return weights;
}

async function writtenOut(reader: SafetensorsReader, spec: ParameterSpec, file: string): Promise<HostTensor> {
  const [V, D] = spec.shape as [number, number];
  const { dtype, dims, data } = await reader.read(VECTORS);
  const vectors =
    dtype === 'i8'
      ? Float32Array.from(data as Int8Array)
      : (toF32({ dtype, dims, data }, { spec: { ...spec, shape: [dims[0]!, D] }, stored: VECTORS, file })
          .data as Float32Array);
  const fail = (name: string, what: string) =>
    new DataError(`tensor '${name}' ${what}`, {
      file,
      help: 'the folder is damaged, or not all of it was copied',
    });
  const ofTokens = async (name: string) => {
    const tensor = reader.tensors.has(name) ? await reader.read(name) : undefined;
    if (tensor && (tensor.dims.length !== 1 || tensor.dims[0] !== V)) {
      throw fail(name, `has the shape [${tensor.dims.join(', ')}], not one number for each of ${V} tokens`);
    }
    return tensor;
  };
  const mapping = await ofTokens(MAPPING);
  if (mapping && !/^[iu]\d+$/.test(mapping.dtype))
    throw fail(MAPPING, `holds ${mapping.dtype} numbers, not rows`);
  const factors = await ofTokens(FACTORS);
  const scale =
    factors &&
    (toF32(factors, { spec: { ...spec, shape: [V] }, stored: FACTORS, file }).data as Float32Array);
  // Factors of 64 bits are multiplied as such.
  const exact = factors?.dtype === 'f64' ? (factors.data as Float64Array) : scale;
  const table = new Float32Array(V * D);
  for (let t = 0; t < V; t++) {
    const row = mapping ? Number(mapping.data[t]) : t;
    if (!(row >= 0 && row < dims[0]!)) {
      throw fail(MAPPING, `gives token ${t} the row ${row} of ${dims[0]} rows`);
    }
    const factor = exact?.[t] ?? 1;
    for (let i = 0; i < D; i++) table[t * D + i] = factor * vectors[row * D + i]!;
  }
  return hostTensor('f32', spec.shape, table);
}
