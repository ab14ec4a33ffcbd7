import { existsSync } from 'node:fs';
import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { TextDocument } from '../data/text-corpus.ts';
import { CorpusDigest } from '../data/token-corpus.ts';
import type { TokenState } from '../models/language/decoder.ts';
import type { LanguageModel } from '../models/language/language-model.ts';
import { languageModelId, tokenizerId } from '../models/language/language-model-id.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { DataError, UndriftError, UsageError } from '../util/errors.ts';
import { guard } from '../util/file-error.ts';
import { readJson, syncFolder, writeFileAtomic } from '../util/files.ts';
import { f16ToF32, f32ToF16 } from '../util/half.ts';
import { lockBeside, withLock } from '../util/lock.ts';
import { type NoteListener, tellNote } from '../util/option-name.ts';
import type { Progress } from '../util/progress.ts';
import {
  asManifest,
  asSettings,
  asState,
  buildingFolder,
  type DatastoreManifest,
  type DatastoreSettings,
  type DatastoreState,
  datastoreFiles,
  datastoreJson,
} from './datastore-files.ts';
import { documentSegments } from './evaluate-text.ts';
import type { Segment } from './language-system.ts';
import { textWindows } from './text-windows.ts';

/** Options of `buildDatastore`. */
export interface BuildDatastoreOptions extends ComputeOptions {
  /** State of the model that is the key of a token. Default `feed-forward-input`, as in the paper. */
  readonly keys?: TokenState | undefined;
  /** Tokens that are read at once, ≥ 2. Default 1,024, or what the model reads at most. */
  readonly window?: number | undefined;
  /** Tokens between the beginnings of windows, from 1 to `window`. Default the window. */
  readonly stride?: number | undefined;
  /** Number of tokens to store, ≥ 1. Default all. */
  readonly limitTokens?: number | undefined;
  /** Number of tokens that are stored together, ≥ 1. Default 4,096. */
  readonly groupTokens?: number | undefined;
  /** Name of the text, for the manifest. A build goes on only under the same name. Default `(memory)`. */
  readonly data?: string | undefined;
  /** Number of tokens that will be stored, for the progress. Default `limitTokens`. */
  readonly expectedTokens?: number | undefined;
  /** Stops the build after the tokens at hand. The same call goes on there later. */
  readonly signal?: AbortSignal | undefined;
  /** Called as tokens are read and stored. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  /** Called when a build goes on that was stopped. */
  readonly onNote?: NoteListener | undefined;
}

/** Result of `buildDatastore`. */
export interface DatastoreBuild {
  /** Number of tokens stored so far. */
  readonly tokens: number;
  /** Description of the datastore; undefined where the build was stopped. */
  readonly manifest: DatastoreManifest | undefined;
  /** Number of tokens that an earlier call had stored. */
  readonly resumedTokens: number;
}

/** Tokens that are stored at once. */
const GROUP_TOKENS = 4096;

/**
 * Checks that a datastore can be built in a folder.
 *
 * @throws UsageError where the folder exists
 */
export function checkNewDatastore(folder: string): void {
  if (!existsSync(folder)) return;
  throw new UsageError(`${folder} exists already`, { help: 'remove it, or give another folder' });
}

/**
 * Builds the datastore of kNN-LM: for every token x_t of a text the key f(x_<t), a state of the language model, and the value x_t.
 * Documents are read in windows, as `evaluateText` reads them.
 *
 * Memory is bounded by a document and a group of 4,096 tokens. The folder gets its name when it is whole; until then its parts are in
 * `FOLDER.building`. A build that was stopped or killed goes on where it was, and gives the same bytes.
 *
 * @param folder  folder to make, which must not exist
 * @throws UsageError where the folder exists, where a build with other settings was begun there, and for windows that the model cannot
 *   read
 * @throws DataError where the documents are not those with which the build was begun
 * @paper Khandelwal et al. 2020: "Generalization through Memorization: Nearest Neighbor Language Models".
 */
