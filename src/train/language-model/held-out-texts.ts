import { createHash } from 'node:crypto';
import type { TextDocument } from '../../data/text-corpus.ts';
import { CorpusDigest } from '../../data/token-corpus.ts';

/** Share of the text to hold out for evaluation, and most characters to hold out. */
const SHARE = 0.05;
const MOST_CHARACTERS = 1_000_000;

/** Documents, or ends of documents, that are held out of a corpus of texts. */
export interface HeldOutTexts {
  /** Number of documents of the corpus. */
  readonly documents: number;
  /** Number of documents that are held out whole. */
  readonly heldOut: number;
  /** Digest of ids and texts. */
  readonly fingerprint: string;
  /**
   * Splits a document.
   *
   * @param row  number of the document in the corpus
   * @returns the parts to train on and to evaluate on; undefined where there is none
   */
  split(document: TextDocument, row: number): { train?: TextDocument; held?: TextDocument };
}

/**
 * Chooses the text to hold out of a corpus: 5 % of its characters, at most a million.
 *
 * Whole documents are held out, in the order of a hash of their text, so that equal texts are on the same side. Documents that are
 * larger than all that is to be held out are never held out. Where the corpus has no others, the end of each document is held out. The
 * choice does not depend on the seed of a run, so that runs can be compared.
 *
 * Memory: 16 bytes a document.
 */
export async function chooseHeldOut(
  documents: AsyncIterable<TextDocument>,
  { holdOut = true }: { holdOut?: boolean } = {},
): Promise<HeldOutTexts> {
  const digest = new CorpusDigest();
  const hashes: number[] = [];
  const sizes: number[] = [];
  let total = 0;
  for await (const document of documents) {
    digest.add(document);
    hashes.push(createHash('sha256').update(document.text).digest().readUIntBE(0, 6));
    sizes.push(document.text.length);
    total += document.text.length;
  }
  const wanted = holdOut ? Math.min(MOST_CHARACTERS, SHARE * total) : 0;
  const held = wholeDocuments(hashes, sizes, wanted);
  const shared = { documents: sizes.length, heldOut: held.size, fingerprint: digest.finish() };
  if (!holdOut || held.size > 0) {
    return {
      ...shared,
      split: (document, row) => (held.has(row) ? { held: document } : { train: document }),
    };
  }
  return { ...shared, split: (document) => cutEnd(document, wanted / total) };
}

/** Rows of the documents to hold out whole. */
function wholeDocuments(hashes: readonly number[], sizes: readonly number[], wanted: number): Set<number> {
  const order = Uint32Array.from(hashes.keys()).sort((a, b) => hashes[a]! - hashes[b]! || a - b);
  const held = new Set<number>();
  let taken = 0;
  for (let at = 0; at < order.length; ) {
    let end = at;
    let size = 0;
    while (end < order.length && hashes[order[end]!] === hashes[order[at]!]) size += sizes[order[end++]!]!;
    if (size <= wanted) {
      if (taken + size > wanted) break;
      for (const row of order.subarray(at, end)) held.add(row);
      taken += size;
    }
    at = end;
  }
  return held;
}

/** Cuts the last share of a document off, at a white space. */
function cutEnd(document: TextDocument, share: number): { train?: TextDocument; held?: TextDocument } {
  const { text } = document;
  const place = Math.floor((1 - share) * text.length);
  const space = text.slice(place).search(/\s/);
  const [before, after] = space < 0 ? [text, ''] : [text.slice(0, place + space), text.slice(place + space)];
  return {
    ...(before.trim() !== '' && { train: { ...document, text: before } }),
    ...(after.trim() !== '' && { held: { ...document, text: after } }),
  };
}
