import type { writeSafetensors } from '../../io/safetensors.ts';
import type { HostTensor } from '../../runtime/host-tensor.ts';
import { UsageError } from '../../util/errors.ts';
import { f32ToF16 } from '../../util/half.ts';
import { isProjection } from '../retriever/encoder.ts';
import type { Retriever, Side } from '../retriever/retriever.ts';
import { storedWeights } from '../retriever/stored-weights.ts';
import { moduleTensor } from './dense-modules.ts';
import { moduleFiles } from './module-files.ts';
import { type ExportDtype, exportOnnx } from './onnx-export.ts';
import { tokenizerFiles } from './tokenizer-files.ts';
import { LONGEST_TOKENS, UNDRIFT_JSON, type UndriftJson, undriftJson } from './undrift-json.ts';

/**
 * Formats of a model folder:
 *
 *     sentence-transformers   modules.json and its folders; config.json, model.safetensors, the tokenizer
 *     huggingface             config.json, model.safetensors, the tokenizer
 *     onnx                    onnx/model.onnx for transformers.js: token vectors and embedding; config.json, the tokenizer
 *     onnx-embedding          onnx/embedding.onnx: the embedding alone; the tokenizer
 */
export const EXPORT_FORMATS = ['sentence-transformers', 'huggingface', 'onnx', 'onnx-embedding'] as const;

/** Format of a model folder; see {@link EXPORT_FORMATS}. */
export type ExportFormat = (typeof EXPORT_FORMATS)[number];

/**
 * Chooses the formats of a saved model: all that can hold it. A static encoder with token weights is no
 * StaticEmbedding, and sentence-transformers has no other module for it.
 *
 * @param known  whether sentence-transformers has a module for the encoder
 * @param onnx  whether to add the format `onnx`
 */
export const savedFormats = (known: boolean, onnx = true): ExportFormat[] => [
  known ? 'sentence-transformers' : 'huggingface',
  ...(onnx ? (['onnx'] as const) : []),
];

/** Suffixes of file names, as transformers.js expects them. */
const SUFFIXES: Readonly<Record<ExportDtype, string>> = { f32: '', f16: '_fp16', int8: '_quantized' };

/** Path of an ONNX file in a model folder. */
export const onnxFileName = (format: 'onnx' | 'onnx-embedding', dtype: ExportDtype): string =>
  `onnx/${format === 'onnx' ? 'model' : 'embedding'}${SUFFIXES[dtype]}.onnx`;

/** Settings of {@link towerFiles}. */
export interface TowerFilesOptions {
  /** Formats of the folder. */
  formats: readonly ExportFormat[];
  /**
   * Dtypes of the stored weights. Default f32. There is an ONNX file for each, and `model.safetensors` has
   * the first of f32 and f16 in the list.
   */
  dtypes?: readonly ExportDtype[];
  /** Whether to fold weights (see `storedWeights`). Default true. */
  fold?: boolean | undefined;
  /** Id of the embedding space. */
  embeddingSpace: string;
  /** Text of the model card. */
  card: string;
  /** Side of the tower, for one tower of a pair. */
  tower?: Side | undefined;
}

/** Files of one folder, by path. Large content is made only when it is written. */
export interface Files {
  /** Content of JSON files. */
  json: Record<string, unknown>;
  /** Content of other files, or functions that make it. */
  raw: Record<string, string | (() => Uint8Array)>;
  /** Tensors of safetensors files. */
  tensors: Record<string, Parameters<typeof writeSafetensors>[1]>;
}

/**
 * Makes the files of a complete folder, for shared towers or for one tower of a pair.
 *
 * @throws UsageError when a format cannot hold the encoder
 */
