import { permutation, rngKey } from '../util/rng.ts';
import { type Corpus, CorpusBuilder } from './corpus.ts';
import type { Judgements } from './judgements.ts';
import { type RetrievalData, retrievalData } from './retrieval-data.ts';
import type { Texts } from './texts.ts';

/** Name of the split on which training without queries is evaluated. */
export const HELD_OUT = 'held-out';

/** Share of the documents to hold out, and the maximum number of documents to hold out. */
const HELD_OUT_RATIO = 0.05;
const MOST_HELD_OUT = 1000;
/** Minimum number of words of a held-out document: half of a shorter text says too little. */
const LEAST_WORDS = 12;
const LEAST_DOCUMENTS = 2;

/**
 * Chooses documents to hold out, ascending. They do not depend on the seed of a run, so that runs can be
 * compared. Empty if there would be fewer than two.
 */
export function heldOutRows(corpus: Corpus): Int32Array {
  const wanted = Math.min(MOST_HELD_OUT, Math.floor(HELD_OUT_RATIO * corpus.size));
  const rows: number[] = [];
  if (wanted < LEAST_DOCUMENTS) return Int32Array.from(rows);
  for (const row of permutation(rngKey(0, 0, 'held-out documents'), corpus.size)) {
    if (words(corpus.text(row)).length >= LEAST_WORDS) rows.push(row);
    if (rows.length === wanted) break;
  }
  return rows.length < LEAST_DOCUMENTS ? new Int32Array(0) : Int32Array.from(rows).sort();
}

/**
 * Makes a retrieval task without supervision: the second half of each held-out document's words must find the
 * first half among those of all others. Both halves share the document's subject, and neither half is part of
 * a training crop.
 *
 * @param rows  documents held out; without any there is no split
 */
export function heldOutRetrieval(
  { name, path, corpus, fingerprint }: Texts,
  rows: Int32Array,
): RetrievalData {
  const [documents, queries] = [new CorpusBuilder(), new CorpusBuilder({ noun: 'query' })];
  for (const row of rows) {
    const all = words(corpus.text(row));
    const middle = all.length >> 1;
    documents.add({ id: corpus.id(row), text: all.slice(0, middle).join(' ') });
    queries.add({ id: corpus.id(row), text: all.slice(middle).join(' ') });
  }
  const each = Int32Array.from(rows, (_, i) => i);
  const split = { judgements: ownDocument(each), negativesAreJudged: true };
  return retrievalData({
    name,
    path,
    corpus: rows.length > 0 ? documents.finish() : corpus,
    queries: rows.length > 0 ? queries.finish() : corpus,
    splits: new Map(rows.length > 0 ? [[HELD_OUT, split]] : []),
    fingerprint,
  });
}

/** Makes training data without queries: each document that is not held out is its own query and its own positive. */
export function ownQueries(
  { name, path, corpus, fingerprint, notes }: Texts,
  heldOut: Int32Array,
): RetrievalData {
  const isHeldOut = new Uint8Array(corpus.size);
  for (const row of heldOut) isHeldOut[row] = 1;
  const rows = Int32Array.from({ length: corpus.size }, (_, row) => row).filter((row) => !isHeldOut[row]);
  const split = { judgements: ownDocument(rows), negativesAreJudged: true };
  return retrievalData({
    name,
    path,
    corpus,
    queries: corpus,
    splits: new Map([['train', split]]),
    fingerprint,
    notes,
  });
}

/** Makes judgements in which each row answers itself. */
function ownDocument(rows: Int32Array): Judgements {
  return {
    queryRows: rows,
    judged: {
      offsets: Uint32Array.from({ length: rows.length + 1 }, (_, i) => i),
      rows,
      grades: new Float32Array(rows.length).fill(1),
    },
  };
}

const words = (text: string): string[] => text.split(/\s+/).filter((word) => word !== '');
