import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { bytesOf } from '../../onnx/dtypes.ts';
import type { ComputeOptions } from '../../runtime/devices.ts';
import type { HostTensor } from '../../runtime/host-tensor.ts';
import type { ProgramMessage } from '../../runtime/program-message.ts';
import type { TokenStore } from '../../text/token-store.ts';
import { fileError, readAt } from '../../util/files.ts';
import type { EncoderInputs } from '../retriever/encoder-inputs.ts';

/**
 * First message of `BackgroundEncoder` to its process.
 *
 * Large data are exchanged through files: a pipe moves a few hundred kilobytes per turn of the event loop,
 * and a training step is one turn.
 */
export interface EncoderStart {
  readonly kind: 'start';
  /** Encoder to compile, without weights. */
  readonly program: ProgramMessage;
  /** Device and threads. */
  readonly compute: ComputeOptions;
  /** Token inputs of the program. */
  readonly inputs: EncoderInputs;
  /** Id of the padding token. */
  readonly padId: number;
  /** Embedding size D. */
  readonly dimension: number;
  /** Operating system priority, from 0 to 19 (the lowest). */
  readonly niceness: number;
}

/** Message that starts a job: texts to embed with given weights, both in files of the folder. */
export interface EncodeJob {
  readonly kind: 'job';
  /** Number of the job, which names its files. */
  readonly id: number;
  /** Names and shapes of the weights, which are f32, one after the other, in the file `weights`. */
  readonly weights: readonly { readonly name: string; readonly dims: readonly number[] }[];
  /** Number of texts. */
  readonly rows: number;
  /** Dtype of the token ids in the file `tokens`, which follow the i32[rows] lengths. */
  readonly tokens: 'u16' | 'i32';
  /** End of each block. Its texts are embedded together; the file `embeddings`, f32[rows, D], grows by a block at a time. */
  readonly ends: readonly number[];
  /** Number of rows in the file `embeddings` from an earlier attempt: the end of a block, or 0. */
  readonly done: number;
}

/** Messages to the process. */
export type EncoderRequest = EncoderStart | EncodeJob;

/** Messages from the process. */
export type EncoderAnswer =
  /** Reports that the encoder is compiled. */
  | { readonly kind: 'ready' }
  /** Reports the number of rows embedded, and of those in the file. */
  | { readonly kind: 'progress'; readonly id: number; readonly rows: number; readonly written: number }
  | { readonly kind: 'done'; readonly id: number }
  | { readonly kind: 'failed'; readonly reason: string };

/** Path of a file of a job, by its content. */
export const jobFile = (folder: string, id: number, part: 'weights' | 'tokens' | 'embeddings'): string =>
  join(folder, `${id}.${part}`);

/** Texts of a job. */
export interface JobTexts {
  /** Tokens, by row. */
  readonly store: TokenStore;
  /** Rows to embed. */
  readonly rows: Uint32Array;
  /** End of each block of rows, ascending. */
  readonly ends: Uint32Array;
}

/** Bytes gathered for one write. */
const WRITE_BYTES = 1 << 22;

/**
 * Writes the files of a job, with empty embeddings. Nothing is flushed to disk, because the files are
 * worthless after a crash.
 *
 * @throws UndriftError when the files cannot be written
 */
export async function writeJob(
  folder: string,
  id: number,
  weights: Readonly<Record<string, HostTensor>>,
  { store, rows, ends }: JobTexts,
): Promise<EncodeJob> {
  await withFile(jobFile(folder, id, 'weights'), 'w', async (file) => {
    for (const { data } of Object.values(weights)) await file.writeFile(bytesOf(data));
  });
  const wide = rows.length > 0 && store.tokens(rows[0]!) instanceof Int32Array;
  await withFile(jobFile(folder, id, 'tokens'), 'w', async (file) => {
    await file.writeFile(bytesOf(Int32Array.from(rows, (row) => store.length(row))));
    for (const piece of joined(store, rows, wide ? Int32Array : Uint16Array))
      await file.writeFile(bytesOf(piece));
  });
  await withFile(jobFile(folder, id, 'embeddings'), 'w', async () => {});
  return {
    kind: 'job',
    id,
    weights: Object.entries(weights).map(([name, { dims }]) => ({ name, dims })),
    rows: rows.length,
    tokens: wide ? 'i32' : 'u16',
    ends: [...ends],
    done: 0,
  };
}

/** Yields the tokens of rows, one text after the other, in pieces of a few megabytes. */
function* joined(
  store: TokenStore,
  rows: Uint32Array,
  Tokens: Int32ArrayConstructor | Uint16ArrayConstructor,
): Generator<Int32Array<ArrayBuffer> | Uint16Array<ArrayBuffer>> {
  let piece = new Tokens(WRITE_BYTES / Tokens.BYTES_PER_ELEMENT);
  let used = 0;
  for (const row of rows) {
    const tokens = store.tokens(row);
    if (used + tokens.length > piece.length) {
      yield piece.subarray(0, used);
      if (tokens.length > piece.length) piece = new Tokens(tokens.length);
      used = 0;
    }
    piece.set(tokens, used);
    used += tokens.length;
  }
  yield piece.subarray(0, used);
}

/**
 * Reads the embeddings of a job block by block.
 *
 * @param take  gets f32[rows, D] of the rows from `first` on, ascending
 * @throws UndriftError when the file cannot be read
 */
export async function readEmbeddings(
  path: string,
  { ends, dimension }: { readonly ends: Iterable<number>; readonly dimension: number },
  take: (first: number, embeddings: Float32Array) => void,
): Promise<void> {
  const rowBytes = 4 * dimension;
  await withFile(path, 'r', async (file) => {
    let first = 0;
    for (const end of ends) {
      const bytes = await readAt(file, path, first * rowBytes, (end - first) * rowBytes);
      take(first, new Float32Array(bytes.buffer));
      first = end;
    }
  });
}

/**
 * Opens a file, runs `work` with it and closes it.
 *
 * @throws UndriftError that names the file when this fails
 */
export async function withFile<T>(
  path: string,
  flags: string,
  work: (file: FileHandle) => Promise<T>,
): Promise<T> {
  let file: FileHandle | undefined;
  try {
    file = await open(path, flags);
    return await work(file);
  } catch (error) {
    throw fileError(error, path, flags === 'r' ? 'read' : 'write');
  } finally {
    await file?.close();
  }
}
