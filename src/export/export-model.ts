import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { loadRetriever } from '../models/folder/load-retriever.ts';
import { modelCard } from '../models/folder/model-card.ts';
import type { ExportDtype } from '../models/folder/onnx-export.ts';
import { type ExportFormat, onnxFileName, safetensorsDtype } from '../models/folder/tower-files.ts';
import { checkReplaceable, writeTowers } from '../models/folder/write-towers.ts';
import { embeddingSpaceId } from '../models/retriever/embedding-space.ts';
import { needsF32 } from '../models/retriever/encode-dtype.ts';
import type { Retriever, Side } from '../models/retriever/retriever.ts';
import { hasOnlyPlainWeights } from '../models/retriever/stored-weights.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { OnnxFile } from '../runtime/onnx-file.ts';
import { UndriftError, UsageError } from '../util/errors.ts';
import { writeFolderAtomic } from '../util/files.ts';
import type { Progress } from '../util/progress.ts';
import { compareVectors, type VectorDifference } from './compare-vectors.ts';
import { encodeByOnnx } from './onnx-encoder.ts';
import { parityTexts } from './parity-texts.ts';
import { faultOf } from './tolerances.ts';

/** Settings of {@link exportModel}. */
export interface ExportOptions extends Pick<ComputeOptions, 'threads'> {
  /** Formats to write. Default `sentence-transformers` and `onnx`. */
  formats?: readonly ExportFormat[] | undefined;
  /** Dtypes of the stored weights; see `TowerFilesOptions`. Default f32 only. */
  dtypes?: readonly ExportDtype[];
  /** Makes the text of the model card: of one tower of a pair, or of the whole model without an argument. Default: a card without training and results. */
  card?: (tower?: Side) => string;
  /** Texts to verify every file on. Default `parityTexts()`. */
  texts?: readonly string[];
  /** Called with progress in texts. */
  onProgress?: (progress: Progress) => void;
}

/** Formats that are written unless others are asked for. */
export const DEFAULT_FORMATS: readonly ExportFormat[] = ['sentence-transformers', 'onnx'];

/** Exported file with weights, and the difference of its vectors from the retriever's. */
export interface ExportedFile extends VectorDifference {
  /** Path relative to the folder. */
  readonly path: string;
  /** Size of the file, in bytes. */
  readonly bytes: number;
  /** Dtype of the stored weights. */
  readonly dtype: ExportDtype;
  /** Side whose texts were compared. */
  readonly side: Side;
  /** Vectors compared: an output of the ONNX file, or `loaded` for those of the folder loaded again. */
  readonly vectors: 'sentence_embedding' | 'last_hidden_state' | 'loaded';
}

/** Result of {@link exportModel}. */
export interface ExportReport {
  /** Id of the model's embedding space. */
  readonly embeddingSpace: string;
  /** Number of texts compared for each file. */
  readonly texts: number;
  /** Files with weights, each verified. */
  readonly files: readonly ExportedFile[];
}

/**
 * Writes a retriever for other programs and verifies each file.
 *
 * ONNX files are run by onnxruntime and `model.safetensors` is loaded again. Their vectors of `texts` are
 * compared with those of the retriever. If a file fails, the folder is left as it was.
 *
 * @throws UsageError when a format cannot hold the encoder or the dtype
 * @throws UndriftError when the folder holds something else, or the vectors of a file differ
 */
export async function exportModel(
  folder: string,
  retriever: Retriever,
  options: ExportOptions = {},
): Promise<ExportReport> {
  const { formats = DEFAULT_FORMATS, dtypes = ['f32'] } = options;
  checkFormats(retriever, { formats, dtypes });
  await checkReplaceable(folder);
  const embeddingSpace = embeddingSpaceId(retriever);
  const card =
    options.card ?? ((tower?: Side) => modelCard(retriever, { formats, dtypes, embeddingSpace }, tower));
  const texts = options.texts ?? parityTexts();
  let files: ExportedFile[] = [];
  await writeFolderAtomic(folder, async (temporary) => {
    await writeTowers(temporary, retriever, { formats, dtypes, embeddingSpace, card });
    files = await verify(temporary, retriever, { ...options, formats, dtypes, texts });
  });
  return { embeddingSpace, texts: texts.length, files };
}

