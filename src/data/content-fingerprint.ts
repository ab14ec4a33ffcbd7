import { createHash } from 'node:crypto';
import type { Corpus } from './corpus.ts';
import type { Split } from './retrieval-data.ts';

type Numbers = Int32Array | Uint32Array | Float32Array | Uint8Array;

/**
 * The first 16 hexadecimal digits of SHA-256 over ids, texts and splits: for data that has no files whose bytes could be hashed.
 *
 * @param splits  the numbers that make up each split, in a fixed order
 */
export function contentFingerprint(
  corpora: readonly Corpus[],
  splits: ReadonlyMap<string, readonly Numbers[]> = new Map(),
): string {
  const hash = createHash('sha256');
  const part = (bytes: Uint8Array) => {
    hash.update(Uint32Array.of(bytes.length));
    hash.update(bytes);
  };
  for (const corpus of corpora) {
    hash.update(Uint32Array.of(corpus.size));
    for (let row = 0; row < corpus.size; row++) {
      part(Buffer.from(corpus.id(row)));
      part(corpus.utf8(row));
    }
  }
  for (const name of [...splits.keys()].sort()) {
    part(Buffer.from(name));
    for (const { buffer, byteOffset, byteLength } of splits.get(name)!)
      part(new Uint8Array(buffer, byteOffset, byteLength));
  }
  return hash.digest('hex').slice(0, 16);
}

/** The numbers of the judgements of a split, for their fingerprint. */
export const numbersOf = ({ judgements: { queryRows, judged }, missing }: Split): Numbers[] => [
  queryRows,
  judged.offsets,
  judged.rows,
  judged.grades,
  ...(judged.scores ? [judged.scores] : []),
  ...(missing ? [Buffer.from(JSON.stringify([...missing].map(([row, grades]) => [row, ...grades])))] : []),
];
