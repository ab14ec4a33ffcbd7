import { type Dim, multiplyDims } from '../graph/dims.ts';
import type { Graph } from '../graph/graph.ts';
import { concat, mul, reshape, split, takeRows } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { UndriftError } from '../util/errors.ts';
import { type AttentionOptions, attention } from './attention.ts';
import { dropout } from './layers.ts';

/** Where the R tokens of a padded batch stand in its B·T places. */
export interface Packing {
  /** i64[R]: the place of each token, ascending. */
  readonly places: Tensor;
  /** i64[B·T]: the number of the token at each place; any at places of padding. */
  readonly slots: Tensor;
  /** f32[B·T]: 1 for places of tokens, 0 for padding. */
  readonly kept: Tensor;
}

/** A padded batch of texts, as far as its rows go. */
export interface TextBatch {
  /** i64[B, T] */
  readonly ids: Tensor;
  readonly packing?: Packing | undefined;
  /** u32[B]: one random word for each text and step, where something is dropped. */
  readonly dropoutKeys?: Tensor | undefined;
}

/**
 * Batches of texts that go through an encoder together: their tokens stand one under the other, as rows of one matrix. Products with
 * weights, norms and activations are done once for all rows; what looks from token to token is done batch by batch, each padded to its
 * own length. So queries and documents of a step share every product with a weight, forwards and backwards; and where a batch says
 * where its tokens are, padding takes part in attention alone. Rows: f32[Σ R, D], with R = B·T for a batch that does not say.
 */
export class TextRows {
  readonly graph: Graph;
  private readonly batches: readonly TextBatch[];
  private readonly dropoutRatio: number;

  constructor(batches: readonly TextBatch[], options: { dropoutRatio?: number | undefined } = {}) {
    this.graph = batches[0]!.ids.graph;
    this.batches = batches;
    this.dropoutRatio = options.dropoutRatio ?? 0;
  }

  /** The rows of all batches. @param texts  f32[B, T, D] of each */
  join(texts: readonly Tensor[]): Tensor {
    const parts = texts.map((each, i) =>
      this.pack(i, reshape(each, [multiplyDims(each.shape[0]!, each.shape[1]!), each.shape[2]!])),
    );
    return joined(parts);
  }

  /** f32[B, T, D] of each batch; zeros for padding that took no part. @param rows  f32[Σ R, D] */
  split(rows: Tensor): Tensor[] {
    return this.parts(rows).map((part, i) =>
      reshape(this.unpack(i, part), [...this.batches[i]!.ids.shape, rows.shape[1]!]),
    );
  }

  /** See `dropout`. @param rows  f32[Σ R, D] */
  dropout(rows: Tensor, site: string): Tensor {
    if (this.dropoutRatio === 0) return rows;
    const parts = this.parts(rows).map((part, i) => {
      const perText = [this.batches[i]!.ids.shape[1]!, rows.shape[1]!];
      return this.pack(i, dropout(this.unpack(i, part), this.dropoutOf(i), { site, perText }));
    });
    return joined(parts);
  }

  /**
   * Attention of the tokens of a text to each other: see `attention`.
   *
   * @param query, key, value  f32[Σ R, heads·S]
   * @param options  of the i-th batch
   */
  attention(
    operands: readonly [query: Tensor, key: Tensor, value: Tensor],
    options: (i: number) => Omit<AttentionOptions, 'batch' | 'tokens' | 'dropout'>,
  ): Tensor {
    const split = operands.map((each) => this.parts(each));
    const parts = this.batches.map(({ ids }, i) => {
      const [query, key, value] = split.map((each) => this.unpack(i, each[i]!));
      const [batch, tokens] = [ids.shape[0]!, ids.shape[1]!];
      const place = { batch, tokens, dropout: this.dropoutOf(i) };
      return this.pack(i, attention(query!, key!, value!, { ...options(i), ...place }));
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

  /** f32[B·T, D] → f32[R, D]. The factor is for the gradient: padding gets none. */
  private pack(i: number, padded: Tensor): Tensor {
    const { packing } = this.batches[i]!;
    if (!packing) return padded;
    return takeRows(mul(padded, column(packing.kept)), packing.places, packing.slots);
  }

  /** f32[R, D] → f32[B·T, D] */
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
