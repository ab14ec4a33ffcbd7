import { Bm25 } from '../../text/bm25.ts';
import type { PackedWindows } from '../../text/packed-windows.ts';
import type { Tokenizer } from '../../text/tokenizer.ts';
import type { TrainCallbacks } from '../callbacks.ts';
import type { WindowNeighbours } from '../language-model/window-batcher.ts';

/** Neighbours of a window. */
const NEIGHBOURS = 20;
/** Windows between two reports of progress. */
const REPORT_WINDOWS = 256;

/**
 * Finds the nearest other windows of each window by BM25 over the words of its text, through an inverted index.
 *
 * Memory: 8 bytes for each distinct word of each window, and 4 k bytes a window.
 */
export function windowNeighbours(
  windows: PackedWindows,
  tokenizer: Tokenizer,
  { onProgress, k = NEIGHBOURS }: Pick<TrainCallbacks, 'onProgress'> & { readonly k?: number } = {},
): WindowNeighbours {
  const textOf = (window: number) => tokenizer.decode(windows.batch([window]).ids);
  const index = Bm25.build(windows.count, textOf);
  const found = new Int32Array(windows.count * k).fill(-1);
  for (let window = 0; window < windows.count; window++) {
    // The window itself is usually its own nearest neighbour.
    const others = index.search(textOf(window), k + 1).rows.filter((row) => row !== window);
    found.set(others.subarray(0, k), window * k);
    if (window % REPORT_WINDOWS === 0 || window === windows.count - 1)
      onProgress?.({ stage: 'neighbours', done: window + 1, total: windows.count, unit: 'windows' });
  }
  return { windows: found, k };
}
