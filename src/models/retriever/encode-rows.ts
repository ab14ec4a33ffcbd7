import { float32, type HostTensor } from '../../runtime/host-tensor.ts';
import type { Feeds, Program } from '../../runtime/program.ts';
import { padBatch } from '../../text/pad-batch.ts';
import type { TokenStore } from '../../text/token-store.ts';
import type { PaddedTokens } from './token-feeds.ts';

/**
 * Padded tokens in one forward pass: enough to keep the cores busy, but few enough that a layer's widest
 * activations stay in their caches. With 8192, a token took 1.4 times as long (6 layers, D 384).
 */
const TOKENS_PER_PASS = 2048;

/**
 * Largest ratio of padded tokens to tokens in a pass. Passes below `SHORT_PASS_TOKENS` are exempt, because
 * short passes are inefficient.
 */
const MOST_PADDING_RATIO = 1.1;
const SHORT_PASS_TOKENS = 256;

/** Encoder of one side without its retriever, as another process has it too. */
export interface RowEncoder {
  /** Compiled encoder. Inputs: the weights, and what `feeds` makes. Its only output is f32[texts, D]. */
  readonly program: Program;
  /** Weights by input name. */
  readonly weights: Readonly<Record<string, HostTensor>>;
  /** Makes the token inputs of a padded batch. */
  readonly feeds: (batch: PaddedTokens) => Feeds;
  /** Id of the padding token. */
  readonly padId: number;
}

/**
 * Embeds the rows of one block (`encodeBlocks`), longest first, so that a pass holds texts of similar length.
 *
 * The passes depend only on the lengths of the rows. Equal rows, weights and numbers of threads give equal
 * bits, in this or another process.
 *
 * @param out  output, row-major f32[rows, D], in the order of the rows
 * @param onProgress  called with the number of rows embedded so far
 */
export async function encodeRows(
  { program, weights, feeds, padId }: RowEncoder,
  { store, rows }: { store: TokenStore; rows: Uint32Array },
  out: Float32Array,
  onRows?: (done: number) => void,
): Promise<void> {
  const D = out.length / rows.length;
  let done = 0;
  for (const picked of passes(Int32Array.from(rows, (row) => store.length(row)))) {
    const batch = padBatch(
      store,
      picked.map((i) => rows[i]!),
      { padId },
    );
    const [made] = Object.values(await program.run({ ...weights, ...feeds(batch) }));
    const vectors = float32(made, 'embedding');
    for (const [i, place] of picked.entries()) out.set(vectors.subarray(i * D, (i + 1) * D), place * D);
    done += picked.length;
    onRows?.(done);
  }
}

/**
 * Splits texts into passes of similar length, longest first.
 *
 * @param lengths  tokens of each text
 * @yields numbers of the texts of a pass
 */
export function* passes(lengths: Int32Array): Generator<Uint32Array> {
  const order = Uint32Array.from(lengths, (_, i) => i).sort((a, b) => lengths[b]! - lengths[a]! || a - b);
  for (let start = 0; start < order.length; ) {
    const end = passEnd(order, start, (i) => lengths[i]!);
    yield order.subarray(start, end);
    start = end;
  }
}

/** Finds the end of the pass that begins at `start` of an order by descending length. */
function passEnd(order: Uint32Array, start: number, lengthOf: (i: number) => number): number {
  const longest = Math.max(1, lengthOf(order[start]!));
  let tokens = longest;
  let end = start + 1;
  for (; end < order.length; end++) {
    const padded = longest * (end + 1 - start);
    tokens += lengthOf(order[end]!);
    if (padded > TOKENS_PER_PASS) break;
    if (padded > SHORT_PASS_TOKENS && padded > MOST_PADDING_RATIO * tokens) break;
  }
  return end;
}
