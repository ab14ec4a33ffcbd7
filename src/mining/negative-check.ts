import type { CrossEncoder } from '../models/cross-encoder/cross-encoder.ts';
import { PairTokens } from '../models/cross-encoder/pair-tokens.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import type { SourceTexts } from './candidate-source.ts';

/** Check of candidates by a model that is more exact than the ranker, which leaves out right answers that nobody has marked. */
export interface NegativeCheck {
  /**
   * Tells which documents may be negatives of a query.
   *
   * @param query  number of the query
   * @param positives  rows of its positives
   * @param rows  rows of the candidates
   */
  allows(query: number, positives: ArrayLike<number>, rows: readonly number[]): Promise<readonly boolean[]>;
}

/**
 * Checks candidates by a cross-encoder: a document may be a negative if its score s is at most s⁺ − margin, with s⁺ the lowest score of
 * the query's positives.
 *
 * @param options.margin  distance from the positive, in the scores of the cross-encoder. Default 0
 */
export function crossEncoderCheck(
  crossEncoder: CrossEncoder,
  texts: SourceTexts,
  { margin = 0, ...compute }: ComputeOptions & { readonly margin?: number | undefined } = {},
): NegativeCheck {
  const tokens = new PairTokens(crossEncoder, texts);
  const anchors = new Map<number, number>();
  const scores = async (query: number, rows: ArrayLike<number>): Promise<Float32Array> =>
    crossEncoder.activated(
      await crossEncoder.scoreTokens(rows.length, (i) => tokens.pair(query, rows[i]!), compute),
    );
  return {
    async allows(query, positives, rows) {
      const known = anchors.get(query) ?? Math.min(...(await scores(query, positives)));
      anchors.set(query, known);
      return Array.from(await scores(query, rows), (score) => score <= known - margin);
    },
  };
}
