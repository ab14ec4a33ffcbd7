import { multiplyDims } from '../graph/dims.ts';
import type { Graph } from '../graph/graph.ts';
import { concat, reshape, split } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { UndriftError } from '../util/errors.ts';
import { type AttentionOptions, attention } from './attention.ts';
import { dropout } from './layers.ts';

/** A padded batch of texts, as far as its rows go. */
export interface TextBatch {
  /** i64[B, T] */
  readonly ids: Tensor;
  /** u32[B]: one random word for each text and step, where something is dropped. */
  readonly dropoutKeys?: Tensor | undefined;
}

/**
 * Batches of texts that go through an encoder together: their tokens stand one under the other, as rows of one matrix
 * f32[Σ B·T, D]. Products with weights, norms and activations are done once for all rows; what looks from token to token is done
 * batch by batch, each with its own length. Queries and documents of a step thus share every product with a weight, forwards
 * and backwards: 10 % of a step with 6 layers of D 384, up to 20 % with 12 of D 768.
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
    return joined(
      texts.map((each) => reshape(each, [multiplyDims(each.shape[0]!, each.shape[1]!), each.shape[2]!])),
    );
  }

  /** f32[B, T, D] of each batch. @param rows  f32[Σ B·T, D] */
  split(rows: Tensor): Tensor[] {
    return this.parts(rows).map((part, i) => reshape(part, [...this.batches[i]!.ids.shape, rows.shape[1]!]));
  }

  /** See `dropout`. @param rows  f32[Σ B·T, D] */
  dropout(rows: Tensor, site: string): Tensor {
    if (this.dropoutRatio === 0) return rows;
    const parts = this.parts(rows).map((part, i) => {
      const perText = [this.batches[i]!.ids.shape[1]!, rows.shape[1]!];
      return dropout(part, this.dropoutOf(i), { site, perText });
    });
    return joined(parts);
  }

  /**
   * Attention of the tokens of a text to each other: see `attention`.
   *
   * @param query, key, value  f32[Σ B·T, heads·S]
   * @param options  of the i-th batch
   */
  attention(
    [query, key, value]: readonly [query: Tensor, key: Tensor, value: Tensor],
    options: (i: number) => Omit<AttentionOptions, 'batch' | 'tokens' | 'dropout'>,
  ): Tensor {
    const [queries, keys, values] = [this.parts(query), this.parts(key), this.parts(value)];
    const parts = this.batches.map(({ ids }, i) => {
      const [batch, tokens] = [ids.shape[0]!, ids.shape[1]!];
      return attention(queries[i]!, keys[i]!, values[i]!, {
        ...options(i),
        ...{ batch, tokens, dropout: this.dropoutOf(i) },
      });
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
    const sizes = this.batches.map(({ ids }) => multiplyDims(ids.shape[0]!, ids.shape[1]!));
    return split(rows, sizes, 0);
  }
}

const joined = (parts: readonly Tensor[]): Tensor => (parts.length === 1 ? parts[0]! : concat(parts, 0));
