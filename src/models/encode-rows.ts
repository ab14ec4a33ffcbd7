import { float32, type HostTensor } from '../runtime/host-tensor.ts';
import type { Program } from '../runtime/program.ts';
import { padBatch } from '../text/pad-batch.ts';
import type { TokenStore } from '../text/token-store.ts';
import type { TokenFeeds } from './token-feeds.ts';

/** Padded tokens in one forward pass: bounds memory, and is enough to keep the cores busy. */
const TOKENS_PER_PASS = 8192;

/** What embeds texts of one side; a process of its own has the same, without a retriever. */
export interface RowEncoder {
  /** Inputs: the weights, and tokens as `feeder` makes them of `texts`. Output `embedding` f32[texts, D]. */
  readonly program: Program;
  readonly weights: Readonly<Record<string, HostTensor>>;
  readonly feeder: TokenFeeds;
  readonly padId: number;
}

/**
 * Embeds rows of a token store, longest first so that a pass holds texts of like length. The passes follow from the lengths of
 * the rows alone: the same rows, weights and number of threads give the same bits, here or in another process.
 *
 * @param out  row-major f32[rows, D], in the order of the rows
 * @param onProgress  rows embedded so far
 */
export async function encodeRows(
  { program, weights, feeder, padId }: RowEncoder,
  { store, rows }: { store: TokenStore; rows: Uint32Array },
  out: Float32Array,
  onProgress?: (done: number) => void,
): Promise<void> {
  const D = out.length / rows.length;
  const order = Uint32Array.from(rows, (_, i) => i).sort(
    (a, b) => store.length(rows[b]!) - store.length(rows[a]!) || a - b,
  );
  for (let start = 0; start < order.length; ) {
    const longest = Math.max(1, store.length(rows[order[start]!]!));
    const end = Math.min(order.length, start + Math.max(1, Math.floor(TOKENS_PER_PASS / longest)));
    const picked = order.subarray(start, end);
    const batch = padBatch(
      store,
      picked.map((i) => rows[i]!),
      { padId },
    );
    const outputs = await program.run({ ...weights, ...feeder.feeds({ texts: batch }) });
    const vectors = float32(outputs.embedding, 'embedding');
    for (const [i, place] of picked.entries()) out.set(vectors.subarray(i * D, (i + 1) * D), place * D);
    start = end;
    onProgress?.(start);
  }
}
