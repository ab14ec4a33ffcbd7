import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { findModel } from '../models/folder/find-model.ts';
import { loadRetriever } from '../models/folder/load-retriever.ts';
import type { ExportDtype } from '../models/folder/onnx-export.ts';
import { referenceDifferences } from '../models/folder/reference-differences.ts';
import { readUndriftJson, UNDRIFT_JSON } from '../models/folder/undrift-json.ts';
import { writeTowers } from '../models/folder/write-towers.ts';
import { embeddingSpaceId } from '../models/retriever/embedding-space.ts';
import type { Retriever, Side } from '../models/retriever/retriever.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { OnnxFile } from '../runtime/onnx-file.ts';
import type { TokenStore } from '../text/token-store.ts';
import { UndriftError } from '../util/errors.ts';
import type { NoteListener } from '../util/option-name.ts';
import type { Progress } from '../util/progress.ts';
import { compareVectors, type VectorDifference } from './compare-vectors.ts';
import { type LayerParity, layerParity } from './layer-parity.ts';
import { encodeByOnnx } from './onnx-encoder.ts';
import { parityTexts } from './parity-texts.ts';
import { compareTokens, type TokenParity } from './token-parity.ts';
import { faultOf } from './tolerances.ts';
import { encodeByTransformersJs, loadTransformersJs } from './transformers-js.ts';

/** Settings of {@link measureParity}. */
export interface ParityOptions extends Pick<ComputeOptions, 'threads'> {
  /** Texts to compare on. Default `parityTexts()`. */
  texts?: readonly string[];
  /** Called with notes on the loaded model. */
  onNote?: NoteListener;
  /** Called with progress in texts. */
  onProgress?: (progress: Progress) => void;
}

/** Agreement of another program, or of one ONNX file, with Undrift. */
export interface ClientParity extends Partial<VectorDifference> {
  /** Program compared. */
  readonly client: 'onnxruntime' | 'transformers.js';
  /** Version of the program, if known. */
  readonly version?: string;
  /** Path relative to the model folder, or to the fresh export. */
  readonly file: string;
  /** Dtype of the weights; `other` has no tolerance. */
  readonly dtype: ExportDtype | 'other';
  /** Vectors compared: an output of the file, or `embedding` for the complete result of transformers.js. */
  readonly vectors: 'sentence_embedding' | 'last_hidden_state' | 'embedding';
  /** Number of texts whose vectors were compared. */
  readonly texts: number;
  /** Description of the disagreement; absent if the vectors agree. */
  readonly fault?: string;
  /** Layers up to the first that differs, if vectors differ. */
  readonly layers?: readonly LayerParity[];
  /** Comparison of the token ids, for transformers.js. */
  readonly tokens?: TokenParity;
}

/** Results for one side of the retriever. */
export interface SideParity {
  /** Side compared. */
  readonly side: Side;
  /** Model folder of the side. */
  readonly folder: string;
  /** Whether the ONNX files were exported for this comparison because the folder has none. */
  readonly freshExport: boolean;
  /** Results of each program and file. */
  readonly clients: readonly ClientParity[];
}

/** Result of {@link measureParity}. */
export interface ParityReport {
  /** Whether everything agrees within its tolerance. */
  readonly ok: boolean;
  /** Number of texts. */
  readonly texts: number;
  /** Version of transformers.js; undefined if it is not installed. */
  readonly transformersJs: string | undefined;
  /**
   * Settings of the folder in which Undrift is known to differ from sentence-transformers in Python, which is not run
   * here. They do not change `ok`, which is about the programs that were run.
   */
  readonly differences: readonly string[];
  /** Results of each side. */
  readonly sides: readonly SideParity[];
}

/** Number of texts on which layers are compared; all values of a graph are kept for them. */
const LAYER_TEXTS = 2;

/**
 * Compares the results of other programs with Undrift's on the same texts.
 *
 * The texts go through Undrift, through the folder's ONNX files (or a fresh export if it has none), and
 * through transformers.js if it is installed. Tokens are compared first, then vectors, then layers where
 * vectors differ. The folder may be by Undrift, by sentence-transformers, or a plain Hugging Face model.
 *
 * @param model  a model folder, a training run, or a name on the Hugging Face hub; see `findModel`
 */
