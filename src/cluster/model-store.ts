import { randomBytes } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ObjectInfo } from '@nats-io/obj';
import { ByteDigest, digestOfFile } from '../util/byte-digest.ts';
import { cacheFolder } from '../util/cache-folder.ts';
import { DataError, RuntimeError, UndriftError } from '../util/errors.ts';
import { isObject } from '../util/json-objects.ts';
import type { Cluster } from './cluster.ts';
import type { ClusterStreams } from './streams.ts';
import { DIGEST_PATTERN, parseMessage } from './task.ts';

/** File of a published model. */
interface ModelFile {
  /** Path in the model's folder, with `/` between its parts. */
  readonly path: string;
  /** Size in bytes. */
  readonly size: number;
  /** SHA-256 in hexadecimal digits. */
  readonly sha256: string;
}

/** Bytes of a file that one message holds. Larger ones are quicker where a server has copies. */
const CHUNK_BYTES = 512 << 10;
const PUT_MS = 60_000;

/** Chunks that are on their way to a reader at once, and the time that it waits for them. */
const CHUNKS_AT_ONCE = 4;
const CHUNK_WAIT_MS = 30_000;

/** Models that are kept besides those that are wanted. */
const KEPT_MODELS = 3;
/** Age from which on files may be removed: another process may be publishing or reading younger ones. */
const YOUNG_MS = 10 * 60_000;

const MANIFEST = 'model-';

