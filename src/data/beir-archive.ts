import { createWriteStream, existsSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { isOffline } from '../hub/hub-client.ts';
import { unreachable } from '../hub/hub-error.ts';
import { DataError, UndriftError } from '../util/errors.ts';
import { fileError, recoverFolder, writeFolderAtomic } from '../util/files.ts';
import { option } from '../util/option-name.ts';
import type { LoadOptions } from './load-options.ts';
import { unzip } from './unzip.ts';

/** Address of the zip files by the authors of BEIR. `UNDRIFT_BEIR_URL` overrides it with a mirror. */
const BEIR_URL = 'https://public.ukp.informatik.tu-darmstadt.de/thakur/BEIR/datasets';

const NAME = /^beir\/([a-z0-9][a-z0-9-]*)((?:\/[a-z0-9][a-z0-9-]*)*)$/i;

/** Matches the files to keep of an archive. */
const WANTED = /(^|\/)(corpus\.jsonl|queries\.jsonl|qrels\/[^/]+\.tsv)$/;

/** Parses `beir/NAME`, or `beir/NAME/PART` for the parts of cqadupstack; undefined for other text. */
export function parseBeirName(text: string): { archive: string; part: string } | undefined {
  const [, archive, part] = NAME.exec(text) ?? [];
  return archive === undefined ? undefined : { archive, part: (part ?? '').slice(1) };
}

/**
 * Returns the folder of a BEIR data set in the cache, after downloading and unpacking it if needed. The cache
 * is `UNDRIFT_CACHE`, else `undrift` in the user's cache folder. The data set is stored completely or not at
 * all.
 *
 * @throws UndriftError when the data set does not exist or cannot be downloaded
 * @throws DataError when the archive is damaged or has no such part
 */
export async function beirArchive(
  { archive, part }: { archive: string; part: string },
  { onProgress }: Pick<LoadOptions, 'onProgress'> = {},
): Promise<string> {
  const folder = join(cacheFolder(), 'beir', archive);
  await recoverFolder(folder);
  if (!existsSync(folder))
    await fetchArchive(archive, folder, (done, total) =>
      onProgress?.({ stage: 'download', done, total, unit: 'bytes' }),
    );
  const inside = join(folder, part);
  if (!existsSync(inside)) throw new DataError(`beir/${archive} has no part "${part}"`, { file: folder });
  return inside;
}

const cacheFolder = (): string => {
  const { UNDRIFT_CACHE, XDG_CACHE_HOME } = process.env;
  return UNDRIFT_CACHE ?? join(XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'undrift');
};

async function fetchArchive(
  archive: string,
  folder: string,
  onBytes: (done: number, total: number) => void,
): Promise<void> {
  const url = `${(process.env.UNDRIFT_BEIR_URL ?? BEIR_URL).replace(/\/+$/, '')}/${archive}.zip`;
  const zip = `${folder}.${process.pid}.zip.incomplete`;
  try {
    await mkdir(dirname(folder), { recursive: true });
    await download(url, zip, archive, onBytes);
    await writeFolderAtomic(folder, async (temporary) => {
      // The archive holds one folder of its own name.
      const nameOf = (name: string) =>
        WANTED.test(name) ? name.replace(new RegExp(`^${archive}/`, 'i'), '') : undefined;
      const found = await unzip(zip, temporary, nameOf, onBytes);
      if (found.length === 0) throw new DataError('the archive holds no corpus.jsonl', { file: url });
    });
  } catch (error) {
    throw fileError(error, folder, 'write');
  } finally {
    await rm(zip, { force: true });
  }
}

async function download(
  url: string,
  file: string,
  archive: string,
  onBytes: (done: number, total: number) => void,
): Promise<void> {
  const help =
    `copy the data set from a machine with a network and give its folder (${option('data', `path/to/${archive}`)}), ` +
    'or set UNDRIFT_BEIR_URL to a mirror that can be reached';
  if (isOffline()) {
    throw new UndriftError(`beir/${archive} is not in the cache, and HF_HUB_OFFLINE is set`, { help });
  }
  let response: Response;
  try {
    response = await fetch(url);
  } catch (error) {
    const { message } = unreachable(error, new URL(url).origin);
    throw new UndriftError(`beir/${archive} is not in the cache, and ${message}`, { help, cause: error });
  }
  if (!response.ok || response.body === null) {
    await response.body?.cancel();
    throw response.status === 404
      ? new UndriftError(`there is no data set beir/${archive} (and no folder of that name here)`, {
          help: 'check the name for typing errors; BEIR’s names are like scifact, nfcorpus, trec-covid, cqadupstack/android',
        })
      : new UndriftError(`${url} answered ${response.status}`, { help });
  }
  const total = Number(response.headers.get('Content-Length') ?? 0);
  let done = 0;
  let stopped: unknown;
  async function* counted(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const chunk of body) {
      done += chunk.length;
      yield chunk;
      try {
        onBytes(done, Math.max(done, total));
      } catch (error) {
        stopped = error;
        throw error;
      }
    }
  }
  try {
    await pipeline(Readable.from(counted(response.body)), createWriteStream(file));
  } catch (error) {
    if (stopped !== undefined) throw stopped;
    if ((error as NodeJS.ErrnoException).syscall === 'write') throw fileError(error, file, 'write');
    throw new UndriftError(`the download of beir/${archive} broke off after ${done} of ${total} bytes`, {
      help: 'run the command again',
      cause: error,
    });
  }
}
