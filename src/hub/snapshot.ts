import { existsSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { DataError, UndriftError } from '../util/errors.ts';
import { writeFileAtomic } from '../util/files.ts';
import { count } from '../util/format.ts';
import type { Progress } from '../util/progress.ts';
import { fetchBlob, type ListedFile, linkBlob } from './fetch-blob.ts';
import { type HubClient, hubClient } from './hub-client.ts';
import { HubUnreachable } from './hub-error.ts';
import { type HubName, isCommit } from './hub-name.ts';

/** Options of `hubSnapshot`. */
export interface SnapshotOptions {
  /**
   * Selects the files to download from all paths of the repository.
   *
   * @throws UndriftError if a required file is missing.
   */
  wanted(paths: readonly string[]): readonly string[];
  /** Returns whether a folder of the cache, which any program may have filled, holds all required files. */
  isComplete(folder: string): boolean;
  /**
   * Called with the number of bytes that have arrived, of the total of all selected files, and ten times a second while
   * the hub is waited for. An error thrown here stops the wait or the download; bytes that have arrived are kept.
   */
  onProgress?: ((progress: Progress) => void) | undefined;
  /** Called with notes for the user, such as the commit in use. */
  onNote?: ((note: string) => void) | undefined;
}

/** Files of a repository in the cache, at one commit. */
export interface Snapshot {
  /** Path of the folder with the files. */
  readonly folder: string;
  /** Hash of the commit. */
  readonly commit: string;
}

/**
 * Finds a repository of the Hugging Face hub in the cache, or downloads it.
 *
 * The cache is that of Hugging Face's own programs, in its layout (`blobs/`, `snapshots/COMMIT/`,
 * `refs/REVISION`), so each side finds what the other has downloaded. The commit of a branch or tag is looked
 * up each time. The list of files is requested each time as well, since another program may have fetched only
 * some of them. With `HF_HUB_OFFLINE=1`, or if the hub cannot be reached, the cached files are used if
 * `isComplete` accepts them.
 *
 * @throws UndriftError if the hub refuses the request, the hub cannot be reached and the cache is not
 *   complete, or the data that arrives is damaged. The cache never contains a partial file under its final
 *   name.
 */
export async function hubSnapshot(name: HubName, options: SnapshotOptions): Promise<Snapshot> {
  const { getHFHubCachePath } = await import('@huggingface/hub');
  let progress: Progress = { stage: 'download', done: 0, total: undefined, unit: 'bytes' };
  let stopped: { error: unknown } | undefined;
  const report = (next: Progress) => {
    progress = next;
    try {
      options.onProgress?.(next);
    } catch (error) {
      stopped = { error };
      throw error;
    }
  };
  const client = hubClient(name, () => report(progress));
  const storage = join(getHFHubCachePath(), [`${name.kind}s`, ...name.repo.split('/')].join('--'));
  const cached = await cachedSnapshot(storage, name, options);
  try {
    if (client.isOffline) throw new HubUnreachable('HF_HUB_OFFLINE is set');
    return await download(name, client, storage, { ...options, onProgress: report });
  } catch (error) {
    // The library replaces errors that are thrown in the midst of its requests.
    if (stopped) throw stopped.error;
    if (!(error instanceof HubUnreachable)) throw error;
    if (!cached) throw absent(name, error);
    // Programs that fetch single files may have left some out, such as those with the pooling, so the user is
    // told.
    options.onNote?.(
      `${error.marked.message}: ${name.repo} is taken from the cache as it is, at ${cached.commit}`,
    );
    return cached;
  }
}

function absent({ kind, repo, revision }: HubName, cause: UndriftError): UndriftError {
  const what = kind === 'model' ? 'model' : 'data set';
  return new HubUnreachable(
    `the ${what} ${repo} (${revision}) is not, or not whole, in the cache, and ${cause.marked.message}`,
    {
      help:
        cause.help ??
        `copy the ${what} from a machine with a network and give its folder (--${kind === 'model' ? 'model' : 'data'} path/to/folder), ` +
          'set HF_HUB_CACHE to a cache that has it, or HF_ENDPOINT to a mirror that can be reached',
      cause,
    },
  );
}

/** Snapshot of a revision in the cache, if it holds all required files. */
async function cachedSnapshot(
  storage: string,
  { revision }: HubName,
  { isComplete }: SnapshotOptions,
): Promise<Snapshot | undefined> {
  const ref = isCommit(revision)
    ? revision
    : await readFile(join(storage, 'refs', revision), 'utf8').catch(() => '');
  const commit = ref.trim();
  const folder = join(storage, 'snapshots', commit);
  return isCommit(commit) && existsSync(folder) && isComplete(folder) ? { folder, commit } : undefined;
}

async function download(
  name: HubName,
  client: HubClient,
  storage: string,
  { wanted, onProgress, onNote }: SnapshotOptions,
): Promise<Snapshot> {
  const { downloadFile } = await import('@huggingface/hub');
  const commit = isCommit(name.revision) ? name.revision : await commitOf(name, client);
  const listed = await listAll({ ...name, revision: commit }, client);
  const files = wanted([...listed.keys()]).map((path) => listed.get(path)!);
  const folder = join(storage, 'snapshots', commit);
  const total = files.reduce((sum, { size }) => sum + size, 0);
  const report = (done: number) => onProgress?.({ stage: 'download', done, total, unit: 'bytes' });
  let before = 0;
  // Small files first: configuration errors show before the weights have arrived.
  for (const file of files.toSorted((a, b) => a.size - b.size || (a.path < b.path ? -1 : 1))) {
    const path = join(folder, file.path);
    const present = await stat(path).catch(() => undefined);
    if (present?.size !== file.size) {
      const repo = { type: name.kind, name: name.repo };
      const read = async (start: number): Promise<ReadableStream<Uint8Array>> => {
        const { hubUrl, fetch } = client;
        const request = { repo, path: file.path, revision: commit, fetch, ...(hubUrl && { hubUrl }) };
        const blob = await downloadFile(request);
        if (blob === null) throw new DataError('the hub lists the file, and has none', { file: file.path });
        return (start === 0 ? blob : blob.slice(start, file.size)).stream() as ReadableStream<Uint8Array>;
      };
      const blob = await fetchBlob(join(storage, 'blobs'), file, read, (done) => report(before + done));
      await linkBlob(blob, path);
    }
    before += file.size;
    report(before);
  }
  // The reference is written last, so a snapshot that is found by the name of a branch is complete.
  if (commit !== name.revision) await writeFileAtomic(join(storage, 'refs', name.revision), commit);
  if (files.length > 0) onNote?.(`${name.repo} at ${commit}`);
  return { folder, commit };
}

/** Most files of a repository. */
const MOST_FILES = 200_000;

/** Commit that a branch or tag currently points to. */
async function commitOf({ kind, repo, revision }: HubName, client: HubClient): Promise<string> {
  const { datasetInfo, modelInfo } = await import('@huggingface/hub');
  const { hubUrl, fetch } = client;
  const request = { name: repo, revision, fetch, ...(hubUrl && { hubUrl }) };
  const { sha } = await whole(
    kind === 'model'
      ? modelInfo({ ...request, additionalFields: ['sha'] })
      : datasetInfo({ ...request, additionalFields: ['sha'] }),
  );
  if (isCommit(sha)) return sha;
  throw new HubUnreachable(`the hub named no commit for ${repo}`);
}

async function listAll(
  { kind, repo, revision }: HubName,
  { hubUrl, fetch }: HubClient,
): Promise<Map<string, ListedFile>> {
  const { listFiles } = await import('@huggingface/hub');
  const request = { repo: { type: kind, name: repo }, revision, recursive: true, fetch };
  const files = new Map<string, ListedFile>();
  const collect = async () => {
    for await (const { type, path, size, oid, lfs } of listFiles({ ...request, ...(hubUrl && { hubUrl }) })) {
      if (type !== 'file') continue;
      const digest = lfs?.oid ?? oid;
      if (!isSafePath(path) || !/^[0-9a-f]{40,64}$/.test(digest ?? '') || !(size >= 0)) {
        throw new DataError(`the hub lists a file ${JSON.stringify(path)} that cannot be stored`, {
          file: repo,
        });
      }
      files.set(path, { path, size, digest: digest!, isLarge: lfs !== undefined });
      if (files.size > MOST_FILES)
        throw new DataError(`has more than ${count(MOST_FILES)} files`, { file: repo });
    }
  };
  await whole(collect());
  return files;
}

/** Returns whether a path stays inside the folder that it is joined to, on every operating system. */
const isSafePath = (path: unknown): path is string =>
  typeof path === 'string' &&
  path.split('/').every((part) => part !== '' && part !== '.' && part !== '..' && !/[\\:\0]/.test(part));

/**
 * Awaits an answer of the hub. If the answer is not JSON or is cut off, the library fails with some other
 * exception; that becomes a `HubUnreachable`.
 */
async function whole<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof UndriftError) throw error;
    throw new HubUnreachable(
      `the hub’s answer cannot be read (${error instanceof Error ? error.message : String(error)})`,
      { cause: error },
    );
  }
}
