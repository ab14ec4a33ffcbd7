import { permutation, rngKey } from '../util/rng.ts';
import type { ChunkGrader } from './chunk-grades.ts';
import type { ChunkedText } from './chunked-text.ts';

/**
 * Ways of choosing the neighbours of a chunk among the earlier chunks of its text:
 *
 * - `learned`: by the retriever inside the model
 * - `bm25`: by BM25, with the text of the chunk as query
 * - `oracle`: by grades, for which the chunk after it is known; shows how much there is to gain
 * - `random`: at random
 * - `none`: none, so that the model reads its window alone
 */
export const CHUNK_RETRIEVALS = ['learned', 'bm25', 'oracle', 'random', 'none'] as const;

/** Way of choosing the neighbours of a chunk. */
export type ChunkRetrieval = (typeof CHUNK_RETRIEVALS)[number];

/**
 * Rule that chooses the neighbours of a chunk without the model.
 *
 * @param among  number of the first chunks of the text that may be neighbours
 * @returns numbers of at most k of these chunks, best first
 */
export type ChunkChoice = (text: ChunkedText, chunk: number, among: number, k: number) => Promise<Int32Array>;

/** Chunks that are similar by BM25. */
export const similarChunks: ChunkChoice = async (text, chunk, among, k) =>
  text.similar(text.text(chunk), among, k).rows;

/** Random chunks, which depend on the seed, the name of the text and the number of the chunk. */
export const randomChunks =
  (seed: number): ChunkChoice =>
  async (text, chunk, among, k) =>
    Int32Array.from(permutation(rngKey(seed, chunk, `neighbours/${text.name}`), among).subarray(0, k));

/** Chunks of the best grades, whatever their sign. */
export const gradedChunks =
  (grader: ChunkGrader): ChunkChoice =>
  async (text, chunk, among, k) =>
    (await grader.grade(text, chunk, among)).chunks.subarray(0, k);