export async function buildDatastore(
  model: LanguageModel,
  documents: AsyncIterable<TextDocument> | Iterable<TextDocument>,
  folder: string,
  options: BuildDatastoreOptions = {},
): Promise<DatastoreBuild> {
  const { keys = 'feed-forward-input', limitTokens, data = '(memory)' } = options;
  const settings: DatastoreSettings = {
    model: languageModelId(model),
    tokenizer: tokenizerId(model.tokenizer),
    vocabSize: model.decoder.vocabSize,
    keys,
    dimension: model.decoder.hiddenSize,
    ...textWindows(options, model.decoder.maxTokens),
    limitTokens: limitTokens ?? null,
    data,
  };
  return await withLock(lockBeside(folder), async () => {
    checkNewDatastore(folder);
    const building = buildingFolder(folder);
    const state = await begunState(building, settings);
    if (state.manifest) {
      await moveFinished(building, folder);
      return {
        tokens: state.manifest.tokens,
        manifest: state.manifest,
        resumedTokens: state.manifest.tokens,
      };
    }
    const files = await DatastoreWriter.open(building, settings, state);
    try {
      if (state.tokens > 0)
        tellNote(options.onNote, `going on after ${state.tokens} tokens of an earlier build`);
      const isWhole = await storeDocuments(model, documents, files, options);
      const { tokens } = files.state;
      const resumedTokens = state.tokens;
      if (!isWhole) return { tokens, manifest: undefined, resumedTokens };
      if (tokens === 0) {
        await rm(building, { recursive: true, force: true });
        throw new UsageError('the text has no token to store', {
          help: 'a document needs at least two tokens',
        });
      }
      const manifest = await files.finish();
      await moveFinished(building, folder);
      return { tokens, manifest, resumedTokens };
    } finally {
      await files.close();
    }
  });
}

const NOTHING: DatastoreState = {
  tokens: 0,
  documents: 0,
  windows: 0,
  documentBytes: 0,
  fingerprint: new CorpusDigest().finish(),
  documentsRead: 0,
};

/** Gives a datastore that is whole its name. */
async function moveFinished(building: string, folder: string): Promise<void> {
  const files = datastoreFiles(building);
  for (const file of [files.state, files.settings]) await rm(file, { force: true });
  await guard(folder, 'write')(rename(building, folder));
  await syncFolder(dirname(resolve(folder)));
}

/** Reads how far a build has come, with the manifest where only the name is missing. Removes what is of no use. */
async function begunState(
  building: string,
  settings: DatastoreSettings,
): Promise<DatastoreState & { readonly manifest?: DatastoreManifest }> {
  const files = datastoreFiles(building);
  if (!existsSync(files.state) || !existsSync(files.settings)) {
    await guard(building, 'write')(rm(building, { recursive: true, force: true }));
    return NOTHING;
  }
  const begun = asSettings(await readJson(files.settings), files.settings);
  const other = (Object.keys(settings) as (keyof DatastoreSettings)[]).find(
    (name) => !isDeepStrictEqual(begun[name], settings[name]),
  );
  if (other !== undefined) {
    throw new UsageError(
      `a build with other settings was begun in ${building}: ${other} ${begun[other]}, and now ${settings[other]}`,
      { help: 'give the settings of then to go on, or remove that folder' },
    );
  }
  const state = asState(await readJson(files.state), files.state);
  if (!existsSync(files.manifest)) return state;
  return { ...state, manifest: asManifest(await readJson(files.manifest), files.manifest) };
}

