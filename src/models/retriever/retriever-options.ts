import type { ComputeOptions } from '../../runtime/devices.ts';
import type { HostTensor } from '../../runtime/host-tensor.ts';
import type { Progress } from '../../util/progress.ts';
import type { EncodeDtype } from './encode-dtype.ts';
import type { EncoderConfig } from './encoder.ts';
import type { Side } from './side.ts';

/** Configuration of a retriever. */
export interface RetrieverConfig {
  /** Configuration of the encoder, or of both. */
  encoder: EncoderConfig;
  /** Whether queries and documents share one encoder or have one each, of the same shape. */
  towers: 'shared' | 'separate';
  /** Texts to put before every query and document, for example `query: `. */
  prompts: Readonly<Record<Side, string>>;
  /**
   * Longest query and document, in tokens, special tokens included. Longer texts are truncated, but keep the
   * closing special token.
   */
  maxTokens: Readonly<Record<Side, number>>;
  /** Dtype in which texts are encoded. Absent for f32. A retriever of another one cannot be trained. */
  encodeDtype?: EncodeDtype;
}

/** Weights by name: `encoder/<name>` for shared towers, `query/<name>` and `document/<name>` for separate ones. */
export type Weights = Readonly<Record<string, HostTensor>>;

/** Options of `Retriever.encode`. */
export interface EncodeOptions extends ComputeOptions {
  /** Rows of the store to embed. Default all. */
  rows?: Uint32Array;
  /**
   * Weights in place of the retriever's own, with the same names and shapes: an average or a snapshot of
   * them. Default the retriever's own.
   */
  weights?: Weights;
  /** Output f32[rows, D] to write to. Default a new array. */
  out?: Float32Array;
  /** Called after every forward pass, with progress in texts. */
  onProgress?: ((progress: Progress) => void) | undefined;
}
