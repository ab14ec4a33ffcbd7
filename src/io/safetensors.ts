import { existsSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { bytesOf, checkDataSize, type DType, dtypes, elementCount, viewAs } from '../onnx/dtypes.ts';
import { DataError, UsageError } from '../util/errors.ts';
import { fileError, readAt, readJson, writeFileAtomic } from '../util/files.ts';
import { foreignFile, RECOGNISED_BYTES } from '../util/foreign-file.ts';
import { isObject } from '../util/json-objects.ts';
import { didYouMean } from '../util/nearest.ts';
import {
  maximumHeaderBytes,
  metadataKey,
  parseSafetensorsHeader,
  type SafetensorsHeader,
  unreadableTensor,
} from './safetensors-header.ts';
import type { LoadedTensor, TensorData } from './tensor-data.ts';

/** Open safetensors file, or set of shards, from which single tensors can be read. */
export interface SafetensorsReader {
  /** Free text by key, from the header of the file; of shards, from the index and from the headers of all. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Type and shape of every tensor, by name. */
  readonly tensors: ReadonlyMap<string, { readonly dtype: DType; readonly dims: readonly number[] }>;
  /** Names of the tensors that cannot be read, with their element type as the file spells it, such as `F8_E4M3`. */
  readonly unreadable: ReadonlyMap<string, string>;
  /**
   * Reads one tensor.
   *
   * @throws DataError if there is no tensor of this name, its element type is not read, or the file was truncated
   *   since it was opened.
   */
  read(name: string): Promise<LoadedTensor>;
  /** Closes the file or all shards. */
  close(): Promise<void>;
}

/**
 * Writes tensors as a safetensors file, streaming and atomically. The bytes equal those of the reference
 * implementation.
 *
 * Tensors are written in the order of the reference implementation: by element type, largest first, then by
 * name. The tensors must not change until the promise settles.
 *
 * @param metadata free text by key; transformers refuses files without `format`
 * @param onBytes called with all bytes of the file in order, for a digest
 * @throws ShapeError if the size of a tensor's data does not match its dims and dtype.
 * @throws UsageError if a tensor has the reserved name `__metadata__`, or the header gets too long.
 * @throws UndriftError if the file cannot be written.
 */
export async function writeSafetensors(
  path: string,
  tensors: Readonly<Record<string, TensorData>>,
  metadata: Readonly<Record<string, string>> = { format: 'pt' },
  onBytes?: (bytes: Uint8Array) => void,
): Promise<void> {
  const inOrder = Object.entries(tensors).sort(
    ([nameA, a], [nameB, b]) =>
      order.indexOf(a.dtype) - order.indexOf(b.dtype) ||
      Buffer.compare(Buffer.from(nameA), Buffer.from(nameB)),
  );
  const entries: [string, unknown][] = [];
  if (Object.keys(metadata).length > 0) entries.push([metadataKey, metadata]);
  let position = 0;
  for (const [name, { dtype, dims, data }] of inOrder) {
    if (name === metadataKey) throw new UsageError(`a tensor cannot be named ${metadataKey}`);
    checkDataSize(`tensor '${name}'`, { dtype, dims, data });
    const offsets = [position, position + data.byteLength];
    entries.push([name, { dtype: dtypes[dtype].safetensors, shape: dims, data_offsets: offsets }]);
    position += data.byteLength;
  }
  // The JSON text is joined by hand, because an object would put names that look like integers first.
  const json = `{${entries.map(([name, entry]) => `${JSON.stringify(name)}:${JSON.stringify(entry)}`).join(',')}}`;
  const header = Buffer.from(json.padEnd(json.length + ((8 - (Buffer.byteLength(json) % 8)) % 8)));
  if (header.length > maximumHeaderBytes) {
    throw new UsageError(
      `the safetensors header would have ${header.length} bytes, at most ${maximumHeaderBytes} are allowed`,
    );
  }
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  const pieces = [length, header, ...inOrder.map(([, tensor]) => bytesOf(tensor.data))];
  await writeFileAtomic(path, pieces, onBytes);
}

/** Element types in the order of the reference implementation. */
const order: DType[] = ['i64', 'f64', 'f32', 'u32', 'i32', 'bf16', 'f16', 'u16', 'i8', 'u8', 'bool'];

/**
 * Reads all tensors of a safetensors file, or of the shards that a `….safetensors.index.json` names.
 *
 * @throws DataError as `openSafetensors` does.
 */
export async function readSafetensors(
  path: string,
): Promise<{ tensors: Record<string, LoadedTensor>; metadata: Record<string, string> }> {
  const reader = await openSafetensors(path);
  try {
    const tensors: [string, LoadedTensor][] = [];
    for (const name of [...reader.tensors.keys(), ...reader.unreadable.keys()])
      tensors.push([name, await reader.read(name)]);
    return { tensors: Object.fromEntries(tensors), metadata: { ...reader.metadata } };
  } finally {
    await reader.close();
  }
}

/**
 * Opens a safetensors file, from which single tensors can be read.
 *
 * A path that ends in `.index.json` opens all shards that this index names. A path without a file, such as
 * `model.safetensors`, opens the shards of `model.safetensors.index.json` if that file exists.
 *
 * @throws DataError if a file is missing or truncated, or its header is not valid. Sizes in a damaged header
 *   are checked before memory is allocated for them.
 */
export async function openSafetensors(path: string): Promise<SafetensorsReader> {
  if (path.endsWith('.index.json')) return openShards(path);
  const index = `${path}.index.json`;
  if (!existsSync(path) && existsSync(index)) return openShards(index);
  return openFile(path);
}

async function openFile(path: string): Promise<SafetensorsReader> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(path, 'r');
    return await readHeader(handle, path);
  } catch (error) {
    await handle?.close();
    throw fileError(error, path, 'read');
  }
}