/** Reads documents and stores their tokens. Returns false where the signal has stopped it. */
async function storeDocuments(
  model: LanguageModel,
  documents: AsyncIterable<TextDocument> | Iterable<TextDocument>,
  files: DatastoreWriter,
  options: BuildDatastoreOptions,
): Promise<boolean> {
  const {
    limitTokens,
    expectedTokens = limitTokens,
    groupTokens = GROUP_TOKENS,
    signal,
    onProgress,
  } = options;
  const { device, threads } = options;
  const { settings } = files;
  const begun = files.state;
  const digest = new CorpusDigest();
  const compute = { ...(device && { device }), ...(threads && { threads }) };
  let group: { segment: Segment; begins: boolean }[] = [];
  let waiting = 0;
  let read = 0;
  const store = async () => {
    const segments = group.map(({ segment }) => segment);
    const tell = (done: number) =>
      onProgress?.({ stage: 'store', done, total: expectedTokens, unit: 'tokens' });
    const before = files.state.tokens;
    const onScored = (tokens: number) => tell(before + tokens);
    const scores = await model.scoreTokens(segments, { keys: settings.keys, ...compute, onScored });
    await files.append(
      group.map((each, i) => ({ ...each, keys: scores[i]!.keys! })),
      { fingerprint: digest.finish(), documentsRead: read },
    );
    group = [];
    waiting = 0;
    tell(files.state.tokens);
  };
  const room = () => (limitTokens ?? Number.POSITIVE_INFINITY) - files.state.tokens - waiting;
  for await (const document of documents) {
    if (signal?.aborted) return false;
    digest.add(document);
    read += 1;
    if (read === begun.documentsRead && digest.finish() !== begun.fingerprint) {
      throw new DataError('the documents are not those with which the datastore was begun', {
        file: settings.data,
        help: `give the same text, or remove ${files.folder} to begin anew`,
      });
    }
    if (read < begun.documentsRead) continue;
    // An earlier call has stored windows of this document, perhaps not all.
    const isBegun = read === begun.documentsRead;
    const stored = isBegun ? begun.windows : 0;
    const limit = isBegun ? (limitTokens ?? Number.POSITIVE_INFINITY) : room();
    if (limit <= 0 || (isBegun && room() <= 0)) break;
    const { segments } = documentSegments({ model }, document, settings, limit);
    for (const [i, segment] of segments.entries()) {
      if (i < stored) continue;
      const most = segment.from + room();
      if (most <= segment.from) break;
      group.push({ segment: { ...segment, ids: segment.ids.subarray(0, most) }, begins: i === 0 });
      waiting += Math.min(segment.ids.length, most) - segment.from;
      if (waiting < groupTokens) continue;
      await store();
      if (signal?.aborted) return false;
    }
    if (room() <= 0) break;
  }
  if (read < begun.documentsRead) {
    throw new DataError('the text has fewer documents than when the datastore was begun', {
      file: settings.data,
    });
  }
  if (group.length > 0) await store();
  return true;
}

/** Files of a datastore that is being built. What they hold beyond the state is cut off when they are opened. */
class DatastoreWriter {
  readonly folder: string;
  readonly settings: DatastoreSettings;
  state: DatastoreState;
  private readonly handles: Readonly<Record<'keys' | 'squares' | 'values' | 'documents', FileHandle>>;

  private constructor(
    folder: string,
    settings: DatastoreSettings,
    parts: { state: DatastoreState; handles: DatastoreWriter['handles'] },
  ) {
    this.folder = folder;
    this.settings = settings;
    this.state = parts.state;
    this.handles = parts.handles;
  }

