import { type Dim, multiplyDims } from '../graph/dims.ts';
import type { Graph } from '../graph/graph.ts';
import { concat, mul, reshape, split, takeRows } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { UndriftError } from '../util/errors.ts';
import { type AttentionOptions, attention } from './attention.ts';
import { type FusedAttention, fusedAttention } from './causal-attention.ts';
import { dropout } from './layers.ts';

/** Positions of the R tokens of a padded batch among its B·T places. */
export interface Packing {
  /** i64[R]: place of each token, ascending. */
  readonly places: Tensor;
  /** i64[B·T]: number of the token at each place; any number at places of padding. */
  readonly slots: Tensor;
  /** f32[B·T]: 1 for places of tokens, 0 for padding. */
  readonly kept: Tensor;
}

/** Padded batch of texts: its token ids, packing and dropout keys. */
export interface TextBatch {
  /** i64[B, T]: token ids. */
  readonly ids: Tensor;
  /** Positions of the tokens; undefined if padding is computed like tokens. */
  readonly packing?: Packing | undefined;
  /** u32[B]: one random word per text and step, required for dropout. */
  readonly dropoutKeys?: Tensor | undefined;
}

/**
 * Batches of texts that go through an encoder together, with their tokens as rows of one matrix f32[Σ R, D].
 *
 * Products with weights, norms and activations are computed once for all rows. Operations across tokens, such
 * as attention, are computed per batch, padded to the batch's own length. The queries and documents of a step
 * therefore share every product with a weight, forward and backward. In a batch with `packing`, padding takes
 * part in attention only. In a batch without it, R = B·T.
 */
export class TextRows {
  /** Graph of the batches. */
  readonly graph: Graph;
  private readonly batches: readonly TextBatch[];
  private readonly dropoutRatio: number;

  /**
   * Collects batches of one graph.
   *
   * @param batches at least one batch
   * @param options.dropoutRatio dropout rate in [0, 1), default 0
   */
  constructor(batches: readonly TextBatch[], options: { dropoutRatio?: number | undefined } = {}) {
    this.graph = batches[0]!.ids.graph;
    this.batches = batches;
    this.dropoutRatio = options.dropoutRatio ?? 0;
  }

  /**
   * Converts padded texts to the rows of all batches.
   *
   * @param texts f32[B, T, D] of each batch
   * @returns f32[Σ R, D]
   */
  join(texts: readonly Tensor[]): Tensor {
    const parts = texts.map((each, i) =>
      this.pack(i, reshape(each, [multiplyDims(each.shape[0]!, each.shape[1]!), each.shape[2]!])),
    );
    return joined(parts);
  }

  /**
   * Converts rows to the padded texts of each batch, with zeros for padding that is not packed.
   *
   * @param rows f32[Σ R, D]
   * @returns f32[B, T, D] of each batch
   */
  split(rows: Tensor): Tensor[] {
    return this.parts(rows).map((part, i) =>
      reshape(this.unpack(i, part), [...this.batches[i]!.ids.shape, rows.shape[1]!]),
    );
  }

  /**
   * Applies dropout to rows; see the function `dropout`.
   *
   * @param rows f32[Σ R, D]
   * @param site name of the place in the encoder
   * @returns f32[Σ R, D]
   * @throws UndriftError if a batch has no dropout keys.
   */
  dropout(rows: Tensor, site: string): Tensor {
    if (this.dropoutRatio === 0) return rows;
    const parts = this.parts(rows).map((part, i) => {
      const perText = [this.batches[i]!.ids.shape[1]!, rows.shape[1]!];
      return this.pack(i, dropout(this.unpack(i, part), this.dropoutOf(i), { site, perText }));
    });
    return joined(parts);
  }

  /**
   * Attention between the tokens of each text; see the function `attention`.
   *
   * @param operands query f32[Σ R, H·S], key and value f32[Σ R, G·S]
   * @param options options for the i-th batch
   * @returns f32[Σ R, H·S]
   */
  attention(
    operands: readonly [query: Tensor, key: Tensor, value: Tensor],
    options: (i: number) => Omit<AttentionOptions, 'batch' | 'tokens' | 'dropout'> & {
      /** Settings with which one kernel computes the attention. Default: separate operations, which have gradients. */
      fused?: FusedAttention | undefined;
    },
  ): Tensor {
    const split = operands.map((each) => this.parts(each));
    const parts = this.batches.map(({ ids }, i) => {
      const [query, key, value] = split.map((each) => this.unpack(i, each[i]!));
      const [batch, tokens] = [ids.shape[0]!, ids.shape[1]!];
      const { fused, ...given } = options(i);
      if (fused) {
        const { heads, keyHeads = heads } = given;
        const all = { ...fused, batch, tokens, heads, keyHeads };
        return this.pack(i, fusedAttention([query!, key!, value!], all));
      }
      const place = { batch, tokens, dropout: this.dropoutOf(i) };
      return this.pack(i, attention(query!, key!, value!, { ...given, ...place }));
    });
    return joined(parts);
  }

  private dropoutOf(i: number) {
    if (this.dropoutRatio === 0) return undefined;
    const keys = this.batches[i]!.dropoutKeys;
    if (!keys) throw new UndriftError('dropout needs keys for every batch');
    return { rateRatio: this.dropoutRatio, keys };
  }

  private parts(rows: Tensor): Tensor[] {
    if (this.batches.length === 1) return [rows];
    return split(rows, this.batches.map(rowCount), 0);
  }

  /** f32[B·T, D] → f32[R, D]. The factor affects the gradient only: padding gets none. */
  private pack(i: number, padded: Tensor): Tensor {
    const { packing } = this.batches[i]!;
    if (!packing) return padded;
    return takeRows(mul(padded, column(packing.kept)), packing.places, packing.slots);
  }

  /** f32[R, D] → f32[B·T, D], with zeros for padding. */
  private unpack(i: number, part: Tensor): Tensor {
    const { packing } = this.batches[i]!;
    if (!packing) return part;
    return mul(takeRows(part, packing.slots, packing.places), column(packing.kept));
  }
}

const rowCount = ({ ids, packing }: TextBatch): Dim =>
  packing ? packing.places.shape[0]! : multiplyDims(ids.shape[0]!, ids.shape[1]!);

const column = (x: Tensor): Tensor => reshape(x, [x.shape[0]!, 1]);

const joined = (parts: readonly Tensor[]): Tensor => (parts.length === 1 ? parts[0]! : concat(parts, 0));
