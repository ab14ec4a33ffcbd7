import { createWriteStream, existsSync } from 'node:fs';
import { rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { isOffline } from '../hub/hub-client.ts';
import { HubUnreachable } from '../hub/hub-error.ts';
import { patientFetch } from '../hub/patient-fetch.ts';
import { steadyBytes } from '../hub/steady-bytes.ts';
import { waitLimits } from '../hub/wait-limits.ts';
import { cacheFolder } from '../util/cache-folder.ts';
import { DataError, UndriftError } from '../util/errors.ts';
import { fileError, readJson, recoverFolder, writeFolderAtomic } from '../util/files.ts';
import { isObject } from '../util/json-objects.ts';
import { lockBeside } from '../util/lock.ts';
import { option } from '../util/option-name.ts';
import { removeLeftovers, temporaryName } from '../util/temporary-name.ts';
import { waitForLock } from '../util/wait-for-lock.ts';
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

/** File in the folder of a data set that lists the other files with their sizes in bytes. It tells a whole folder from others. */
const CONTENTS = '.contents.json';

/**
 * Returns the folder of a BEIR data set in the cache, after downloading and unpacking it if needed. The cache
 * is `UNDRIFT_CACHE`, else `undrift` in the user's cache folder. The data set is stored completely or not at
 * all: of several processes, one downloads it and the others wait, and a folder with missing or shorter files
 * is replaced.
 *
 * @throws UndriftError when the data set does not exist or cannot be downloaded
 * @throws DataError when the archive is damaged or has no such part
 */
export async function beirArchive(
  { archive, part }: { archive: string; part: string },
  { onProgress, onNote }: Pick<LoadOptions, 'onProgress' | 'onNote'> = {},
): Promise<string> {
  const folder = join(cacheFolder(), 'beir', archive);
  await recoverFolder(folder);
  if (!(await isWhole(folder))) {
    let done = 0;
    let total: number | undefined;
    const report = () => onProgress?.({ stage: 'download', done, total, unit: 'bytes' });
    const onBytes = (nowDone: number, nowTotal: number | undefined) => {
      [done, total] = [nowDone, nowTotal];
      report();
    };
    const zip = `${folder}.zip`;
    try {
      await waitForLock(lockBeside(zip), report, async () => {
        if (!(await isWhole(folder))) await fetchArchive(archive, folder, zip, { onBytes, onWait: report });
      });
    } catch (error) {
      // Earlier versions did not list the contents.
      if (!(error instanceof HubUnreachable) || !existsSync(join(folder, part))) throw error;
      onNote?.(
        `beir/${archive} is taken from the cache as it is, though it may not be whole: ${error.marked.message}`,
      );
    }
  }
  const inside = join(folder, part);
  if (!existsSync(inside)) throw new DataError(`beir/${archive} has no part "${part}"`, { file: folder });
  return inside;
}

/** Tells whether a folder holds all files that were unpacked into it, with their sizes. */
async function isWhole(folder: string): Promise<boolean> {
  const contents = await readJson(join(folder, CONTENTS)).catch(() => undefined);
  if (!isObject(contents) || Object.keys(contents).length === 0) return false;
  const sizes = await Promise.all(
    Object.keys(contents).map((name) =>
      stat(join(folder, name)).then(
        ({ size }) => size,
        () => -1,
      ),
    ),
  );
  return Object.values(contents).every((size, i) => size === sizes[i]);
}

/** Observers of a download: `onBytes` gets the bytes done and in total, `onWait` is called while none arrive. */
interface Observers {
  onBytes(done: number, total: number | undefined): void;
  onWait(): void;
}

async function fetchArchive(
  archive: string,
  folder: string,
  zip: string,
  observers: Observers,
): Promise<void> {
  const url = `${(process.env.UNDRIFT_BEIR_URL ?? BEIR_URL).replace(/\/+$/, '')}/${archive}.zip`;
  const temporary = temporaryName(zip);
  try {
    await removeLeftovers(zip);
    await download(url, temporary, archive, observers);
    await writeFolderAtomic(folder, async (inside) => {
      // The archive holds one folder of its own name.
      const nameOf = (name: string) =>
        WANTED.test(name) ? name.replace(new RegExp(`^${archive}/`, 'i'), '') : undefined;
      const found = await unzip(temporary, inside, nameOf, observers.onBytes);
      if (found.length === 0) throw new DataError('the archive holds no corpus.jsonl', { file: url });
      const sizes = await Promise.all(
        found.map(async (name) => [name, (await stat(join(inside, name))).size]),
      );
      await writeFile(join(inside, CONTENTS), JSON.stringify(Object.fromEntries(sizes)));
    });
  } catch (error) {
    throw fileError(error, folder, 'write');
  } finally {
    await rm(temporary, { force: true });
  }
}

async function download(
  url: string,
  file: string,
  archive: string,
  { onBytes, onWait }: Observers,
): Promise<void> {
  const help =
    `copy the data set from a machine with a network and give its folder (${option('data', `path/to/${archive}`)}), ` +
    'or set UNDRIFT_BEIR_URL to a mirror that can be reached';
  if (isOffline()) {
    throw new HubUnreachable(`beir/${archive} is not in the cache, and HF_HUB_OFFLINE is set`, { help });
  }
  const limits = waitLimits();
  let response: Response;
  try {
    response = await patientFetch(new URL(url), {}, limits, onWait);
  } catch (error) {
    if (!(error instanceof HubUnreachable)) throw error;
    throw new HubUnreachable(`beir/${archive} is not in the cache, and ${error.marked.message}`, {
      help,
      cause: error,
    });
  }
  if (!response.ok || response.body === null) {
    await response.body?.cancel();
    throw response.status === 404
      ? new UndriftError(`there is no data set beir/${archive} (and no folder of that name here)`, {
          help: 'check the name for typing errors; BEIR’s names are like scifact, nfcorpus, trec-covid, cqadupstack/android',
        })
      : new HubUnreachable(`${url} answered ${response.status}`, { help });
  }
  const total = Number(response.headers.get('Content-Length') ?? 0);
  let done = 0;
  let stopped: { error: unknown } | undefined;
  const observe = (report: () => void) => {
    try {
      report();
    } catch (error) {
      stopped = { error };
      throw error;
    }
  };
  async function* counted(body: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const chunk of steadyBytes(body, limits, () => observe(onWait))) {
      done += chunk.length;
      yield chunk;
      observe(() => onBytes(done, Math.max(done, total)));
    }
    if (done < total) throw new Error('the connection was closed');
  }
  try {
    await pipeline(Readable.from(counted(response.body)), createWriteStream(file));
  } catch (error) {
    if (stopped !== undefined) throw stopped.error;
    if ((error as NodeJS.ErrnoException).syscall === 'write') throw fileError(error, file, 'write');
    const reason = error instanceof Error && error.message !== 'terminated' ? ` (${error.message})` : '';
    throw new HubUnreachable(
      `the download of beir/${archive} broke off after ${done} of ${total} bytes${reason}`,
      {
        help: 'run the command again',
        cause: error,
      },
    );
  }
}
