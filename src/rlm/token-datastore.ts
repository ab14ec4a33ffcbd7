import { existsSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import type { TokenState } from '../models/language/decoder.ts';
import type { LanguageModel } from '../models/language/language-model.ts';
import { languageModelId, tokenizerId } from '../models/language/language-model-id.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { BlockSearch, type RowRange } from '../search/block-search.ts';
import type { StoredRows } from '../search/stored-rows.ts';
import { DataError, UsageError } from '../util/errors.ts';
import { guard } from '../util/file-error.ts';
import { readAt, readJson, readText } from '../util/files.ts';
import { option } from '../util/option-name.ts';
import type { Progress } from '../util/progress.ts';
import { asManifest, buildingFolder, type DatastoreManifest, datastoreFiles } from './datastore-files.ts';

/** Nearest tokens of B queries, nearest first. Query b owns the places `[b * k, (b + 1) * k)` of the arrays. */
export interface NearestTokens {
  /** i32[B, k]: rows of the datastore; −1 where fewer than k rows are allowed. */
  readonly rows: Int32Array;
  /** f32[B, k]: similarities, descending: −‖q − k‖², or q · k if products were asked for; −∞ where there is no row. */
  readonly similarities: Float32Array;
  /** Rows of each query: the number asked for, or N where the datastore holds fewer. */
  readonly k: number;
}

/** Tokens with the states that predicted them. */
export interface TokenMemory {
  /** Number of tokens, N. */
  readonly size: number;
  /** Size of a key, D. */
  readonly dimension: number;
  /** State of the model that is the key of a token. */
  readonly keys: TokenState;
  /** i32[N]: the tokens. */
  readonly values: Int32Array;
  /** Rows of the tokens of a document; undefined where none of it is stored. */
  rowsOf(document: string): RowRange | undefined;
  /**
   * Finds the nearest tokens of each query.
   *
   * @param queries  f32[B, D], row-major
   * @param k  tokens for each query, ≥ 1
   * @param options.hidden  returns the rows that a query may not find
   */
  search(queries: Float32Array, k: number, options?: TokenSearchOptions): Promise<NearestTokens>;
}

/** Similarity of a query and a key: the negative squared distance, or the inner product. */
export type TokenSimilarity = 'distance' | 'product';

/** Options of a search for tokens. */
export interface TokenSearchOptions {
  /** Similarity by which tokens are near: `distance`, −‖q − k‖², or `product`, q · k. Default `distance`. */
  readonly by?: TokenSimilarity | undefined;
  /** Returns the rows that a query may not find. */
  readonly hidden?: ((query: number) => RowRange | undefined) | undefined;
  /** Called after every block of tokens. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

/** Options of `TokenDatastore.open`. */
export interface OpenDatastoreOptions extends ComputeOptions {
  /** Share of the datastore to search, in (0, 1]: its first tokens. Default 1. */
  readonly share?: number | undefined;
  /** Tokens whose keys are read and compared at once, ≥ 1. Default 16,384: at D = 576, 76 MB of buffers. */
  readonly blockRows?: number | undefined;
}

const BLOCK_ROWS = 16_384;

/**
 * Datastore of kNN-LM: every token of a text, with the state of a language model that predicted it as its key.
 *
 * The keys stay on the disk in half precision. A search reads them block by block into the same buffers, while the block before is
 * compared, and is exact: ‖q − k‖² = ‖q‖² − 2 (q · k − ‖k‖² / 2). Values and lengths of the keys, 8 bytes a token, are in memory.
 */
export class TokenDatastore implements TokenMemory {
  /** Description of the datastore. */
  readonly manifest: DatastoreManifest;
  readonly size: number;
  readonly dimension: number;
  readonly keys: TokenState;
  readonly values: Int32Array;
  private readonly folder: string;
  private readonly file: FileHandle;
  private readonly bias: Float32Array;
  private readonly documents: ReadonlyMap<string, RowRange>;
  private readonly search_: BlockSearch;

  private constructor(
    folder: string,
    manifest: DatastoreManifest,
    parts: {
      readonly size: number;
      readonly file: FileHandle;
      readonly values: Int32Array;
      readonly bias: Float32Array;
      readonly documents: ReadonlyMap<string, RowRange>;
      readonly search: BlockSearch;
    },
  ) {
    this.folder = folder;
    this.manifest = manifest;
    this.size = parts.size;
    this.dimension = manifest.dimension;
    this.keys = manifest.keys;
    this.file = parts.file;
    this.values = parts.values;
    this.bias = parts.bias;
    this.documents = parts.documents;
    this.search_ = parts.search;
  }

  /**
   * Opens a datastore.
   *
   * @throws UsageError where there is none, or one that is not finished, and for a share outside (0, 1]
   * @throws DataError for a damaged one
   */
  static async open(folder: string, options: OpenDatastoreOptions = {}): Promise<TokenDatastore> {
    const { share = 1, blockRows = BLOCK_ROWS, ...compute } = options;
    if (!(share > 0 && share <= 1)) {
      throw new UsageError(`${option('datastoreShare')} must be above 0 and at most 1, found ${share}`);
    }
    const files = datastoreFiles(folder);
    if (!existsSync(files.manifest)) {
      const isBegun = existsSync(buildingFolder(folder));
      throw new UsageError(
        isBegun
          ? `the datastore ${folder} is not finished`
          : `${folder} is no datastore: it has no manifest.json`,
        {
          help: isBegun
            ? 'give the command that builds it again: it goes on where it stopped'
            : 'build one: undrift lm datastore --model M --data FILE --out FOLDER',
        },
      );
    }
    const manifest = asManifest(await readJson(files.manifest), files.manifest);
    const { tokens: N, dimension: D } = manifest;
    const values = new Int32Array((await readWhole(files.values, 4 * N)).buffer);
    const squares = new Float32Array((await readWhole(files.squares, 4 * N)).buffer);
    const wrong = values.findIndex((value) => !(value >= 0 && value < manifest.vocabSize));
    if (wrong >= 0) {
      throw new DataError(`token ${wrong} has the id ${values[wrong]}, of ${manifest.vocabSize} tokens`, {
        file: files.values,
        help: 'the file is damaged: build the datastore again',
      });
    }
    const size = Math.max(1, Math.floor(share * N));
    const documents = await readDocuments(files.documents, manifest, size);
    const file = await guard(files.keys, 'read')(open(files.keys, 'r'));
    try {
      await checkSize(file, files.keys, 2 * N * D);
    } catch (error) {
      await file.close();
      throw error;
    }
    return new TokenDatastore(folder, manifest, {
      ...{ size, file, documents },
      values: values.subarray(0, size),
      bias: squares.subarray(0, size).map((square) => -square / 2),
      search: new BlockSearch(D, { blockRows, ...compute }),
    });
  }

  /**
   * Refuses a language model that did not make the keys.
   *
   * @throws UsageError that names the ids
   */
  check(model: LanguageModel): void {
    const found = { model: languageModelId(model), tokenizer: tokenizerId(model.tokenizer) };
    for (const part of ['tokenizer', 'model'] as const) {
      const own = this.manifest[part];
      if (own === found[part]) continue;
      throw new UsageError(
        `the datastore ${this.folder} was built with the ${part} ${own}, and this ${part} is ${found[part]}`,
        { help: 'use the model that built it, or build a datastore with this one: undrift lm datastore' },
      );
    }
  }

  rowsOf(document: string): RowRange | undefined {
    return this.documents.get(document);
  }

  async search(queries: Float32Array, k: number, options: TokenSearchOptions = {}): Promise<NearestTokens> {
    const { dimension: D } = this;
    const { by = 'distance', ...rest } = options;
    const isDistance = by === 'distance';
    const found = await this.search_.search(this.storedKeys(), queries, k, {
      ...rest,
      ...(isDistance && { bias: this.bias }),
    });
    const similarities = found.scores;
    if (!isDistance) return { rows: found.rows, similarities, k: found.k };
    for (let b = 0; b * D < queries.length; b++) {
      let square = 0;
      for (let d = b * D; d < (b + 1) * D; d++) square += queries[d]! * queries[d]!;
      for (let i = b * found.k; i < (b + 1) * found.k; i++)
        similarities[i] = Math.min(0, 2 * similarities[i]! - square);
    }
    return { rows: found.rows, similarities, k: found.k };
  }

  /** Closes the file and frees the compiled programs. */
  async dispose(): Promise<void> {
    await this.file.close();
    await this.search_.dispose();
  }

  private storedKeys(): StoredRows {
    const { size, dimension, file } = this;
    const path = datastoreFiles(this.folder).keys;
    const check = guard(path, 'read');
    return {
      size,
      dtype: 'f16',
      async read(start, into) {
        const bytes = new Uint8Array(into.buffer, into.byteOffset, into.byteLength);
        for (let done = 0; done < bytes.length; ) {
          const position = start * dimension * 2 + done;
          const { bytesRead } = await check(file.read(bytes, done, bytes.length - done, position));
          if (bytesRead === 0) throw new DataError('the file ends too early', { file: path });
          done += bytesRead;
        }
      },
    };
  }
}

/** Reads a file that must have a certain size. */
async function readWhole(path: string, bytes: number): Promise<Buffer<ArrayBuffer>> {
  const file = await guard(path, 'read')(open(path, 'r'));
  try {
    await checkSize(file, path, bytes);
    return await readAt(file, path, 0, bytes);
  } finally {
    await file.close();
  }
}

async function checkSize(file: FileHandle, path: string, bytes: number): Promise<void> {
  const { size } = await guard(path, 'read')(file.stat());
  if (size === bytes) return;
  throw new DataError(`the file has ${size} bytes, and the manifest asks for ${bytes}`, {
    file: path,
    help: 'the datastore is damaged: build it again',
  });
}

/** Reads the documents of which a token is among the first `size`. */
async function readDocuments(
  file: string,
  { documents: count, tokens }: DatastoreManifest,
  size: number,
): Promise<Map<string, RowRange>> {
  const lines = (await readText(file)).split('\n').slice(0, -1);
  const damaged = (line: number) =>
    new DataError('the list of documents does not fit the manifest', {
      ...{ file, line },
      help: 'the datastore is damaged: build it again',
    });
  if (lines.length !== count) throw damaged(lines.length);
  const starts = lines.map((line, i) => {
    try {
      const { id, start } = JSON.parse(line) as { id: string; start: number };
      if (typeof id === 'string' && Number.isSafeInteger(start) && start >= 0 && start < tokens)
        return { id, start };
    } catch {}
    throw damaged(i + 1);
  });
  const ranges = new Map<string, RowRange>();
  for (const [i, { id, start }] of starts.entries()) {
    const end = starts[i + 1]?.start ?? tokens;
    if (end <= start) throw damaged(i + 1);
    if (start < size) ranges.set(id, { start, end: Math.min(end, size) });
  }
  return ranges;
}
