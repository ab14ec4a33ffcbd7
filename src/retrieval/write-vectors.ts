import { rm } from 'node:fs/promises';
import type { Corpus } from '../data/corpus.ts';
import { openNpyWriter } from '../io/npy.ts';
import type { Retriever, Side } from '../models/retriever/retriever.ts';
import { bytesOf } from '../onnx/dtypes.ts';
import { ByteDigest } from '../util/byte-digest.ts';
import { ShapeError, UndriftError, UsageError } from '../util/errors.ts';
import { type AtomicFile, openFileAtomic } from '../util/files.ts';
import { lockBeside, takeLock } from '../util/lock.ts';
import { RowDigest } from './row-digest.ts';
import {
  type AppliedCorrector,
  manifestFile,
  manifestText,
  modelFacts,
  type VectorManifest,
} from './vector-manifest.ts';

/** Origin of vectors that are to be stored. */
export interface VectorOrigin {
  /** Model whose space the vectors are in: the one that encoded them, or the one that a corrector maps to. */
  readonly retriever: Retriever;
  /** Side as which the texts were encoded. Default `document`. */
  readonly side?: Side | undefined;
  /** Corrector that has moved the vectors to the space of `retriever`: the description that `loadCorrector` returns. */
  readonly corrector?: AppliedCorrector | undefined;
  /**
   * File beside the vectors for their ids, one a line. It becomes one with the vectors; an earlier one is removed where the texts
   * have no ids. Default none.
   */
  readonly idsFile?: string | undefined;
}

/** Writer of a file of vectors and of its manifest, some rows at a time. */
export interface VectorWriter {
  /** Number of vectors appended so far. */
  readonly rows: number;
  /**
   * Appends the vectors of some texts.
   *
   * @param vectors f32[texts, D], row-major
   * @param ids ids of the texts; given in every call, or in none
   * @throws ShapeError if the numbers of vectors, texts and ids differ
   */
  append(vectors: Float32Array, texts: readonly string[], ids?: readonly string[]): Promise<void>;
  /** Gives the vectors, the ids and the manifest their names, and returns the manifest. */
  close(): Promise<VectorManifest>;
  /** Deletes the unfinished files. */
  discard(): Promise<void>;
}

/**
 * Opens a .npy file of vectors for writing. The manifest `file.json` says of which model and of which texts the
 * vectors are, and holds the digest of their numbers. Until the writer is closed or discarded, no other process can
 * write the same file.
 *
 * `close` completes all files under temporary names, removes the earlier ids and manifest, and then gives the names
 * in the order vectors, ids, manifest. If the process is killed in between, there are vectors without a manifest, which
 * readers refuse; ids and vectors of two calls never lie side by side.
 *
 * @throws UsageError if the corrector maps to another space than that of the model
 * @throws UndriftError if a file cannot be written, or another process is writing it
 */
