import { ROWS_INPUT } from '../../nn/parameters.ts';
import { elementCount } from '../../onnx/dtypes.ts';
import { type HostTensor, hostTensor, int32Words } from '../../runtime/host-tensor.ts';
import { underPrefix } from '../../util/prefixes.ts';
import { type RngKey, randomInts } from '../../util/rng.ts';

/** Padded batch of token ids, as made by `padBatch`. */
export interface PaddedTokens {
  /** Token ids, [batch × tokens], padding included. */
  readonly ids: Int32Array;
  /** Mask, [batch × tokens]: 1 for tokens, 0 for padding. */
  readonly mask: Float32Array;
  /** Document of each token, [batch × tokens], for programs in which documents share a row. */
  readonly documents?: Int32Array;
  /** Number of texts. */
  readonly batch: number;
  /** Padded length, in tokens. */
  readonly tokens: number;
}

/**
 * Converts padded batches into program inputs `<name>/ids`, `<name>/mask` and `rows`: the distinct token ids
 * of all batches together, in order of first appearance. The prefix of the model in its graph, if it has one,
 * stands before all these names.
 *
 * The ids that a program sees are positions in the list `rows`. So the program gathers each table row once,
 * and the gradient of the table has one row for each distinct token, however large the vocabulary.
 */
export class TokenFeeds {
  /** Position of each token id in the current list; out of date if its stamp is not that of the current call. */
  private readonly positions: Int32Array;
  private readonly stamps: Int32Array;
  private stamp = 0;
  private readonly prefix: string;

  /**
   * @param vocabSize number of rows of the embedding table
   * @param options.prefix prefix of the model in its graph (see `Retriever.declare`), default none
   */
  constructor(vocabSize: number, { prefix = '' }: { prefix?: string } = {}) {
    this.prefix = prefix;
    this.positions = new Int32Array(vocabSize);
    this.stamps = new Int32Array(vocabSize);
  }

  /**
   * Makes the inputs of a program for padded batches.
   *
   * @param batches  batches by the names of their inputs
   * @param options.packed  adds the inputs of programs that skip padding (see `packingFeeds`)
   */
  feeds(
    batches: Readonly<Record<string, PaddedTokens>>,
    { packed = false }: { packed?: boolean } = {},
  ): Record<string, HostTensor> {
    this.stamp += 1;
    const { positions, stamps, stamp, prefix } = this;
    const feeds: Record<string, HostTensor> = {};
    const distinct: number[] = [];
    for (const [own, { ids, mask, batch, tokens }] of Object.entries(batches)) {
      const name = underPrefix(prefix, own);
      const dims = [batch, tokens];
      const count = elementCount(dims);
      const local = new BigInt64Array(count);
      const words = int32Words(local);
      for (let i = 0; i < count; i++) {
        const id = ids[i]!;
        if (stamps[id] !== stamp) {
          stamps[id] = stamp;
          positions[id] = distinct.length;
          distinct.push(id);
        }
        words[2 * i] = positions[id]!;
      }
      feeds[`${name}/ids`] = hostTensor('i64', dims, local);
      feeds[`${name}/mask`] = hostTensor('f32', dims, mask.slice(0, count));
      if (packed) Object.assign(feeds, packingFeeds(name, { mask, batch, tokens }));
    }
    const rows = new BigInt64Array(distinct.length);
    const words = int32Words(rows);
    for (let i = 0; i < distinct.length; i++) words[2 * i] = distinct[i]!;
    feeds[underPrefix(prefix, ROWS_INPUT)] = hostTensor('i64', [distinct.length], rows);
    return feeds;
  }
}

/**
 * Converts padded batches into program inputs `<name>/ids` and `<name>/mask`, and `<name>/documents` where the batch has them, for a
 * language model. Its whole table of tokens is in the graph, so the inputs hold the token ids themselves.
 *
 * @param options.prefix prefix of the model in its graph, default none
 */
export function wholeTableFeeds(
  batches: Readonly<Record<string, PaddedTokens>>,
  { prefix = '' }: { prefix?: string } = {},
): Record<string, HostTensor> {
  const feeds: Record<string, HostTensor> = {};
  for (const [own, { ids, mask, documents, batch, tokens }] of Object.entries(batches)) {
    const name = underPrefix(prefix, own);
    const dims = [batch, tokens];
    const count = elementCount(dims);
    const integers = (values: Int32Array) =>
      hostTensor('i64', dims, BigInt64Array.from(values.subarray(0, count), BigInt));
    feeds[`${name}/ids`] = integers(ids);
    if (documents) feeds[`${name}/documents`] = integers(documents);
    feeds[`${name}/mask`] = hostTensor('f32', dims, mask.slice(0, count));
  }
  return feeds;
}

/**
 * Makes the inputs `<name>/places`, `<name>/slots` and `<name>/kept` of a program that skips padding (see
 * `Packing`). The first position of a text is kept even if it holds no token, so that there is always
 * something to compute.
 */
function packingFeeds(
  name: string,
  { mask, batch, tokens }: Pick<PaddedTokens, 'mask' | 'batch' | 'tokens'>,
): Record<string, HostTensor> {
  const count = batch * tokens;
  const kept = new Float32Array(count);
  const slots = new BigInt64Array(count);
  const slotWords = int32Words(slots);
  const places = new BigInt64Array(count);
  const placeWords = int32Words(places);
  let R = 0;
  for (let place = 0; place < count; place++) {
    if (mask[place] === 0 && place % tokens !== 0) continue;
    kept[place] = 1;
    slotWords[2 * place] = R;
    placeWords[2 * R] = place;
    R += 1;
  }
  return {
    [`${name}/places`]: hostTensor('i64', [R], places.slice(0, R)),
    [`${name}/slots`]: hostTensor('i64', [count], slots),
    [`${name}/kept`]: hostTensor('f32', [count], kept),
  };
}

/**
 * Makes the input `<name>/dropout` of a training program: a random word for each text of a batch.
 *
 * @param offset  number of the first text in the batch, when a program runs on a part of it
 */
export function dropoutKeys(key: RngKey, texts: number, offset = 0): HostTensor {
  const words = new Uint32Array(texts);
  randomInts(key, 2 ** 32, words, offset);
  return hostTensor('u32', [texts], words);
}
