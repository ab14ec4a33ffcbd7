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
 *
 * @param options.otherDocuments  whether windows with a document of the window itself are no neighbours. Default false
 */
export function windowNeighbours(
  windows: PackedWindows,
  tokenizer: Tokenizer,
  {
    onProgress,
    k = NEIGHBOURS,
    otherDocuments = false,
  }: Pick<TrainCallbacks, 'onProgress'> & { readonly k?: number; readonly otherDocuments?: boolean } = {},
): WindowNeighbours {
  const textOf = (window: number) => tokenizer.decode(windows.batch([window]).ids);
  const index = Bm25.build(windows.count, textOf);
  const found = new Int32Array(windows.count * k).fill(-1);
  const siblings = otherDocuments ? new Siblings(windows) : undefined;
  for (let window = 0; window < windows.count; window++) {
    // The window itself is usually its own nearest neighbour.
    const own = siblings?.of(window) ?? new Set([window]);
    const others = index.search(textOf(window), k + own.size).rows.filter((row) => !own.has(row));
    found.set(others.subarray(0, k), window * k);
    if (window % REPORT_WINDOWS === 0 || window === windows.count - 1)
      onProgress?.({ stage: 'neighbours', done: window + 1, total: windows.count, unit: 'windows' });
  }
  return { windows: found, k };
}

/** Windows that share a document. */
class Siblings {
  private readonly windows: PackedWindows;
  private readonly byDocument = new Map<number, number[]>();

  constructor(windows: PackedWindows) {
    this.windows = windows;
    for (let window = 0; window < windows.count; window++) {
      for (const row of this.documents(window)) {
        const known = this.byDocument.get(row) ?? [];
        this.byDocument.set(row, known);
        known.push(window);
      }
    }
  }

  /** Lists the windows with a document of a window, itself included. */
  of(window: number): ReadonlySet<number> {
    return new Set([...this.documents(window)].flatMap((row) => this.byDocument.get(row)!));
  }

  private documents(window: number): ReadonlySet<number> {
    return new Set(this.windows.batch([window]).rows);
  }
}