export async function openVectorWriter(file: string, origin: VectorOrigin): Promise<VectorWriter> {
  const { retriever, side = 'document', corrector } = origin;
  const facts = modelFacts(retriever);
  const D = facts.dimension;
  if (corrector && corrector.toSpace !== facts.embeddingSpace) {
    throw new UsageError(
      `the corrector gives vectors of the embedding space ${corrector.toSpace}, the model is ${facts.embeddingSpace}`,
      { help: 'name the model to whose space the vectors were moved' },
    );
  }
  const lock = await takeLock(lockBeside(file));
  const opened: { discard(): Promise<void> }[] = [];
  const discard = async () => {
    for (const each of opened) await each.discard();
    await lock.release();
  };
  const orDiscard = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      await discard();
      throw error;
    }
  };
  const npy = await orDiscard(() => openNpyWriter(file, { dtype: 'f32', rowDims: [D] }));
  opened.push(npy);
  const open = (path: string) =>
    orDiscard(async () => {
      const made = await openFileAtomic(path);
      opened.push(made);
      return made;
    });
  const { idsFile } = origin;
  let idLines: AtomicFile | undefined;
  const [bytes, textRows] = [new ByteDigest(), new RowDigest()];
  let idRows: RowDigest | undefined;
  return {
    get rows() {
      return npy.rows;
    },
    async append(vectors, texts, ids) {
      idRows ??= ids && npy.rows === 0 ? new RowDigest() : undefined;
      if (vectors.length !== texts.length * D) {
        throw new ShapeError(
          `${texts.length} texts have vectors f32[${texts.length}, ${D}], found ${vectors.length} numbers`,
        );
      }
      if (ids?.length !== (idRows && texts.length)) {
        throw new ShapeError(`${texts.length} texts come with ${ids?.length ?? 'no'} ids`, {
          help: 'give an id for every text, or none for any',
        });
      }
      await npy.append(vectors as Float32Array<ArrayBuffer>);
      bytes.add(bytesOf(vectors));
      for (const text of texts) textRows.add(text);
      for (const id of ids ?? []) idRows?.add(id);
      if (!ids || idsFile === undefined) return;
      idLines ??= await open(idsFile);
      await idLines.append(ids.map((id) => `${checkLine(id)}\n`).join(''));
    },
    async close() {
      const { rows } = npy;
      const manifest: VectorManifest = {
        ...facts,
        side,
        dtype: 'f32',
        rows,
        texts: textRows.digest(),
        ids: idRows?.digest() ?? null,
        sha256: bytes.digest(),
        corrector: corrector
          ? { kind: corrector.kind, fromSpace: corrector.fromSpace, toSpace: corrector.toSpace }
          : null,
      };
      const description = await open(manifestFile(file));
      await orDiscard(async () => {
        await description.append(manifestText(manifest));
        await npy.finish();
        await idLines?.finish();
        await description.finish();
        // From here on the earlier ids and manifest are wrong.
        const earlier = [manifestFile(file), ...(idsFile === undefined ? [] : [idsFile])];
        for (const path of earlier) await rm(path, { force: true });
        await npy.close();
        await idLines?.commit();
        await description.commit();
      });
      await lock.release();
      return manifest;
    },
    discard,
  };
}

/** @throws UndriftError for an id that would take several lines */
function checkLine(id: string): string {
  if (!/[\r\n]/.test(id)) return id;
  throw new UndriftError(`the id ${JSON.stringify(id)} has a line end in it: a file of ids has one a line`);
}

/** Texts written at once. */
const WRITE_ROWS = 4096;

/**
 * Stores the vectors of all texts of a corpus as a .npy file, with its manifest.
 *
 * @example
 * const vectors = await encodeCorpus(retriever, 'document', data.corpus);
 * await writeVectors('documents.npy', vectors, data.corpus, { retriever });
 *
 * @param vectors  f32[N, D], by row of the corpus
 * @throws ShapeError if the vectors do not fit the corpus
 * @throws UsageError if the corrector maps to another space than that of the model
 */
export async function writeVectors(
  file: string,
  vectors: Float32Array,
  corpus: Corpus,
  origin: VectorOrigin,
): Promise<VectorManifest> {
  const D = origin.retriever.dimension;
  if (vectors.length !== corpus.size * D) {
    throw new ShapeError(
      `${corpus.size} texts of dimension ${D} have ${corpus.size * D} numbers, found ${vectors.length}`,
    );
  }
  const writer = await openVectorWriter(file, origin);
  try {
    for (let start = 0; start < corpus.size; start += WRITE_ROWS) {
      const end = Math.min(corpus.size, start + WRITE_ROWS);
      const rows = Array.from({ length: end - start }, (_, i) => start + i);
      await writer.append(
        vectors.subarray(start * D, end * D),
        rows.map((row) => corpus.text(row)),
        rows.map((row) => corpus.id(row)),
      );
    }
    return await writer.close();
  } catch (error) {
    await writer.discard();
    throw error;
  }
}