export async function measureParity(model: string, options: ParityOptions = {}): Promise<ParityReport> {
  const { onNote } = options;
  const folder = await findModel(model, [], { onNote, onProgress: options.onProgress });
  const texts = options.texts ?? parityTexts();
  const own = await readUndriftJson(join(folder, UNDRIFT_JSON));
  const retriever = await loadRetriever(folder, { ...(onNote && { onNote }) });
  const library = await loadTransformersJs();
  const sides: SideParity[] = [];
  try {
    for (const side of sidesOf(retriever, own?.towers === 'separate')) {
      const inside = own?.towers === 'separate' ? join(folder, side) : folder;
      sides.push(
        await withOnnx(inside, { retriever, side }, (onnx) =>
          compareSide(onnx, { retriever, side, texts, library, options }),
        ),
      );
    }
  } finally {
    await retriever.dispose();
  }
  const ok = sides.every(({ clients }) => clients.every(({ fault }) => fault === undefined));
  const differences = await referenceDifferences(folder);
  return { ok, texts: texts.length, transformersJs: library?.env.version, differences, sides };
}

/**
 * Sides to compare. For one shared encoder it is the side with longer texts, because other programs know only
 * that length.
 */
function sidesOf({ config }: Retriever, pair: boolean): Side[] {
  if (pair) return ['query', 'document'];
  return [config.maxTokens.query > config.maxTokens.document ? 'query' : 'document'];
}

interface OnnxFolder {
  /** Folder with config.json, the tokenizer and the ONNX files. */
  readonly folder: string;
  readonly original: string;
  readonly fresh: boolean;
  readonly files: readonly string[];
}

