import { existsSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { DataError, UndriftError } from '../util/errors.ts';
import { writeFileAtomic } from '../util/files.ts';
import { fetchBlob, type ListedFile, linkBlob } from './fetch-blob.ts';
import { type HubClient, hubClient } from './hub-client.ts';
import { HubUnreachable } from './hub-error.ts';
import { type HubName, isCommit } from './hub-name.ts';

export interface SnapshotOptions {
  /** Picks what is needed of the files of the repository. @throws UndriftError where something is missing */
  wanted(paths: readonly string[]): readonly string[];
  /** Whether a folder of the cache, filled by whatever program, has what is needed. */
  isComplete(folder: string): boolean;
  /** Bytes that are there, of all that are wanted. May throw to stop; what has arrived is kept. */
  onProgress?: ((progress: { done: number; total: number }) => void) | undefined;
  onNote?: ((note: string) => void) | undefined;
}

/** A repository's files in the cache, at one commit. */
export interface Snapshot {
  readonly folder: string;
  readonly commit: string;
}

/**
 * Finds or downloads a repository of the Hugging Face hub: into the cache of Hugging Face's own programs, in its layout
 * (`blobs/`, `snapshots/COMMIT/`, `refs/REVISION`), so that each side finds what the other has downloaded. A branch
 * or tag is looked up each time, and the list of the files too, since another program may have fetched only some. With
 * `HF_HUB_OFFLINE=1`, or where the hub cannot be reached, what the cache has is used, if it will do.
 *
 * @throws UndriftError where the hub refuses, cannot be reached, or what arrives is damaged; the cache never gets half a file
 */
export async function hubSnapshot(name: HubName, options: SnapshotOptions): Promise<Snapshot> {
  const { getHFHubCachePath } = await import('@huggingface/hub');
  const client = hubClient(name);
  const storage = join(getHFHubCachePath(), [`${name.kind}s`, ...name.repo.split('/')].join('--'));
  const cached = await cachedSnapshot(storage, name, options);
  try {
    if (client.isOffline) throw new HubUnreachable('HF_HUB_OFFLINE is set');
    return await download(name, client, storage, options);
  } catch (error) {
    if (!(error instanceof HubUnreachable)) throw error;
    if (!cached) throw absent(name, error);
    // Programs that fetch single files leave others out, such as those that say how to pool.
    options.onNote?.(`${error.message}: ${name.repo} is taken from the cache as it is, at ${cached.commit}`);
    return cached;
  }
}

function absent({ kind, repo, revision }: HubName, cause: UndriftError): UndriftError {
  const what = kind === 'model' ? 'model' : 'data set';
  return new HubUnreachable(
    `the ${what} ${repo} (${revision}) is not, or not whole, in the cache, and ${cause.message}`,
    {
      help:
        `copy the ${what} from a machine with a network and give its folder (--${kind === 'model' ? 'model' : 'data'} path/to/folder), ` +
        'set HF_HUB_CACHE to a cache that has it, or HF_ENDPOINT to a mirror that can be reached',
      cause,
    },
  );
}

/** What the cache has of a revision. */
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
  let before = 0;
  // Small files first: what they are is known before the weights have arrived.
  for (const file of files.toSorted((a, b) => a.size - b.size || (a.path < b.path ? -1 : 1))) {
    const path = join(folder, file.path);
    const present = await stat(path).catch(() => undefined);
    if (present?.size !== file.size) {
      const repo = { type: name.kind, name: name.repo };
      const read = async (start: number): Promise<AsyncIterable<Uint8Array>> => {
        const { hubUrl, fetch } = client;
        const request = { repo, path: file.path, revision: commit, fetch, ...(hubUrl && { hubUrl }) };
        const blob = await downloadFile(request);
        if (blob === null) throw new DataError('the hub lists the file, and has none', { file: file.path });
        return (start === 0 ? blob : blob.slice(start, file.size)).stream();
      };
      const blob = await fetchBlob(join(storage, 'blobs'), file, read, (done) =>
        onProgress?.({ done: before + done, total }),
      );
      await linkBlob(blob, path);
    }
    before += file.size;
    onProgress?.({ done: before, total });
  }
  // Not before all of it is there: what is found by the name of a branch is whole.
  if (commit !== name.revision) await writeFileAtomic(join(storage, 'refs', name.revision), commit);
  if (files.length > 0) onNote?.(`${name.repo} at ${commit}`);
  return { folder, commit };
}

/** The commit that a branch or tag stands for now. */
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
    }
  };
  await whole(collect());
  return files;
}

/** Whether the path stays inside the folder it is joined to, on every system. */
const isSafePath = (path: unknown): path is string =>
  typeof path === 'string' &&
  path.split('/').every((part) => part !== '' && part !== '.' && part !== '..' && !/[\\:\0]/.test(part));

/** An answer that is no JSON, or stops in its middle, comes as whatever exception the library runs into. */
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