  static async open(
    folder: string,
    settings: DatastoreSettings,
    state: DatastoreState,
  ): Promise<DatastoreWriter> {
    const check = guard(folder, 'write');
    await check(mkdir(folder, { recursive: true }));
    const files = datastoreFiles(folder);
    if (state.tokens === 0) await writeFileAtomic(files.settings, datastoreJson(settings));
    const bytes = {
      keys: 2 * settings.dimension * state.tokens,
      squares: 4 * state.tokens,
      values: 4 * state.tokens,
      documents: state.documentBytes,
    };
    const handles: Partial<Record<keyof typeof bytes, FileHandle>> = {};
    try {
      for (const name of ['keys', 'squares', 'values', 'documents'] as const) {
        const handle = await check(open(files[name], existsSync(files[name]) ? 'r+' : 'w+'));
        handles[name] = handle;
        const { size } = await check(handle.stat());
        if (size < bytes[name]) {
          throw new DataError(`the file has ${size} bytes, where ${bytes[name]} were written`, {
            file: files[name],
            help: `remove ${folder} to begin anew`,
          });
        }
        await check(handle.truncate(bytes[name]));
      }
    } catch (error) {
      for (const handle of Object.values(handles)) await handle.close();
      throw error;
    }
    return new DatastoreWriter(folder, settings, { state, handles: handles as DatastoreWriter['handles'] });
  }

  /** Appends the tokens of windows, and makes them last. */
  async append(
    windows: readonly { readonly segment: Segment; readonly begins: boolean; readonly keys: Float32Array }[],
    read: Pick<DatastoreState, 'fingerprint' | 'documentsRead'>,
  ): Promise<void> {
    const { dimension: D } = this.settings;
    let { tokens, documents, windows: ofLast, documentBytes } = this.state;
    const first = tokens;
    const lines: string[] = [];
    const values: number[] = [];
    for (const { segment, begins } of windows) {
      if (begins) {
        lines.push(`${JSON.stringify({ id: segment.document, start: tokens })}\n`);
        documents += 1;
        ofLast = 0;
      }
      ofLast += 1;
      values.push(...segment.ids.subarray(segment.from));
      tokens = first + values.length;
    }
    const halves = new Uint16Array(values.length * D);
    const squares = new Float32Array(values.length);
    let row = 0;
    for (const { keys } of windows) {
      const own = halves.subarray(row * D, row * D + keys.length);
      const rounded = f16ToF32(f32ToF16(keys, own));
      for (let start = 0; start < keys.length; start += D)
        squares[row++] = squareOf(rounded.subarray(start, start + D));
    }
    const bad = squares.findIndex((square) => !Number.isFinite(square));
    if (bad >= 0) {
      throw new UndriftError(`the key of token ${first + bad} does not fit half precision`, {
        help: 'take another state as key, such as output or feed-forward-input, whose norms bound it',
      });
    }
    const text = Buffer.from(lines.join(''));
    const write = async (
      name: 'keys' | 'squares' | 'values' | 'documents',
      bytes: Uint8Array,
      position: number,
    ) => {
      const check = guard(datastoreFiles(this.folder)[name], 'write');
      for (let done = 0; done < bytes.length; ) {
        const { bytesWritten } = await check(
          this.handles[name].write(bytes, done, bytes.length - done, position + done),
        );
        done += bytesWritten;
      }
      await check(this.handles[name].sync());
    };
    await write('keys', new Uint8Array(halves.buffer), 2 * D * first);
    await write('squares', new Uint8Array(squares.buffer), 4 * first);
    await write('values', new Uint8Array(Int32Array.from(values).buffer), 4 * first);
    await write('documents', text, documentBytes);
    documentBytes += text.length;
    this.state = { tokens, documents, windows: ofLast, documentBytes, ...read };
    await writeFileAtomic(datastoreFiles(this.folder).state, datastoreJson(this.state));
  }

  /** Writes the manifest. */
  async finish(): Promise<DatastoreManifest> {
    const { tokens, documents, fingerprint } = this.state;
    const manifest = { ...this.settings, tokens, documents, fingerprint };
    const files = datastoreFiles(this.folder);
    await writeFileAtomic(files.manifest, datastoreJson(manifest));
    return manifest;
  }

  async close(): Promise<void> {
    for (const handle of Object.values(this.handles)) await handle.close();
  }
}

function squareOf(row: Float32Array): number {
  let sum = 0;
  for (let d = 0; d < row.length; d++) sum += row[d]! * row[d]!;
  return sum;
}