/** Calls `use` with a folder of ONNX files: the model's own, or a fresh export that is removed afterwards. */
async function withOnnx<Result>(
  folder: string,
  { retriever, side }: { retriever: Retriever; side: Side },
  use: (onnx: OnnxFolder) => Promise<Result>,
): Promise<Result> {
  const files: string[] = [];
  for (const place of ['onnx', '']) {
    const names = existsSync(join(folder, place)) ? await readdir(join(folder, place)) : [];
    files.push(
      ...names
        .filter((name) => name.endsWith('.onnx'))
        .sort()
        .map((name) => join(place, name)),
    );
  }
  if (files.length > 0) return await use({ folder, original: folder, fresh: false, files });
  const temporary = await mkdtemp(join(tmpdir(), 'undrift-parity-'));
  try {
    await writeTowers(temporary, retriever, {
      formats: ['onnx'],
      embeddingSpace: embeddingSpaceId(retriever),
      card: () => '',
    });
    const place = retriever.config.towers === 'separate' ? side : '';
    return await use({
      folder: join(temporary, place),
      original: folder,
      fresh: true,
      files: [join('onnx', 'model.onnx')],
    });
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

interface Comparison {
  retriever: Retriever;
  side: Side;
  texts: readonly string[];
  library: Awaited<ReturnType<typeof loadTransformersJs>>;
  options: ParityOptions;
}

async function compareSide(onnx: OnnxFolder, comparison: Comparison): Promise<SideParity> {
  const { retriever, side, texts, library, options } = comparison;
  const total = texts.length;
  const progress = (stage: string) => (done: number) =>
    options.onProgress?.({ stage, done, total, unit: 'texts' });
  const compute = { ...(options.threads && { threads: options.threads }) };
  const store = retriever.tokenize(side, texts.length, (row) => texts[row]!);
  const ours = await retriever.encodeTokens(side, store, { ...compute, onProgress: options.onProgress });
  const clients: ClientParity[] = [];
  for (const path of onnx.files) {
    clients.push(
      ...(await byOnnx(path, onnx, { ...comparison, store, ours, compute, onTexts: progress(path) })),
    );
  }
  if (library && onnx.files.some((file) => file === join('onnx', 'model.onnx'))) {
    clients.push(
      await byTransformersJs(onnx, {
        ...comparison,
        library,
        store,
        ours,
        onTexts: progress('transformers.js'),
      }),
    );
  }
  return { side, folder: onnx.original, freshExport: onnx.fresh, clients };
}

interface Ours extends Comparison {
  store: TokenStore;
  ours: Float32Array;
  onTexts: (done: number) => void;
}

/** Compares the vectors of each output of one ONNX file. */
async function byOnnx(
  path: string,
  { folder }: OnnxFolder,
  { retriever, side, store, ours, compute, onTexts }: Ours & { compute: ComputeOptions },
): Promise<ClientParity[]> {
  const dtype = dtypeOf(path);
  const base = { client: 'onnxruntime', file: path, dtype } as const;
  let file: OnnxFile | undefined;
  try {
    file = await OnnxFile.open(join(folder, path), { name: path, ...compute });
    const found = await encodeByOnnx(file, { retriever, side, store }, onTexts);
    const clients: ClientParity[] = [];
    for (const [vectors, made] of Object.entries(found) as [keyof typeof found, Float32Array][]) {
      const difference = compareVectors(made, ours, retriever.dimension);
      const fault = dtype === 'other' ? undefined : faultOf(difference, dtype);
      const layers =
        fault === undefined || dtype !== 'f32'
          ? undefined
          : await partingLayers(join(folder, path), { retriever, side, store, row: difference.row });
      clients.push({
        ...base,
        vectors,
        texts: store.rows,
        ...difference,
        ...(fault && { fault }),
        ...layers,
      });
    }
    return clients;
  } catch (error) {
    if (!(error instanceof UndriftError)) throw error;
    return [{ ...base, vectors: 'sentence_embedding', texts: 0, fault: brief(error) }];
  } finally {
    await file?.dispose();
  }
}

/** Longest fault in a report, in characters. */
const LONGEST_FAULT = 240;

/** First part of an error's message, on one line. Programs for foreign files list all that such a file holds. */
function brief({ marked }: UndriftError): string {
  const line = marked.message.replace(/\s+/g, ' ').trim();
  return line.length <= LONGEST_FAULT ? line : `${line.slice(0, LONGEST_FAULT)}…`;
}

/** Compares layers up to the first that differs, on the text that differs most and one more. */
async function partingLayers(
  path: string,
  { retriever, side, store, row }: { retriever: Retriever; side: Side; store: TokenStore; row: number },
): Promise<{ layers?: LayerParity[] }> {
  const other = store.lengths.findIndex((length, i) => i !== row && length > 0);
  const rows = Uint32Array.from([row, ...(other >= 0 ? [other] : [])].slice(0, LAYER_TEXTS));
  try {
    const layers = await layerParity(await readFile(path), { retriever, side, store, rows, name: path });
    const first = layers.findIndex(({ differs }) => differs);
    return { layers: first < 0 ? layers : layers.slice(0, first + 1) };
  } catch (error) {
    // Files with external weights or unknown operators cannot be compared by layer.
    if (error instanceof UndriftError) return {};
    throw error;
  }
}

/** Compares the whole of transformers.js: tokens, encoder, pooling and normalisation. */
async function byTransformersJs(
  { folder }: OnnxFolder,
  {
    retriever,
    side,
    texts,
    store,
    ours,
    library,
    onTexts,
  }: Ours & { library: NonNullable<Comparison['library']> },
): Promise<ClientParity> {
  const base = {
    client: 'transformers.js',
    version: library.env.version,
    file: join('onnx', 'model.onnx'),
    dtype: 'f32',
    vectors: 'embedding',
  } as const;
  try {
    const found = await encodeByTransformersJs(library, folder, { retriever, side, texts }, onTexts);
    const tokens = compareTokens(texts, found.tokens, (row) => store.tokens(row), {
      maxTokens: retriever.config.maxTokens[side],
      closing: retriever.encoder.specialTokens ? retriever.tokenizer.wrapper.after.length : 0,
    });
    const skipped = new Set([...tokens.cut, ...tokens.sigma]);
    const rows = [...texts.keys()].filter((row) => !skipped.has(row));
    const D = retriever.dimension;
    const pick = (vectors: Float32Array) => {
      const picked = new Float32Array(rows.length * D);
      for (const [i, row] of rows.entries()) picked.set(vectors.subarray(row * D, (row + 1) * D), i * D);
      return picked;
    };
    const difference = compareVectors(pick(found.vectors), pick(ours), D);
    const fault =
      tokens.other.length > 0
        ? `${tokens.other.length} texts have other tokens, the first is text ${tokens.other[0]}`
        : faultOf(difference, 'f32');
    const row = rows[difference.row] ?? 0;
    return { ...base, texts: rows.length, ...difference, row, tokens, ...(fault && { fault }) };
  } catch (error) {
    if (!(error instanceof UndriftError)) throw error;
    return { ...base, texts: 0, fault: brief(error) };
  }
}

/** Reads the dtype of the weights from the file name, by the names of transformers.js. `other` has no tolerance. */
function dtypeOf(path: string): ClientParity['dtype'] {
  const [, suffix] =
    /_(fp16|quantized|int8|uint8|q\d\w*|bnb4|O\d|qint8\w*|quint8\w*)\.onnx$/.exec(relative('.', path)) ?? [];
  if (suffix === undefined) return 'f32';
  if (suffix === 'fp16') return 'f16';
  return /^(quantized|int8|uint8|qint8|quint8)/.test(suffix) ? 'int8' : 'other';
}
