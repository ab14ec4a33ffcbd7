import type { TokenStore } from '../../text/token-store.ts';
import type { Side } from './side.ts';

/** Encodes many rows of a store for a retriever, such as by several processes. */
export interface RowSharing {
  /** Number of rows from which on they are given to `encode`. */
  readonly leastRows: number;
  /**
   * Embeds rows of a token store on the CPU, with the weights that the retriever has at the call.
   *
   * @param out  output, row-major f32[rows, D], in the order of the rows
   * @param onRows  called with the number of rows embedded so far
   */
  encode(
    side: Side,
    texts: { readonly store: TokenStore; readonly rows: Uint32Array },
    out: Float32Array,
    onRows?: (done: number) => void,
  ): Promise<void>;
  /** Frees what it holds. */
  dispose(): Promise<void>;
}
