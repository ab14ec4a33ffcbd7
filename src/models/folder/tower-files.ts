import type { writeSafetensors } from '../../io/safetensors.ts';
import type { HostTensor } from '../../runtime/host-tensor.ts';
import type { SpecialIds, Tokenizer } from '../../text/tokenizer.ts';
import { modelIds } from '../../text/tokenizer-json.ts';
import { UsageError } from '../../util/errors.ts';
import { f32ToF16 } from '../../util/half.ts';
import { PROJECTION } from '../retriever/encoder.ts';
import type { Retriever, Side } from '../retriever/retriever.ts';
import { storedWeights } from '../retriever/stored-weights.ts';
import { type ExportDtype, exportOnnx } from './onnx-export.ts';
import { moduleFiles } from './sentence-transformers.ts';
import { UNDRIFT_JSON, type UndriftJson, undriftJson } from './undrift-json.ts';

/**
 * What a folder is to be read by:
 *
 *     sentence-transformers   modules.json and its folders; config.json, model.safetensors, the tokenizer
 *     huggingface             config.json, model.safetensors, the tokenizer
 *     onnx                    onnx/model.onnx for transformers.js: token vectors and embedding; config.json, the tokenizer
 *     onnx-embedding          onnx/embedding.onnx: the embedding alone; the tokenizer
 */
export const EXPORT_FORMATS = ['sentence-transformers', 'huggingface', 'onnx', 'onnx-embedding'] as const;

export type ExportFormat = (typeof EXPORT_FORMATS)[number];

/**
 * What a saved model is to be read by: everything that can. With weights of its tokens a bag is no StaticEmbedding, and nothing else that
 * sentence-transformers has.
 * @param known  whether sentence-transformers has a module for it
 */
export const savedFormats = (known: boolean, onnx = true): ExportFormat[] => [
  known ? 'sentence-transformers' : 'huggingface',
  ...(onnx ? (['onnx'] as const) : []),
];

/** Ends of file names, as transformers.js knows them. */
const SUFFIXES: Readonly<Record<ExportDtype, string>> = { f32: '', f16: '_fp16', int8: '_quantized' };

export const onnxFileName = (format: 'onnx' | 'onnx-embedding', dtype: ExportDtype): string =>
  `onnx/${format === 'onnx' ? 'model' : 'embedding'}${SUFFIXES[dtype]}.onnx`;

export interface TowerFilesOptions {
  formats: readonly ExportFormat[];
  /** How weights are stored (f32). An ONNX file for each; `model.safetensors` has the first of f32 and f16 that is named. */
  dtypes?: readonly ExportDtype[];
  embeddingSpace: string;
  /** The model card. */
  card: string;
  /** Set for one tower of a pair. */
  tower?: Side | undefined;
}

/** Files of one folder, by path. What is large is made when it is written. */
export interface Files {
  json: Record<string, unknown>;
  raw: Record<string, string | (() => Uint8Array)>;
  tensors: Record<string, Parameters<typeof writeSafetensors>[1]>;
}

/**
 * A complete folder for shared towers, or for one tower of a pair.
 * @throws UsageError where a format has no place for such an encoder
 */
