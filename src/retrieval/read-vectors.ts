import type { Corpus } from '../data/corpus.ts';
import { type NpyReader, openNpy } from '../io/npy.ts';
import { embeddingSpaceId } from '../models/retriever/embedding-space.ts';
import type { Retriever, Side } from '../models/retriever/retriever.ts';
import { bytesOf } from '../onnx/dtypes.ts';
import { ByteDigest } from '../util/byte-digest.ts';
import { DataError, UsageError } from '../util/errors.ts';
import { option } from '../util/option-name.ts';
import { checkOptions, type GivenOptions } from '../util/option-table.ts';
import { VECTOR_OPTIONS } from './retrieval-options.ts';
import { corpusDigests } from './row-digest.ts';
import { manifestFile, modelFacts, readManifest, type VectorManifest } from './vector-manifest.ts';

/** Vectors read from a file, after a check that they are of the model and the texts at hand. */
export interface StoredVectors {
  /** f32[N, D], by row of the corpus. */
  readonly vectors: Float32Array;
  /** Texts of which the vectors are. */
  readonly corpus: Corpus;
  /** Side as which the texts were encoded. */
  readonly side: Side;
  /** Embedding size D. */
  readonly dimension: number;
  /** Id of their embedding space; undefined for trusted vectors without a manifest. */
  readonly embeddingSpace: string | undefined;
  /** Their manifest; undefined for trusted vectors without one. */
  readonly manifest: VectorManifest | undefined;
}

/** Model and texts that stored vectors must be of. */
export interface WantedVectors extends GivenOptions<typeof VECTOR_OPTIONS> {
  /** Model whose space the vectors must be in. */
  readonly retriever: Retriever;
  /** Texts of which the vectors must be, row by row. */
  readonly corpus: Corpus;
  /** Side as which the texts must have been encoded. Default `document`. */
  readonly side?: Side | undefined;
  /** Command that writes the right vectors, for the help of errors. */
  readonly command?: string | undefined;
}

/** Members of {@link WantedVectors} that are no options with a range. */
const CALLER_OPTIONS = [
  'retriever',
  'corpus',
  'side',
  'command',
] as const satisfies readonly (keyof WantedVectors)[];

/**
 * Reads stored vectors, and checks by their manifest that they are those of a model and of a corpus.
 *
 * @example
 * const stored = await readVectors('documents.npy', { retriever, corpus: data.corpus });
 * const run = await retrieve(retriever, data, task, { documentEmbeddings: stored });
 *
 * @throws DataError if there is no manifest and `trustVectors` is not set; if the vectors are of another embedding
 *   space, of the other side, or of other, fewer or reordered texts; if the file is not the one that the manifest
 *   describes; if either file is damaged
 */
export async function readVectors(file: string, wanted: WantedVectors): Promise<StoredVectors> {
  checkOptions(VECTOR_OPTIONS, wanted, CALLER_OPTIONS);
  const { retriever, corpus, side = 'document', trustVectors = false } = wanted;
  const command = wanted.command ?? `undrift encode --model MODEL --data DATA --side ${side} --out ${file}`;
  const help = `write them again: ${command}`;
  const npy = await openNpy(file);
  try {
    const manifest = await readManifest(file);
    if (manifest) {
      checkHeader(npy, manifest, { file, help });
      checkModel(manifest, retriever, side, { file, help });
    } else if (!trustVectors) {
      throw new DataError(
        `has no manifest ${manifestFile(file)}: nothing says of which model and which texts the vectors are`,
        { file, help: `${help}\n  or, if you know that they fit: ${option('trustVectors', true)}` },
      );
    }
    const { dtype, dims } = npy;
    const D = retriever.dimension;
    if (dtype !== 'f32' || dims.length !== 2 || dims[0] !== corpus.size || dims[1] !== D) {
      const noun = side === 'query' ? 'queries' : 'documents';
      throw new DataError(
        `holds ${dtype}[${dims.join(', ')}], but ${corpus.size} ${noun} of this model are f32[${corpus.size}, ${D}]`,
        { file, help },
      );
    }
    if (manifest) checkTexts(manifest, corpus, { file, help });
    const { data } = await npy.readRows(0, corpus.size);
    if (manifest) checkNumbers(data as Float32Array, manifest, { file, help });
    return {
      vectors: data as Float32Array,
      corpus,
      side,
      dimension: D,
      embeddingSpace: manifest?.embeddingSpace,
      manifest,
    };
  } finally {
    await npy.close();
  }
}

/**
 * Checks that vectors that were read for one use fit another: a retriever, a side and a corpus.
 *
 * @throws UsageError if they are of another embedding space, of the other side or of another corpus
 */
