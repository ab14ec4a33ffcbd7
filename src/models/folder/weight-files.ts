import { existsSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { openSafetensors, type SafetensorsReader } from '../../io/safetensors.ts';
import type { LoadedTensor } from '../../io/tensor-data.ts';
import { initialValue, type ParameterSpec } from '../../nn/parameters.ts';
import { type HostTensor, hostTensor } from '../../runtime/host-tensor.ts';
import { DataError } from '../../util/errors.ts';
import { bf16ToF32, f16ToF32 } from '../../util/half.ts';

/**
 * Prefixes of parameter names in files of other programs, besides the architecture's own prefix for models
 * with a head.
 */
const PREFIXES = ['', 'model.', '0.auto_model.'];

/** Other names of the same tensors, in TensorFlow's checkpoints and in model2vec. */
const OLD_NAMES: readonly (readonly [RegExp, string])[] = [
  [/LayerNorm\.weight$/, 'LayerNorm.gamma'],
  [/LayerNorm\.bias$/, 'LayerNorm.beta'],
  [/^embedding\.weight$/, 'embeddings'],
];

/** Matches weight files in formats that run code when read, or that only other frameworks read. */
export const PICKLED_WEIGHTS =
  /^(pytorch_model.*\.(bin|bin\.index\.json)|.*\.(pt|pth|ckpt)|tf_model.*\.h5|model\.ckpt.*|flax_model.*\.msgpack)$/;

/** Writes the advice for a model whose weights are in such a file. */
export function convertHelp(file: string, model: string, hasModules: boolean): string {
  const python = hasModules
    ? `from sentence_transformers import SentenceTransformer as S; S('${model}').save_pretrained('converted')`
    : `from transformers import AutoTokenizer as T, AutoModel as M; n = '${model}'; [x.from_pretrained(n).save_pretrained('converted') for x in (T, M)]`;
  return (
    `the weights lie in ${file}, which we do not read (reading a pickle runs whatever program is in it); ` +
    `of a model that you trust make safetensors, with Python: python -c "${python}", then give the folder converted`
  );
}

/**
 * Opens the weights of a folder.
 *
 * @throws DataError with advice when there are only other formats
 */
export async function openWeights(folder: string): Promise<SafetensorsReader> {
  const path = join(folder, 'model.safetensors');
  if (!existsSync(path) && !existsSync(`${path}.index.json`)) {
    const names = existsSync(folder) ? readdirSync(folder) : [];
    const other = names.find((name) => PICKLED_WEIGHTS.test(name));
    throw new DataError('no such file', {
      file: path,
      help: other
        ? convertHelp(other, folder, names.includes('modules.json'))
        : 'the folder is no model folder, or not all of it was copied',
    });
  }
  return openSafetensors(path);
}

/** Finds the name of a parameter in a file; undefined if the file lacks it. */
function storedName(name: string, prefix: string, names: { has(name: string): boolean }): string | undefined {
  const spellings = [
    name,
    ...OLD_NAMES.filter(([is]) => is.test(name)).map(([is, old]) => name.replace(is, old)),
  ];
  return spellings.map((spelling) => prefix + spelling).find((stored) => names.has(stored));
}

/** Finds the shape of a parameter in a file, whatever its name there. */
export function storedShape(reader: SafetensorsReader, name: string): readonly number[] | undefined {
  const stored = PREFIXES.map((prefix) => storedName(name, prefix, reader.tensors)).find((found) => found);
  return stored ? reader.tensors.get(stored)!.dims : undefined;
}

/**
 * Reads an encoder's parameters as f32; half-precision weights are converted. Tensors that are not part of
 * the encoder (poolers, heads) are skipped and named in a note.
 *
 * @param options.headPrefix  prefix of the names in models with a head (see `Architecture`)
 * @param options.isFoldable  tells whether a parameter may be absent; it then has its initial value
 * @throws DataError that names file and tensor when one is missing, has another shape or a dtype that is not
 *   floating-point, or holds a number that is not finite
 */
export async function readWeights(
  reader: SafetensorsReader,
  specs: readonly ParameterSpec[],
  options: {
    file: string;
    isFoldable?: (name: string) => boolean;
    headPrefix?: string | undefined;
    onNote?: ((note: string) => void) | undefined;
  },
): Promise<Record<string, HostTensor>> {
  const { file } = options;
  const prefixes = options.headPrefix === undefined ? PREFIXES : [...PREFIXES, options.headPrefix];
  const prefix = prefixes.find((each) => storedName(specs[0]!.name, each, reader.tensors)) ?? '';
  // Parameters of a head itself have no prefix.
  const find = ({ name }: ParameterSpec) =>
    storedName(name, prefix, reader.tensors) ?? storedName(name, '', reader.tensors);
  const storedNames = new Map(specs.map((spec) => [spec, find(spec)]));
  const missing = specs.filter((spec) => !storedNames.get(spec) && !options.isFoldable?.(spec.name));
  if (missing.length > 0) {
    const names = someOf(missing.map(({ name }) => prefix + name));
    throw new DataError(`${missing.length} of ${specs.length} tensors are missing: ${names}`, {
      file,
      help: 'config.json and the weights come from different models, or the file is incomplete',
    });
  }
  const weights: Record<string, HostTensor> = {};
  for (const [spec, stored] of storedNames) {
    weights[spec.name] = stored
      ? toF32(await reader.read(stored), { spec, stored, file })
      : hostTensor('f32', spec.shape, initialValue(spec, 0));
  }
  const used = new Set(storedNames.values());
  // Old versions of transformers stored the positions 0, 1, 2, … as a tensor, which carries no information.
  const extra = [...reader.tensors.keys()].filter(
    (name) => !used.has(name) && !name.endsWith('embeddings.position_ids'),
  );
  if (extra.length > 0) {
    options.onNote?.(
      `${basename(file)}: ${extra.length} tensors are no part of the encoder and were left: ${someOf(extra)}`,
    );
  }
  return weights;
}

const someOf = (names: readonly string[]): string =>
  names.slice(0, 4).join(', ') + (names.length > 4 ? `, … ${names.length - 4} more` : '');

function toF32(
  { dtype, dims, data }: LoadedTensor,
  { spec, stored, file }: { spec: ParameterSpec; stored: string; file: string },
): HostTensor {
  if (dims.length !== spec.shape.length || dims.some((size, axis) => size !== spec.shape[axis])) {
    throw new DataError(
      `tensor '${stored}' has the shape [${dims.join(', ')}], config.json asks for [${spec.shape.join(', ')}]`,
      { file, help: 'config.json and the weights come from different models' },
    );
  }
  let values: Float32Array;
  if (dtype === 'f32') values = data as Float32Array;
  else if (dtype === 'f16') values = f16ToF32(data as Uint16Array);
  else if (dtype === 'bf16') values = bf16ToF32(data as Uint16Array);
  else if (dtype === 'f64') values = Float32Array.from(data as Float64Array);
  else {
    throw new DataError(`tensor '${stored}' holds ${dtype} numbers, not floating-point ones`, {
      file,
      help: 'quantised weights cannot be trained: use the original ones',
    });
  }
  for (let i = 0; i < values.length; i++) {
    if (!Number.isFinite(values[i]!)) {
      throw new DataError(`tensor '${stored}' holds ${values[i]} at element ${i}`, {
        file,
        help: 'the training that made it diverged, or the file is damaged',
      });
    }
  }
  return hostTensor('f32', dims, values as Float32Array<ArrayBuffer>);
}