export function towerFiles(retriever: Retriever, options: TowerFilesOptions): Files {
  const { formats, dtypes = ['f32'], embeddingSpace, card, tower } = options;
  const { encoder, tokenizer, config } = retriever;
  const { moduleClass } = encoder;
  const { pooling, normalize, projectionSize, dimensions } = encoder.config;
  const { prompts } = config;
  const side = tower ?? 'document';
  const has = (...wanted: ExportFormat[]) => wanted.some((format) => formats.includes(format));
  // Other programs have one length for all texts.
  const maxTokens = tower ? config.maxTokens[tower] : Math.max(...Object.values(config.maxTokens));
  const modules = has('sentence-transformers')
    ? moduleFiles({
        moduleClass,
        hiddenSize: encoder.hiddenSize,
        projectionSize,
        dimensions,
        pooling,
        normalize,
        maxTokens,
        prompts,
      })
    : undefined;
  const stored = has('sentence-transformers', 'huggingface') ? safetensorsDtype(dtypes) : undefined;
  const tensors: Files['tensors'] = {};
  if (stored) {
    const { [PROJECTION]: projection, ...weights } = storedAs(storedWeights(retriever, side), stored);
    tensors['model.safetensors'] = weights;
    if (projection && modules?.projection) {
      tensors[`${modules.projection}/model.safetensors`] = { 'linear.weight': projection };
    } else if (projection) {
      tensors['model.safetensors'] = { ...weights, [PROJECTION]: projection };
    }
  }
  const onnx: Files['raw'] = {};
  for (const format of ['onnx', 'onnx-embedding'] as const) {
    for (const dtype of has(format) ? dtypes : []) {
      onnx[onnxFileName(format, dtype)] = () =>
        exportOnnx(retriever, side, { embeddingSpace, dtype, tokens: format === 'onnx' });
    }
  }
  const roles = tokenRoles(tokenizer);
  const tokens = specialTokens(tokenizer, roles);
  const tokenizerFile = {
    ...tokenizer.toJson(),
    // A StaticEmbedding knows no longest text but this one; everybody else cuts with settings of his own.
    truncation:
      moduleClass === 'StaticEmbedding'
        ? { direction: 'Right', max_length: maxTokens, strategy: 'LongestFirst', stride: 0 }
        : null,
    padding: null,
  };
  return {
    json: {
      'config.json': {
        pad_token_id: 0,
        ...Object.fromEntries(Object.entries(roles).map(([role, id]) => [`${role}_token_id`, id])),
        ...encoder.configFile,
        torch_dtype: stored === 'f16' ? 'float16' : 'float32',
      },
      'tokenizer_config.json': {
        // The class that takes tokenizer.json as it is; BertTokenizer would put its own settings in the place of the file's.
        tokenizer_class: 'PreTrainedTokenizerFast',
        model_max_length: maxTokens,
        model_input_names: ['input_ids', ...(encoder.tokenTypes ? ['token_type_ids'] : []), 'attention_mask'],
        clean_up_tokenization_spaces: false,
        ...tokens,
      },
      'special_tokens_map.json': tokens,
      ...modules?.files,
      [UNDRIFT_JSON]: undriftJson(describeRetriever(retriever, embeddingSpace, tower)),
    },
    raw: {
      'tokenizer.json': `${JSON.stringify(tokenizerFile)}\n`,
      'README.md': card,
      ...onnx,
    },
    tensors,
  };
}

/** The type of the numbers in `model.safetensors`. */
export function safetensorsDtype(dtypes: readonly ExportDtype[]): 'f32' | 'f16' {
  const dtype = dtypes.find((each) => each !== 'int8');
  if (dtype) return dtype;
  throw new UsageError('int8 is a way to store ONNX files, not model.safetensors', {
    help: 'name f32 or f16 too, or the formats onnx and onnx-embedding alone',
  });
}

function storedAs(
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

/** What `undrift.json` says. */
export function describeRetriever(retriever: Retriever, embeddingSpace: string, tower?: Side): UndriftJson {
  const { towers, prompts, maxTokens } = retriever.config;
  const { pooling, normalize, projectionSize, dimensions } = retriever.encoder.config;
  return {
    towers: tower ? 'shared' : towers,
    ...(tower && { tower }),
    pooling,
    normalize,
    ...(projectionSize && { projectionSize }),
    ...(dimensions && { dimensions }),
    prompts,
    maxTokens,
    embeddingSpace,
    trainedSteps: retriever.trainedSteps,
  };
}

/** Tokens that have a role. Without one to fill up with, others refuse texts of unequal length: then it is the end-of-text token. */
function tokenRoles({ specialIds }: Tokenizer): Readonly<SpecialIds> {
  const { pad = specialIds.eos } = specialIds;
  return pad === undefined ? specialIds : { ...specialIds, pad };
}

/** `{"cls_token": "[CLS]", …}` */
function specialTokens(tokenizer: Tokenizer, roles: Readonly<SpecialIds>): Record<string, string> {
  const { model, added_tokens } = tokenizer.toJson();
  const tokens = new Map([...modelIds(model)].map(([token, id]) => [id, token]));
  for (const { id, content } of added_tokens) tokens.set(id, content);
  return Object.fromEntries(Object.entries(roles).map(([role, id]) => [`${role}_token`, tokens.get(id)!]));
}
