import { join } from 'node:path';
import { DataError, UsageError } from '../util/errors.ts';
import { option } from '../util/option-name.ts';
import { addTsvTexts, joinFingerprints, listFolder, readSplits } from './beir.ts';
import { type Corpus, CorpusBuilder } from './corpus.ts';
import { FileLog } from './file-log.ts';
import type { LoadOptions, ReadingOptions } from './load-options.ts';
import { normaliseSplits, type RetrievalData, retrievalData, splitFilter } from './retrieval-data.ts';

/** Files of an MS MARCO folder. */
export interface MsMarcoLayout {
  readonly folder: string;
  /** Undefined where other documents take its place. */
  readonly collection: string | undefined;
  readonly queries: readonly string[];
  /** Split (`train`, `dev`, `dev.small`, …) → qrels files. */
  readonly qrels: ReadonlyMap<string, readonly string[]>;
}

/** Matches the name of the documents of MS MARCO. */
export const COLLECTION = /^collection\.tsv(\.gz)?$/;

/** Tells whether a folder has a collection of MS MARCO. */
export const isMsMarco = async (folder: string): Promise<boolean> =>
  (await listFolder(folder)).some((name) => COLLECTION.test(name));

/**
 * Finds the files of MS MARCO passage ranking: `collection.tsv` (id, text), `queries.<split>.tsv` (id, text)
 * and `qrels.<split>.tsv` (query id, 0, passage id, grade), each plain or `.gz`.
 *
 * @param options.documents  documents in place of the collection, which may then be absent
 * @throws DataError when collection or queries are absent, or the collection is present twice
 */
export async function openMsMarco(
  folder: string,
  { documents }: Pick<LoadOptions, 'documents'> = {},
): Promise<MsMarcoLayout> {
  const names = await listFolder(folder);
  const collections = names.filter((name) => COLLECTION.test(name));
  if (collections.length > 1) {
    throw new DataError(`holds ${collections.join(' and ')}`, { file: folder, help: 'keep one of them' });
  }
  const queries = names.filter((name) => /^queries(\..+)?\.tsv(\.gz)?$/.test(name));
  for (const [found, wanted] of [
    [collections, 'collection.tsv'],
    [queries, 'queries.<split>.tsv'],
  ] as const) {
    if (found.length > 0 || (found === collections && documents)) continue;
    throw new DataError(`no ${wanted} or ${wanted}.gz`, {
      file: folder,
      help: 'an MS MARCO folder holds collection.tsv, queries.<split>.tsv and qrels.<split>.tsv',
    });
  }
  const qrels = new Map<string, string[]>();
  for (const name of names) {
    const split = /^qrels\.(.+?)\.(tsv|txt)(\.gz)?$/.exec(name)?.[1];
    if (split !== undefined) qrels.set(split, [...(qrels.get(split) ?? []), join(folder, name)]);
  }
  return {
    folder,
    collection: documents ? undefined : join(folder, collections[0]!),
    queries: queries.map((name) => join(folder, name)),
    qrels: normaliseSplits(qrels),
  };
}

/**
 * Loads an MS MARCO folder.
 *
 * @throws DataError when a file is invalid
 */
export async function loadMsMarco(folder: string, options: ReadingOptions = {}): Promise<RetrievalData> {
  if (options.columns !== undefined) {
    throw new UsageError(
      `${option('columns')} names columns of a header, and the files of MS MARCO have none`,
      {
        help: `leave it out for ${folder}`,
      },
    );
  }
  const { documents } = options;
  const layout = await openMsMarco(folder, options);
  const isWanted = splitFilter(options.splits, layout.qrels.keys(), folder);
  const log = new FileLog(options.onProgress);
  const notes: string[] = [];
  const corpus = documents?.corpus ?? (await readTsvCorpus([layout.collection!], 'document', options, log));
  const queries = await readTsvCorpus(layout.queries, 'query', options, log);
  const splits = await readSplits(layout.qrels, { queries, corpus, options, isWanted, log, notes });
  const fingerprint = joinFingerprints(log.fingerprint(), documents);
  return retrievalData({ path: folder, corpus, queries, splits, fingerprint, notes });
}

/** Reads `id ⇥ text` lines without a header. @throws DataError for a line of another shape, or a repeated id */
async function readTsvCorpus(
  files: readonly string[],
  noun: 'document' | 'query',
  options: ReadingOptions,
  log: FileLog,
): Promise<Corpus> {
  const builder = new CorpusBuilder({ file: files[0], noun });
  for (const file of files) await addTsvTexts(builder.from(file), file, { noun, options, log });
  return builder.finish();
}
