import type { RERANK_OPTIONS } from '../retrieval/rerank.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { parseCondition } from '../store/filter.ts';
import { Store } from '../store/store.ts';
import type { STORE_SEARCH_OPTIONS } from '../store/store-options.ts';
import { type StoreHit, StoreSearcher } from '../store/store-searcher.ts';
import type { OptionValues } from '../util/option-table.ts';
import type { Io } from './io.ts';
import { loadCrossEncoderModel } from './model-source.ts';

/** Finds passages of a store for a text. */
export async function searchStore(
  folder: string,
  text: string,
  options: OptionValues<typeof STORE_SEARCH_OPTIONS> &
    OptionValues<typeof RERANK_OPTIONS> & { readonly topK: number },
  { io, compute }: { io: Io; compute: ComputeOptions },
): Promise<{ passages: number; results: StoreHit[] }> {
  const {
    mode,
    topK,
    filter = [],
    denseWeight,
    minScore,
    approximate,
    probes,
    rerank,
    rerankDepth,
  } = options;
  const store = await Store.open(folder, { onNote: (note) => io.log(`note: ${note}`) });
  const searcher = new StoreSearcher(store, compute);
  const crossEncoder = rerank === undefined ? undefined : await loadCrossEncoderModel(rerank, io, 'rerank');
  try {
    const results = await searcher.search(text, {
      mode,
      topK,
      filter: filter.map(parseCondition),
      denseWeight,
      minScore,
      approximate: approximate && { probes },
      rerank: crossEncoder && { crossEncoder, depth: rerankDepth, ...compute },
    });
    return { passages: await (await store.snapshot()).passages.count(), results };
  } finally {
    await crossEncoder?.dispose();
    await searcher.dispose();
    await store.close();
  }
}
