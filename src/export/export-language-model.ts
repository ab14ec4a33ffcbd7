import { existsSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { ExportDtype } from '../models/folder/onnx-export.ts';
import { onnxFileName, safetensorsDtype, storedAs } from '../models/folder/tower-files.ts';
import { LANGUAGE_MODEL, UNDRIFT_JSON } from '../models/folder/undrift-json.ts';
import { checkReplaceable, writeFiles } from '../models/folder/write-towers.ts';
import { CachedReading } from '../models/language/cached-reading.ts';
import { cacheNames, exportCausalOnnx } from '../models/language/causal-onnx.ts';
import { LanguageModel } from '../models/language/language-model.ts';
import { languageModelFiles } from '../models/language/save-language-model.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { float32, type HostTensor, hostTensor, zeros } from '../runtime/host-tensor.ts';
import { OnnxFile } from '../runtime/onnx-file.ts';
import { UndriftError } from '../util/errors.ts';
import { writeFolderAtomic } from '../util/files.ts';
import { optionalJson } from '../util/json-objects.ts';
import type { Progress } from '../util/progress.ts';
import { compareVectors, type VectorDifference } from './compare-vectors.ts';
import { parityTexts } from './parity-texts.ts';
import { faultOf } from './tolerances.ts';

/** Formats in which a language model is exported: a folder for transformers, an ONNX file for transformers.js. */
export const LANGUAGE_FORMATS = ['huggingface', 'onnx'] as const;

/** Format in which a language model is exported; see `LANGUAGE_FORMATS`. */
export type LanguageFormat = (typeof LANGUAGE_FORMATS)[number];

/** Settings of {@link exportLanguageModel}. */
export interface LanguageExportOptions {
  /** Threads inside one operation. Default: all cores. */
  readonly threads?: number | undefined;
  /** Formats to write. Default all. */
  readonly formats?: readonly LanguageFormat[] | undefined;
  /** Dtypes of the stored weights. Default f32 only; int8 is for ONNX files only. */
  readonly dtypes?: readonly ExportDtype[] | undefined;
  /** Texts to verify every file on. Default 20 of many scripts. */
  readonly texts?: readonly string[] | undefined;
  /** Called with progress in texts. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

/** Exported file with weights, and the difference of its logits from the model's. */
export interface ExportedLanguageFile extends VectorDifference {
  /** Path relative to the folder. */
  readonly path: string;
  /** Size of the file, in bytes. */
  readonly bytes: number;
  /** Dtype of the stored weights. */
  readonly dtype: ExportDtype;
  /** Logits compared: of the ONNX file, without and with cached keys and values, or of the folder loaded again. */
  readonly vectors: 'logits' | 'loaded';
}

/** Result of {@link exportLanguageModel}. */
export interface LanguageExportReport {
  /** Number of texts compared for each file. */
  readonly texts: number;
  /** Files with weights, each verified. */
  readonly files: readonly ExportedLanguageFile[];
}

/**
 * Tells whether the folder of a model holds a language model: one that Undrift has saved, or one of transformers with a head for the next
 * token, without the modules of a sentence-transformer.
 */
export async function holdsLanguageModel(folder: string): Promise<boolean> {
  const own = await optionalJson(join(folder, UNDRIFT_JSON));
  if (own) return own.kind === LANGUAGE_MODEL;
  if (existsSync(join(folder, 'modules.json'))) return false;
  const { architectures } = (await optionalJson(join(folder, 'config.json'))) ?? {};
  return [architectures].flat().some((name) => /(ForCausalLM|LMHeadModel)$/.test(String(name)));
}

/** Number of texts that every file is verified on. */
const TEXTS = 20;

/** Number of tokens of each of them. */
const TOKENS = 48;

/**
 * Writes a language model for other programs and verifies each file.
 *
 * ONNX files are run by onnxruntime, once on the beginning of each text and once on its last token, with the keys and values that the
 * first run gave out. `model.safetensors` is loaded again. The logits are compared with those of the model. If a file fails, the
 * folder is left as it was.
 *
 * @throws UsageError when a format cannot hold the dtype
 * @throws UndriftError when the folder holds something else, or the logits of a file differ
 */
export async function exportLanguageModel(
  folder: string,
  model: LanguageModel,
  options: LanguageExportOptions = {},
): Promise<LanguageExportReport> {
  const { formats = LANGUAGE_FORMATS, dtypes = ['f32'], texts } = options;
  const stored = formats.includes('huggingface') ? safetensorsDtype(dtypes) : undefined;
  await checkReplaceable(folder);
  // A text needs a token before its last; some have none in small vocabularies.
  const readable = (texts ?? parityTexts())
    .map((text) => sequenceOf(model, text))
    .filter(({ length }) => length > 1);
  const sequences = texts ? readable : readable.slice(0, TEXTS);
  let files: ExportedLanguageFile[] = [];
  await writeFolderAtomic(folder, async (temporary) => {
    const { json, raw, tensors } = languageModelFiles(model);
    await writeFiles(temporary, {
      json: {
        ...json,
        ...(stored === 'f16' && {
          'config.json': { ...(json['config.json'] as object), torch_dtype: 'float16' },
        }),
      },
      raw: { ...raw, ...onnxFiles(model, formats.includes('onnx') ? dtypes : []) },
      tensors: stored
        ? {
            'model.safetensors': storedAs(tensors['model.safetensors'] as Record<string, HostTensor>, stored),
          }
        : {},
    });
    files = await verify(temporary, model, sequences, { ...options, formats, dtypes });
  });
  return { texts: sequences.length, files };
}

const onnxFiles = (model: LanguageModel, dtypes: readonly ExportDtype[]) =>
  Object.fromEntries(
    dtypes.map((dtype) => [onnxFileName('onnx', dtype), () => exportCausalOnnx(model, { dtype })]),
  );

/** Tokens of a text to verify on: its beginning, no longer than the model reads. */
function sequenceOf({ tokenizer, decoder }: LanguageModel, text: string): readonly number[] {
  const most = Math.min(TOKENS, decoder.maxTokens ?? TOKENS);
  return [...tokenizer.wrapper.before, ...tokenizer.encodeRaw(text, most)].slice(0, most);
}

async function verify(
  folder: string,
  model: LanguageModel,
  sequences: readonly (readonly number[])[],
  {
    formats,
    dtypes,
    threads,
    onProgress,
  }: LanguageExportOptions & { formats: readonly LanguageFormat[]; dtypes: readonly ExportDtype[] },
): Promise<ExportedLanguageFile[]> {
  const compute = { ...(threads && { threads }) };
  const V = model.decoder.vocabSize;
  const expected = await logitsOf(sequences, V, reader(model, compute));
  const found: ExportedLanguageFile[] = [];
  const add = async (file: Pick<ExportedLanguageFile, 'path' | 'dtype' | 'vectors'>, read: Read) => {
    const onText = (done: number) =>
      onProgress?.({ stage: `verify ${file.path}`, done, total: sequences.length, unit: 'texts' });
    const difference = compareVectors(await logitsOf(sequences, V, read, onText), expected, V);
    const fault = faultOf(difference, file.dtype);
    if (fault) {
      throw new UndriftError(`the export could not be verified: ${file.path}: ${fault}`, {
        help:
          file.dtype === 'f32'
            ? 'please report this, with the model’s config.json'
            : 'export this model as f32',
      });
    }
    found.push({ ...file, bytes: (await stat(join(folder, file.path))).size, ...difference });
  };
  for (const dtype of formats.includes('onnx') ? dtypes : []) {
    const path = onnxFileName('onnx', dtype);
    const file = await OnnxFile.open(join(folder, path), { name: path, ...compute });
    try {
      await add({ path, dtype, vectors: 'logits' }, (ids) => readByOnnx(file, model, ids));
    } finally {
      await file.dispose();
    }
  }
  if (!formats.includes('huggingface')) return found;
  const loaded = await LanguageModel.load(folder);
  try {
    await add(
      { path: 'model.safetensors', dtype: safetensorsDtype(dtypes), vectors: 'loaded' },
      reader(loaded, compute),
    );
  } finally {
    await loaded.dispose();
  }
  return found;
}

/** Gives the logits after all tokens but the last, and after the last, f32[V] each. */
type Read = (ids: readonly number[]) => Promise<readonly [Float32Array, Float32Array]>;

/** Collects f32[2 · texts, V]. */
async function logitsOf(
  sequences: readonly (readonly number[])[],
  V: number,
  read: Read,
  onText?: (done: number) => void,
): Promise<Float32Array> {
  const all = new Float32Array(2 * sequences.length * V);
  for (const [i, ids] of sequences.entries()) {
    for (const [j, logits] of (await read(ids)).entries()) all.set(logits, (2 * i + j) * V);
    onText?.(i + 1);
  }
  return all;
}

const reader =
  (model: LanguageModel, compute: ComputeOptions): Read =>
  async (ids) => {
    const reading = await CachedReading.begin(model, [ids.slice(0, -1)], compute);
    const before = reading.logits.slice();
    await reading.read([ids.slice(-1)]);
    return [before, reading.logits.slice()];
  };

/** Reads all tokens but the last without a past, and the last with what the first run gave out. */
async function readByOnnx(
  file: OnnxFile,
  { decoder }: LanguageModel,
  ids: readonly number[],
): Promise<readonly [Float32Array, Float32Array]> {
  const { layers, heads, size } = decoder.cacheShape;
  const names = cacheNames(layers);
  const V = decoder.vocabSize;
  const run = async (
    tokens: readonly number[],
    past: Readonly<Record<string, HostTensor>>,
    start: number,
  ) => {
    const numbers = (values: readonly number[]) =>
      hostTensor('i64', [1, values.length], BigInt64Array.from(values, BigInt));
    const outputs = await file.run({
      input_ids: numbers(tokens),
      attention_mask: numbers(new Array(start + tokens.length).fill(1)),
      position_ids: numbers(tokens.map((_, t) => start + t)),
      ...past,
    });
    return { outputs, last: float32(outputs.logits, 'logits').slice(-V) };
  };
  const none = Object.fromEntries(names.map(({ past }) => [past, zeros('f32', [1, heads, 0, size])]));
  const first = await run(ids.slice(0, -1), none, 0);
  const past = Object.fromEntries(names.map(({ past, present }) => [past, first.outputs[present]!]));
  const second = await run(ids.slice(-1), past, ids.length - 1);
  return [first.last, second.last];
}
