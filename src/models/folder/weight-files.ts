import { existsSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { openSafetensors, type SafetensorsReader } from '../../io/safetensors.ts';
import type { LoadedTensor } from '../../io/tensor-data.ts';
import { initialValue, type ParameterSpec } from '../../nn/parameters.ts';
import { type HostTensor, hostTensor } from '../../runtime/host-tensor.ts';
import { DataError } from '../../util/errors.ts';
import { bf16ToF32, f16ToF32 } from '../../util/half.ts';
import { type FoundNames, findNames } from './tensor-names.ts';

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
      help: other ? convertHelp(other, folder, names.includes('modules.json')) : weightsHelp(names),
    });
  }
  return openSafetensors(path);
}

function weightsHelp(names: readonly string[]): string {
  const shard = names.find((name) => /-\d+-of-\d+\.safetensors$/.test(name));
  if (shard !== undefined)
    return `${shard} is one of several files, which model.safetensors.index.json names: copy it too`;
  const named = names.find((name) => name.endsWith('.safetensors') && !name.startsWith('adapter_'));
  if (named !== undefined) return `the folder has ${named}: if it is the model’s, name it model.safetensors`;
  return 'not all of the model was copied or downloaded: its weights belong into this folder';
}

/** Finds the shape of a parameter in a file, whatever its name there. */
export function storedShape(
  reader: SafetensorsReader,
  name: string,
  file: string,
): readonly number[] | undefined {
  const stored = findNames(file, reader, [name]).stored.get(name);
  return stored === undefined ? undefined : reader.tensors.get(stored)?.dims;
}

/**
 * Reads an encoder's parameters as f32; half-precision weights are converted. Tensors that are not part of
 * the encoder (poolers, heads) are skipped and named in a note.
 *
 * @param options.headPrefix  prefix of the names in models with a head (see `Architecture`)
 * @param options.isCopy  tells whether a tensor of the file repeats a parameter, so that no note speaks of it
 * @param options.isFoldable  tells whether a parameter may be absent; it then has its initial value
 * @param options.seed  seed of initial values, default 0
 * @throws DataError that names file and tensor when one is missing, has another shape or a dtype that is not
 *   floating-point, or holds a number that is not finite
 */
export async function readWeights(
  reader: SafetensorsReader,
  specs: readonly ParameterSpec[],
  options: {
    file: string;
    isFoldable?: (name: string) => boolean;
    seed?: number | undefined;
    headPrefix?: string | undefined;
    isCopy?: ((stored: string) => boolean) | undefined;
    onNote?: ((note: string) => void) | undefined;
  },
): Promise<Record<string, HostTensor>> {
  const { file } = options;
  const parameters = specs.map(({ name }) => name);
  const found = findNames(file, reader, parameters, options.headPrefix);
  const missing = specs.filter(({ name }) => !found.stored.has(name) && !options.isFoldable?.(name));
  if (missing.length > 0) throw missingTensors(file, reader, { specs, missing, found });
  if (!found.known) {
    options.onNote?.(
      `${basename(file)}: the weights are read from the names that begin with '${found.prefix}'`,
    );
  }
  const weights: Record<string, HostTensor> = {};
  for (const spec of specs) {
    const stored = found.stored.get(spec.name);
    weights[spec.name] =
      stored === undefined
        ? hostTensor('f32', spec.shape, initialValue(spec, options.seed ?? 0))
        : toF32(await reader.read(stored), { spec, stored, file });
  }
  const used = new Set(found.stored.values());
  // Old versions of transformers stored the positions 0, 1, 2, … as a tensor, which carries no information.
  const extra = allNames(reader).filter(
    (name) => !used.has(name) && !name.endsWith('embeddings.position_ids') && !options.isCopy?.(name),
  );
  if (extra.length > 0) {
    const are = extra.length === 1 ? 'tensor is' : 'tensors are';
    const were = extra.length === 1 ? 'was' : 'were';
    options.onNote?.(
      `${basename(file)}: ${extra.length} ${are} no part of the encoder and ${were} left: ${someOf(extra)}`,
    );
  }
  return weights;
}

const allNames = ({ tensors, unreadable }: SafetensorsReader): string[] => [
  ...tensors.keys(),
  ...unreadable.keys(),
];

/** Signs of models in another form, in the names of their tensors, with the advice for each. */
const OTHER_FORMS: readonly (readonly [RegExp, string])[] = [
  [
    /\.(lora_[AB]|lora_embedding_[AB]|base_layer)\./,
    'the file has LoRA adapters beside the weights: merge them; with Python: peft’s merge_and_unload(), then save_pretrained',
  ],
  [
    /\.(qweight|qzeros|weight_packed|weight_scale|weight_scale_inv|SCB|absmax|quant_map)$/,
    'the weights are quantised, which cannot be trained: use the original ones',
  ],
];

/** Makes the error for parameters that a weight file lacks, with the most likely cause. */
function missingTensors(
  file: string,
  reader: SafetensorsReader,
  {
    specs,
    missing,
    found,
  }: { specs: readonly ParameterSpec[]; missing: readonly ParameterSpec[]; found: FoundNames },
): DataError {
  const names = someOf(missing.map(({ name }) => found.prefix + name));
  const are = missing.length === 1 ? 'is' : 'are';
  const used = new Set(found.stored.values());
  const others = allNames(reader).filter((name) => !used.has(name));
  return new DataError(`${missing.length} of ${specs.length} tensors ${are} missing: ${names}`, {
    file,
    help: help(),
  });

  function help(): string {
    const form = OTHER_FORMS.find(([sign]) => others.some((name) => sign.test(name)));
    if (form) return form[1];
    const [spec] = missing;
    const twin = others.find((name) => String(reader.tensors.get(name)?.dims) === String(spec!.shape));
    if (missing.length === 1 && spec!.shape.length > 1 && twin !== undefined) {
      return `the file has '${twin}' of the same shape: if the two are tied, save the model with save_pretrained, which keeps both or names the one`;
    }
    if (found.stored.size === 0) {
      return others.length === 0
        ? 'the file is empty: copy or download it again'
        : `the file has other tensors, such as '${others[0]}': config.json and the weights come from different models`;
    }
    return 'config.json describes another model than the weights (more layers, for example), or the file is incomplete';
  }
}

const someOf = (names: readonly string[]): string =>
  names.slice(0, 4).join(', ') + (names.length > 4 ? `, … ${names.length - 4} more` : '');

/** Converts a floating-point tensor that was read from a file to f32, and checks its shape and its numbers. */
export function toF32(
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