export function checkStored(
  stored: StoredVectors,
  { retriever, corpus, side }: { retriever: Retriever; corpus: Corpus; side: Side },
): void {
  const help = 'read them for the model and the data at hand: readVectors(file, { retriever, corpus, side })';
  const { embeddingSpace } = stored;
  if (embeddingSpace !== undefined) {
    const own = embeddingSpaceId(retriever);
    if (embeddingSpace !== own) {
      throw new UsageError(
        `the stored vectors are of the embedding space ${embeddingSpace}, the model at hand has ${own}`,
        { help },
      );
    }
  }
  if (stored.side !== side) {
    throw new UsageError(`the stored vectors were encoded as side ${stored.side}, not as ${side}`, { help });
  }
  if (stored.corpus === corpus) return;
  const [there, here] = [corpusDigests(stored.corpus), corpusDigests(corpus)];
  if (there.texts === here.texts && there.ids === here.ids) return;
  throw new UsageError(
    `the stored vectors are of another corpus: fingerprint ${there.texts}, ids ${there.ids}; the corpus at hand has ` +
      `${here.texts}, ids ${here.ids}`,
    { help },
  );
}

/** File at fault, and the command that mends it. */
interface Fault {
  readonly file: string;
  readonly help: string;
}

/** Checks that the array has the shape that the manifest says. */
function checkHeader({ dtype, dims }: NpyReader, manifest: VectorManifest, fault: Fault): void {
  const [found, said] = [
    `${dtype}[${dims.join(', ')}]`,
    `${manifest.dtype}[${manifest.rows}, ${manifest.dimension}]`,
  ];
  if (found === said) return;
  throw new DataError(
    `holds ${found}, but its manifest ${manifestFile(fault.file)} describes ${said}: one of the two was replaced`,
    fault,
  );
}

/** Checks that the vectors are in the model's space, and of the right side. */
function checkModel(manifest: VectorManifest, retriever: Retriever, side: Side, fault: Fault): void {
  const own = modelFacts(retriever);
  const { embeddingSpace, corrector } = manifest;
  const named = (settings: VectorManifest['settings'], dimension: number) => ({ dimension, ...settings });
  const [there, here] = [
    named(manifest.settings, manifest.dimension),
    named(own.settings, own.dimension),
  ] as Record<string, unknown>[];
  const shown = (value: unknown) => (value === undefined ? 'absent' : JSON.stringify(value));
  const differences = Object.keys({ ...there, ...here })
    .filter((name) => there![name] !== here![name])
    .map((name) => `${name} ${shown(there![name])} there, ${shown(here![name])} here`);
  if (embeddingSpace !== own.embeddingSpace || differences.length > 0) {
    const moved = corrector
      ? ` (moved there from ${corrector.fromSpace} by a ${corrector.kind} corrector)`
      : '';
    const why = differences.length > 0 ? `; they differ in ${differences.join('; ')}` : '';
    throw new DataError(
      `holds vectors of the embedding space ${embeddingSpace}${moved}, the model at hand has ${own.embeddingSpace}${why}`,
      fault,
    );
  }
  if (manifest.side !== side) {
    throw new DataError(
      `holds vectors of texts that were encoded as ${manifest.side === 'query' ? 'queries' : 'documents'}, not as ` +
        `${side === 'query' ? 'queries' : 'documents'} (embedding space ${embeddingSpace})`,
      fault,
    );
  }
}

/** Checks that the vectors are of the texts of a corpus, in its order. */
function checkTexts(manifest: VectorManifest, corpus: Corpus, fault: Fault): void {
  const own = corpusDigests(corpus);
  if (manifest.texts !== own.texts) {
    const order = manifest.ids === own.ids ? 'some texts were changed' : 'other texts, or another order';
    throw new DataError(
      `holds vectors of another corpus: its texts have the fingerprint ${manifest.texts}, those at hand ${own.texts} (${order})`,
      fault,
    );
  }
  if (manifest.ids !== null && manifest.ids !== own.ids) {
    throw new DataError(
      `holds vectors of the same texts under other ids: the fingerprint of the ids is ${manifest.ids}, of those at hand ${own.ids}`,
      fault,
    );
  }
}

/** Checks that the numbers are those that the manifest was written for. */
function checkNumbers(vectors: Float32Array, manifest: VectorManifest, fault: Fault): void {
  const digest = new ByteDigest();
  digest.add(bytesOf(vectors));
  const found = digest.digest();
  if (found === manifest.sha256) return;
  const short = (text: string) => text.slice(0, 16);
  throw new DataError(
    `its numbers have SHA-256 ${short(found)}…, but its manifest ${manifestFile(fault.file)} says ` +
      `${short(manifest.sha256)}…: the file was replaced or changed after it was written`,
    fault,
  );
}