async function readHeader(handle: FileHandle, path: string): Promise<SafetensorsReader> {
  const { size } = await handle.stat();
  const damaged = (message: string) =>
    new DataError(message, {
      file: path,
      help: 'the file is damaged or incomplete: copy or download it again',
    });
  if (size < 8) throw damaged(`a safetensors file has at least 8 bytes, this one has ${size}`);
  const headerBytes = (await readAt(handle, path, 0, 8)).readBigUInt64LE();
  const isHeader = headerBytes <= BigInt(maximumHeaderBytes) && headerBytes <= BigInt(size - 8);
  const foreign = isHeader
    ? undefined
    : foreignFile(await readAt(handle, path, 0, Math.min(size, RECOGNISED_BYTES)));
  if (foreign) throw new DataError(`this is ${foreign.is}`, { file: path, help: foreign.help });
  if (headerBytes > BigInt(maximumHeaderBytes)) {
    throw damaged(`the header claims ${headerBytes} bytes, at most ${maximumHeaderBytes} are allowed`);
  }
  const dataStart = 8 + Number(headerBytes);
  if (dataStart > size) throw damaged(`the header claims ${headerBytes} bytes, the file has ${size}`);
  const json = await readAt(handle, path, 8, Number(headerBytes));
  const header: SafetensorsHeader = parseSafetensorsHeader(json, size - dataStart, path);
  return {
    metadata: header.metadata,
    tensors: header.tensors,
    unreadable: header.unreadable,
    async read(name) {
      const place = header.tensors.get(name);
      if (place === undefined) throw noTensor(path, name, header);
      const { dtype, dims, begin, end } = place;
      const bytes = await readAt(handle, path, dataStart + begin, end - begin);
      return { dtype, dims, data: viewAs(dtype, bytes, 0, elementCount(dims)) };
    },
    close: () => handle.close(),
  };
}

/**
 * Opens the shards of an index: `{"metadata": {…}, "weight_map": {"tensor name": "file in the same folder",
 * …}}`.
 */
async function openShards(path: string): Promise<SafetensorsReader> {
  const index = await readJson(path);
  if (!isObject(index) || !isObject(index.weight_map)) {
    throw new DataError("there is no object 'weight_map'", {
      file: path,
      help: 'copy or download the index again',
    });
  }
  const map = index.weight_map;
  const shards = new Map<string, SafetensorsReader>();
  const close = async () => {
    for (const shard of shards.values()) await shard.close();
  };
  try {
    const tensors = new Map<string, { dtype: DType; dims: readonly number[] }>();
    const unreadable = new Map<string, string>();
    const shardOf = new Map<string, SafetensorsReader>();
    for (const [name, file] of Object.entries(map)) {
      if (typeof file !== 'string' || file !== basename(file) || !file.endsWith('.safetensors')) {
        throw new DataError(`the weight_map gives no .safetensors file of this folder for tensor '${name}'`, {
          file: path,
        });
      }
      const shardPath = join(dirname(path), file);
      let shard = shards.get(file);
      if (shard === undefined) {
        if (!existsSync(shardPath)) {
          throw new DataError('no such file', {
            file: shardPath,
            help: `${basename(path)} names it: copy or download all files of the model`,
          });
        }
        shard = await openFile(shardPath);
        shards.set(file, shard);
      }
      const info = shard.tensors.get(name);
      const type = shard.unreadable.get(name);
      if (info !== undefined) tensors.set(name, info);
      else if (type !== undefined) unreadable.set(name, type);
      else throw noTensor(shardPath, name, shard);
      shardOf.set(name, shard);
    }
    return {
      metadata: Object.assign(textsOf(index), ...[...shards.values()].map(({ metadata }) => metadata)),
      tensors,
      unreadable,
      async read(name) {
        const shard = shardOf.get(name);
        if (shard === undefined) throw noTensor(path, name, { tensors, unreadable });
        return shard.read(name);
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Keeps the texts of an index's `metadata`, which has numbers too. */
function textsOf(index: { metadata?: unknown }): Record<string, string> {
  const entries = Object.entries(index.metadata ?? {}) as [string, unknown][];
  return Object.fromEntries(
    entries.filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  );
}

/** Makes the error for a tensor that is absent or cannot be read. */
function noTensor(
  file: string,
  name: string,
  { tensors, unreadable }: Pick<SafetensorsReader, 'tensors' | 'unreadable'>,
): DataError {
  const type = unreadable.get(name);
  if (type !== undefined) return unreadableTensor(file, name, type);
  return new DataError(`there is no tensor '${name}'.${didYouMean(name, tensors.keys())}`, { file });
}