export function towerFiles(retriever: Retriever, options: TowerFilesOptions): Files {
  const { formats, dtypes = ['f32'], embeddingSpace, card, tower } = options;
  const { encoder, tokenizer, config } = retriever;
  const { moduleClass } = encoder;
  const { pooling, normalize, dense = [], dimensions, includePrompt = true } = encoder.config;
  const { prompts } = config;
  const side = tower ?? 'document';
  const has = (...wanted: ExportFormat[]) => wanted.some((format) => formats.includes(format));
  // Other programs have one maximum length for all texts.
  const maxTokens = tower ? config.maxTokens[tower] : Math.max(...Object.values(config.maxTokens));
  const modules = has('sentence-transformers')
    ? moduleFiles({
        moduleClass,
        hiddenSize: encoder.hiddenSize,
        dense,
        dimensions,
        pooling,
        includePrompt,
        normalize,
        maxTokens,
        prompts,
      })
    : undefined;
  const stored = has('sentence-transformers', 'huggingface') ? safetensorsDtype(dtypes) : undefined;
  const tensors: Files['tensors'] = {};
  if (stored) {
    const weights = storedAs(storedWeights(retriever, side, options), stored);
    tensors['model.safetensors'] = weights;
    // Without modules the dense layers are in the encoder's own file.
    for (const [layer, folder] of (modules?.dense ?? []).entries()) {
      const own: typeof weights = {};
      for (const { name } of encoder.denseSpecs[layer]!) {
        own[moduleTensor(name)] = weights[name]!;
        delete weights[name];
      }
      tensors[`${folder}/model.safetensors`] = own;
    }
  }
  const onnx: Files['raw'] = {};
  for (const format of ['onnx', 'onnx-embedding'] as const) {
    for (const dtype of has(format) ? dtypes : []) {
      onnx[onnxFileName(format, dtype)] = () =>
        exportOnnx(retriever, side, { embeddingSpace, dtype, tokens: format === 'onnx' });
    }
  }
  const tokens = tokenizerFiles(tokenizer, {
    maxTokens,
    tokenTypes: encoder.tokenTypes,
    // A StaticEmbedding has no other setting for the longest text; all other modules truncate by settings of their own.
    truncates: moduleClass === 'StaticEmbedding' && maxTokens < LONGEST_TOKENS,
  });
  return {
    json: {
      'config.json': {
        ...tokens.ids,
        ...encoder.configFile,
        torch_dtype: stored === 'f16' ? 'float16' : 'float32',
      },
      ...tokens.json,
      ...modules?.files,
      [UNDRIFT_JSON]: undriftJson(describeRetriever(retriever, embeddingSpace, tower)),
    },
    raw: {
      ...tokens.raw,
      'README.md': card,
      ...onnx,
    },
    tensors,
  };
}

/**
 * Chooses the dtype of `model.safetensors`.
 *
 * @throws UsageError when only int8 is asked for
 */
export function safetensorsDtype(dtypes: readonly ExportDtype[]): 'f32' | 'f16' {
  const dtype = dtypes.find((each) => each !== 'int8');
  if (dtype) return dtype;
  throw new UsageError('int8 is a way to store ONNX files, not model.safetensors', {
    help: 'name f32 or f16 too, or the formats onnx and onnx-embedding alone',
  });
}

/** Converts weights to the dtype in which `model.safetensors` stores them. */
export function storedAs(
  weights: Readonly<Record<string, HostTensor>>,
  dtype: 'f32' | 'f16',
): Record<string, HostTensor> {
  return Object.fromEntries(
    Object.entries(weights).map(([name, { dims, data }]) => [
      name,
      { dtype, dims, data: dtype === 'f16' ? f32ToF16(data as Float32Array) : data } as HostTensor,
    ]),
  );
}

/** Makes the content of `undrift.json`. */
export function describeRetriever(retriever: Retriever, embeddingSpace: string, tower?: Side): UndriftJson {
  const { towers, prompts, maxTokens, encodeDtype } = retriever.config;
  const { pooling, normalize, dense = [], dimensions, includePrompt } = retriever.encoder.config;
  const [projection] = dense;
  return {
    towers: tower ? 'shared' : towers,
    ...(tower && { tower }),
    pooling,
    normalize,
    ...(includePrompt === false && { includePrompt }),
    ...(projection && (isProjection(dense) ? { projectionSize: projection.size } : { dense })),
    ...(dimensions && { dimensions }),
    prompts,
    maxTokens,
    ...(encodeDtype && { encodeDtype }),
    embeddingSpace,
    trainedSteps: retriever.trainedSteps,
  };
}