/** Settings of {@link publishModel}. */
export interface PublishOptions {
  /** Digests of models that must stay; the last three stay besides. */
  readonly wanted?: readonly string[] | undefined;
  /** Aborting ends the publication. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Publishes the files of a model folder, unless they are there. Files that several models share are kept once.
 *
 * @returns  digest of the model
 */
export async function publishModel(
  cluster: Cluster,
  streams: ClusterStreams,
  folder: string,
  { wanted = [], signal }: PublishOptions = {},
): Promise<string> {
  const files = await listFiles(folder);
  const manifest = Buffer.from(JSON.stringify({ files }));
  const digest = digestOfBytes(manifest);
  const { models } = streams;
  await putMissing(cluster, streams, { folder, files, signal });
  if ((await models.info(MANIFEST + digest))?.size !== manifest.length)
    await models.putBlob({ name: MANIFEST + digest }, manifest, { timeout: PUT_MS });
  await removeOthers(streams, [...wanted, digest]);
  // Another process may have removed a file before it could know of this model.
  await putMissing(cluster, streams, { folder, files, signal });
  return digest;
}

async function putMissing(
  { mostBytes }: Cluster,
  { models }: ClusterStreams,
  {
    folder,
    files,
    signal,
  }: {
    readonly folder: string;
    readonly files: readonly ModelFile[];
    readonly signal: AbortSignal | undefined;
  },
): Promise<void> {
  for (const { path, size, sha256 } of files) {
    const known = await models.info(sha256);
    if (known && !known.deleted && known.size === size && hexOf(known) === sha256) continue;
    const options = { max_chunk_size: Math.min(CHUNK_BYTES, mostBytes >> 1) };
    // A stream that is aborted from the beginning fails before anything listens to it, which would end the process.
    signal?.throwIfAborted();
    const file = createReadStream(join(folder, path), { signal });
    const data = Readable.toWeb(file) as ReadableStream<Uint8Array>;
    const put = await models.put({ name: sha256, options }, data, { timeout: PUT_MS });
    if (put.size !== size || hexOf(put) !== sha256)
      throw new DataError('the file has changed while it was published', { file: join(folder, path) });
  }
}

async function listFiles(folder: string): Promise<ModelFile[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files: ModelFile[] = [];
  for (const entry of entries) {
    if (!entry.isFile()) continue;
    const file = join(entry.parentPath, entry.name);
    const path = file.slice(folder.length).replaceAll('\\', '/').replace(/^\/+/, '');
    files.push({ path, size: (await stat(file)).size, sha256: await digestOfFile(file) });
  }
  return files.sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** Removes models but those wanted and the last few, and files that none of the others has. */
async function removeOthers(streams: ClusterStreams, wanted: readonly string[]): Promise<void> {
  const { models } = streams;
  const objects = (await models.list()).filter(({ deleted }) => !deleted);
  const manifests = objects
    .filter(({ name }) => name.startsWith(MANIFEST))
    .sort((a, b) => (a.mtime < b.mtime ? 1 : -1));
  const used = new Set<string>();
  const unneeded: ObjectInfo[] = [];
  for (const [place, info] of manifests.entries()) {
    const digest = info.name.slice(MANIFEST.length);
    if (place >= KEPT_MODELS && !wanted.includes(digest) && isOld(info)) unneeded.push(info);
    else for (const { sha256 } of await readManifest(streams, digest)) used.add(sha256);
  }
  const files = objects.filter(
    (info) => !info.name.startsWith(MANIFEST) && !used.has(info.name) && isOld(info),
  );
  for (const { name } of [...unneeded, ...files]) await models.delete(name);
}

const isOld = ({ mtime }: ObjectInfo): boolean => Date.now() - Date.parse(mtime) > YOUNG_MS;

async function readManifest(
  streams: ClusterStreams,
  digest: string,
  signal?: AbortSignal,
): Promise<readonly ModelFile[]> {
  const info = await streams.models.info(MANIFEST + digest);
  if (!info || info.deleted)
    throw new RuntimeError(`the model ${digest.slice(0, 12)} is not in the cluster any more`);
  const chunks: Uint8Array[] = [];
  for await (const chunk of chunksOf(streams, info, signal)) chunks.push(chunk);
  const bytes = Buffer.concat(chunks);
  if (digestOfBytes(bytes) !== digest)
    throw new UndriftError(
      `the list of files of the model ${digest.slice(0, 12)} has another digest than its name`,
    );
  return parseManifest(bytes);
}

/**
 * Parses the list of files of a model.
 *
 * @throws UndriftError if it is damaged, or a path leads out of the folder
 */
export function parseManifest(bytes: Uint8Array): readonly ModelFile[] {
  const { files } = parseMessage(bytes);
  if (!Array.isArray(files) || files.length === 0) throw damaged('it has no files');
  return files.map((file: unknown) => {
    const { path, size, sha256 } = isObject(file) ? file : {};
    const isPath =
      typeof path === 'string' &&
      path.split('/').every((part) => /^[^\\:\0]+$/.test(part) && part !== '.' && part !== '..');
    if (!isPath) throw damaged('a path leads out of the folder');
    if (!Number.isSafeInteger(size) || (size as number) < 0) throw damaged('a size is missing');
    if (typeof sha256 !== 'string' || !DIGEST_PATTERN.test(sha256)) throw damaged('a digest is missing');
    return { path, size: size as number, sha256 };
  });
}

const damaged = (what: string) => new UndriftError(`the list of files of a model is damaged: ${what}`);

/**
 * Returns the folder of a published model on this machine, after a download if needed. Size and digest of each file are checked.
 *
 * @param signal  aborting ends the download
 * @throws RuntimeError if the cluster does not have it, or a file is damaged
 */
export async function fetchModel(
  streams: ClusterStreams,
  digest: string,
  signal?: AbortSignal,
): Promise<string> {
  const models = join(cacheFolder(), 'cluster-models');
  const folder = join(models, digest);
  if (await exists(folder)) {
    const now = new Date();
    await utimes(folder, now, now).catch(() => {});
    return folder;
  }
  const part = join(models, `${digest}.${process.pid}.${randomBytes(4).toString('hex')}.part`);
  try {
    await mkdir(part, { recursive: true });
    for (const file of await readManifest(streams, digest, signal))
      await download(streams, file, join(part, file.path), signal);
    // Another process of this machine may have been quicker.
    await rename(part, folder).catch(async (error) => {
      if (!(await exists(folder))) throw error;
    });
  } finally {
    await rm(part, { recursive: true, force: true });
  }
  await removeOldFolders(models, folder);
  return folder;
}

async function download(
  streams: ClusterStreams,
  { path, size, sha256 }: ModelFile,
  to: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const info = await streams.models.info(sha256);
  if (!info || info.deleted)
    throw new RuntimeError(`the file ${path} of a model is not in the cluster any more`);
  await mkdir(dirname(to), { recursive: true });
  const digest = new ByteDigest();
  let bytes = 0;
  await pipeline(
    chunksOf(streams, info, signal),
    async function* checked(chunks: AsyncIterable<Uint8Array>) {
      for await (const chunk of chunks) {
        bytes += chunk.length;
        if (bytes > size) break;
        digest.add(chunk);
        yield chunk;
      }
    },
    createWriteStream(to, { flush: true }),
  );
  if (bytes !== size || digest.digest() !== sha256) {
    throw new RuntimeError(
      `the file ${path} of a model came with another digest or size than it was published with`,
      {
        help: 'remove the bucket of models from the server, and start the owners again: they publish what they want',
      },
    );
  }
}

/**
 * Streams an object, some chunks at a time. The client's own function has the server push whole objects: a reader that is slow for ten
 * seconds is disconnected then, and waits for ever.
 */
async function* chunksOf(
  { manager, names }: ClusterStreams,
  { nuid, chunks }: ObjectInfo,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  signal?.throwIfAborted();
  if (chunks === 0) return;
  const consumer = await manager.jetstream().consumers.get(`OBJ_${names.models}`, {
    filter_subjects: `$O.${names.models}.C.${nuid}`,
    inactive_threshold: 2 * CHUNK_WAIT_MS,
  });
  for (let left = chunks; left > 0; ) {
    const before = left;
    const messages = await consumer.fetch({
      max_messages: Math.min(CHUNKS_AT_ONCE, left),
      expires: CHUNK_WAIT_MS,
    });
    const stop = () => messages.stop();
    signal?.addEventListener('abort', stop);
    try {
      for await (const message of messages) {
        left -= 1;
        yield Uint8Array.from(message.data);
      }
    } finally {
      signal?.removeEventListener('abort', stop);
    }
    signal?.throwIfAborted();
    if (left === before) throw new Error('the server sends no chunk of a model');
  }
  await consumer.delete().catch(() => false);
}

/** Removes folders of models that were not used lately, and what killed downloads have left. */
async function removeOldFolders(models: string, own: string): Promise<void> {
  const folders = await Promise.all(
    (await readdir(models)).map(async (name) => {
      const path = join(models, name);
      return { path, time: (await stat(path).catch(() => undefined))?.mtimeMs ?? Date.now() };
    }),
  );
  const old = folders
    .filter(({ path }) => path !== own)
    .sort((a, b) => b.time - a.time)
    .slice(KEPT_MODELS)
    .filter(({ time }) => Date.now() - time > YOUNG_MS);
  for (const { path } of old) await rm(path, { recursive: true, force: true });
}

const exists = async (path: string): Promise<boolean> =>
  (await stat(path).catch(() => undefined)) !== undefined;

function digestOfBytes(bytes: Uint8Array): string {
  const digest = new ByteDigest();
  digest.add(bytes);
  return digest.digest();
}

/** Digest of an object as the client of NATS has computed it, in hexadecimal digits. */
const hexOf = ({ digest }: ObjectInfo): string =>
  Buffer.from(digest.replace(/^SHA-256=/, ''), 'base64url').toString('hex');