function checkFormats(
  retriever: Retriever,
  { formats, dtypes }: { formats: readonly ExportFormat[]; dtypes: readonly ExportDtype[] },
): void {
  if (retriever.encodeDtype !== 'f32') throw needsF32('files are made of the weights and checked in f32');
  const { moduleClass } = retriever.encoder;
  const hasFolder = formats.some((format) => format === 'huggingface' || format === 'sentence-transformers');
  if (hasFolder) safetensorsDtype(dtypes);
  const isBag = moduleClass === 'StaticEmbedding';
  if (formats.includes('huggingface') && isBag) {
    throw new UsageError(
      'transformers has no class for a static encoder, so there is no huggingface folder of it',
      {
        help: 'use sentence-transformers, which has one, or onnx',
      },
    );
  }
  const plain = (['query', 'document'] as const).every((side) => hasOnlyPlainWeights(retriever, side));
  if (formats.includes('sentence-transformers') && !plain) {
    throw new UsageError(
      'sentence-transformers has no module for a bag with weights of its tokens but without normalisation',
      { help: 'use onnx or onnx-embedding' },
    );
  }
}

type Verification = ExportOptions & {
  formats: readonly ExportFormat[];
  dtypes: readonly ExportDtype[];
  texts: readonly string[];
};

async function verify(folder: string, retriever: Retriever, options: Verification): Promise<ExportedFile[]> {
  const { formats, dtypes, texts, threads, onProgress } = options;
  const pair = retriever.config.towers === 'separate';
  const compute = { ...(threads && { threads }) };
  const found: ExportedFile[] = [];
  const add = async (
    file: Omit<ExportedFile, keyof VectorDifference | 'bytes'>,
    difference: VectorDifference,
  ) => {
    const fault = faultOf(difference, file.dtype);
    if (fault) {
      throw new UndriftError(
        `the export could not be verified: ${file.path}: ${fault} (text ${difference.row}: ${JSON.stringify(texts[difference.row]!.slice(0, 40))})`,
        {
          help:
            file.dtype === 'f32'
              ? 'please report this, with the model’s config.json'
              : 'export this model as f32',
        },
      );
    }
    found.push({ ...file, bytes: (await stat(join(folder, file.path))).size, ...difference });
  };
  const compare = (vectors: Float32Array, expected: Float32Array) =>
    compareVectors(vectors, expected, retriever.dimension);

  const expected: Partial<Record<Side, Float32Array>> = {};
  for (const side of ['query', 'document'] as const) {
    const total = texts.length;
    const progress = (stage: string) => (done: number) => onProgress?.({ stage, done, total, unit: 'texts' });
    const store = retriever.tokenize(side, texts.length, (row) => texts[row]!);
    expected[side] = await retriever.encodeTokens(side, store, {
      ...compute,
      onProgress,
    });
    // Shared towers are one encoder for both sides, so comparing documents, the longer texts, is enough.
    if (side === 'query' && !pair) continue;
    for (const format of ['onnx', 'onnx-embedding'] as const) {
      for (const dtype of formats.includes(format) ? dtypes : []) {
        const path = `${pair ? `${side}/` : ''}${onnxFileName(format, dtype)}`;
        const file = await OnnxFile.open(join(folder, path), { name: path, ...compute });
        try {
          const vectors = await encodeByOnnx(file, { retriever, side, store }, progress(`verify ${path}`));
          for (const [output, made] of Object.entries(vectors) as [keyof typeof vectors, Float32Array][]) {
            await add({ path, dtype, side, vectors: output }, compare(made, expected[side]!));
          }
        } finally {
          await file.dispose();
        }
      }
    }
  }
  if (!formats.some((format) => format === 'huggingface' || format === 'sentence-transformers')) return found;
  const dtype = safetensorsDtype(dtypes);
  const loaded = await loadRetriever(folder);
  try {
    for (const side of ['query', 'document'] as const) {
      const path = `${pair ? `${side}/` : ''}model.safetensors`;
      const vectors = await loaded.encode(side, texts, compute);
      await add({ path, dtype, side, vectors: 'loaded' }, compare(vectors, expected[side]!));
    }
  } finally {
    await loaded.dispose();
  }
  return found;
}
