import type { ComputeOptions } from '../runtime/devices.ts';
import { parseCondition } from '../store/filter.ts';
import { Store } from '../store/store.ts';
import type { STORE_SEARCH_OPTIONS } from '../store/store-options.ts';
import { type StoreHit, StoreSearcher } from '../store/store-searcher.ts';
import type { OptionValues } from '../util/option-table.ts';
import type { Io } from './io.ts';

/** Finds passages of a store for a text. */
export async function searchStore(
  folder: string,
  text: string,
  options: OptionValues<typeof STORE_SEARCH_OPTIONS> & { readonly topK: number },
  { io, compute }: { io: Io; compute: ComputeOptions },
): Promise<{ passages: number; results: StoreHit[] }> {
  const { mode, topK, filter = [], denseWeight, minScore, approximate, probes } = options;
  const store = await Store.open(folder, { onNote: (note) => io.log(`note: ${note}`) });
  const searcher = new StoreSearcher(store, compute);
  try {
    const results = await searcher.search(text, {
      mode,
      topK,
      filter: filter.map(parseCondition),
      denseWeight,
      minScore,
      approximate: approximate && { probes },
    });
    return { passages: await (await store.snapshot()).passages.count(), results };
  } finally {
    await searcher.dispose();
    await store.close();
  }
}
