import type { Pooling } from '../../nn/layers.ts';
import type { NoteListener } from '../../util/option-name.ts';
import type { EncodeDtype } from '../retriever/encode-dtype.ts';
import type { RetrieverConfig } from '../retriever/retriever.ts';

/** Settings that override those of the folder. Every setting except `onNote` changes the embedding space. */
export interface LoadOptions {
  /** Pooling of token vectors. Default that of the folder, else `mean`. */
  pooling?: Pooling;
  /** Normalise vectors to unit length. Default as in the folder, else true. */
  normalize?: boolean;
  /** Size of a new projection, with initial weights from `seed`, for a folder without one. Default none. */
  projectionSize?: number;
  /**
   * Leading dimensions of the vectors to keep (Matryoshka), at most as many as there are. Default as in the
   * folder, else all.
   */
  dimensions?: number;
  /** `separate` makes two towers out of one, to be trained separately. Default as in the folder. */
  towers?: RetrieverConfig['towers'];
  /** Texts to put before every query and document. Default those of the folder. */
  prompts?: Partial<RetrieverConfig['prompts']>;
  /** Longest query and document, in tokens. Default as in the folder, else the limit of the encoder. */
  maxTokens?: Partial<RetrieverConfig['maxTokens']>;
  /** Dtype in which texts are encoded: `int8` is faster, and cannot be trained. Default as in the folder, else `f32`. */
  encodeDtype?: EncodeDtype;
  /** Seed of the weights that the folder lacks. Default 0. */
  seed?: number;
  /** Called with notes on assumptions about missing settings, and on parts of the folder that were not used. */
  onNote?: NoteListener;
}
