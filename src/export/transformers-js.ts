import { resolve } from 'node:path';
import { pipelinePools } from '../models/folder/model-card-usage.ts';
import type { Retriever, Side } from '../models/retriever/retriever.ts';
import { PROMPT_LENGTH } from '../models/retriever/whole-encoder.ts';
import { UndriftError } from '../util/errors.ts';

/** Part of transformers.js used here. */
interface Library {
  readonly env: { version: string; allowRemoteModels: boolean; logLevel?: number };
  readonly LogLevel?: { readonly ERROR: number };
  readonly Tensor: new (dtype: string, data: BigInt64Array, dims: number[]) => LibraryTensor;
  readonly AutoTokenizer: { from_pretrained(folder: string): Promise<Tokenize> };
  readonly AutoModel: { from_pretrained(folder: string, options: LoadOptions): Promise<Model> };
  pipeline(task: 'feature-extraction', folder: string, options: LoadOptions): Promise<Pipeline>;
}

interface LoadOptions {
  dtype: string;
}
interface LibraryTensor {
  readonly data: ArrayLike<number | bigint>;
  readonly dims: readonly number[];
}
type Tokenize = (
  texts: string | string[],
  options: { padding?: boolean; truncation: boolean; add_special_tokens?: boolean },
) => Record<string, LibraryTensor>;
interface Model {
  (inputs: Record<string, LibraryTensor>): Promise<Record<string, LibraryTensor>>;
  dispose(): Promise<unknown>;
}
interface Pipeline {
  (texts: string[], options: { pooling: string; normalize: boolean }): Promise<LibraryTensor>;
  dispose(): Promise<unknown>;
}

/** Imports transformers.js; undefined if it is not installed. */
export async function loadTransformersJs(): Promise<Library | undefined> {
  try {
    return (await import('@huggingface/transformers')) as unknown as Library;
  } catch {
    return undefined;
  }
}

/** Texts per call. */
const TEXTS_PER_CALL = 16;

/** Tokens and vectors that transformers.js computes, in the way shown in the model card. */
export interface TransformersJsResult {
  readonly version: string;
  /** Token ids of each text. */
  readonly tokens: readonly Int32Array[];
  /** Vectors, row-major f32[texts, D]. */
  readonly vectors: Float32Array;
}

/**
 * Embeds texts by transformers.js from a folder with `onnx/model.onnx`, read from the disk only. Prompts are
 * the retriever's; tokens, lengths, pooling and normalisation are those of transformers.js.
 *
 * @throws UndriftError with the library's message when it fails
 */
export async function encodeByTransformersJs(
  library: Library,
  folder: string,
  { retriever, side, texts }: { retriever: Retriever; side: Side; texts: readonly string[] },
  onTexts?: (done: number) => void,
): Promise<TransformersJsResult> {
  const { env } = library;
  const { allowRemoteModels, logLevel } = env;
  env.allowRemoteModels = false;
  // The library warns of unknown model types, although it treats them as encoders correctly.
  if (library.LogLevel) env.logLevel = library.LogLevel.ERROR;
  try {
    return await encode(library, resolve(folder), { retriever, side, texts }, onTexts);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new UndriftError(`transformers.js ${env.version} fails on ${folder}: ${reason}`, { cause });
  } finally {
    env.allowRemoteModels = allowRemoteModels;
    if (logLevel !== undefined) env.logLevel = logLevel;
  }
}

async function encode(
  library: Library,
  folder: string,
  { retriever, side, texts }: { retriever: Retriever; side: Side; texts: readonly string[] },
  onTexts: ((done: number) => void) | undefined,
): Promise<TransformersJsResult> {
  const { encoder, config, dimension: D } = retriever;
  const { pooling, normalize } = encoder.config;
  const special = encoder.specialTokens ? {} : { add_special_tokens: false };
  const tokenizer = await library.AutoTokenizer.from_pretrained(folder);
  const pipeline = pipelinePools(encoder)
    ? await library.pipeline('feature-extraction', folder, { dtype: 'fp32' })
    : undefined;
  const model = pipeline ? undefined : await library.AutoModel.from_pretrained(folder, { dtype: 'fp32' });
  const unpooled = BigInt(retriever.unpooledTokens(side));
  const counts = (texts: number) =>
    new library.Tensor('int64', new BigInt64Array(texts).fill(unpooled), [texts]);
  const vectors = new Float32Array(texts.length * D);
  const tokens: Int32Array[] = [];
  for (let start = 0; start < texts.length; start += TEXTS_PER_CALL) {
    const batch = texts.slice(start, start + TEXTS_PER_CALL).map((text) => config.prompts[side] + text);
    for (const text of batch) {
      const { input_ids: ids } = tokenizer(text, { truncation: true, ...special });
      tokens.push(Int32Array.from(ids!.data, Number));
    }
    const inputs = () => ({
      ...tokenizer(batch, { padding: true, truncation: true, ...special }),
      ...(encoder.config.includePrompt === false && { [PROMPT_LENGTH]: counts(batch.length) }),
    });
    const made = pipeline
      ? await pipeline(batch, { pooling, normalize })
      : (await model!(inputs())).sentence_embedding;
    if (made?.data.length !== batch.length * D) {
      throw new Error(
        `it gives ${made ? `[${made.dims}]` : 'no sentence_embedding'} for ${batch.length} texts of ${D} dimensions`,
      );
    }
    vectors.set(made.data as Float32Array, start * D);
    onTexts?.(start + batch.length);
  }
  await (pipeline ?? model)!.dispose();
  return { version: library.env.version, tokens, vectors };
}
