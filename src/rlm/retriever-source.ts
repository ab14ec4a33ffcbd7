import { loadRetriever } from '../models/folder/open-retriever.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import type { NoteListener } from '../util/option-name.ts';
import type { Progress } from '../util/progress.ts';
import type { LeakFilter } from './leak-filter.ts';
import { denseSource, type PassageSource } from './passage-source.ts';
import type { Passages } from './passages.ts';

/**
 * Loads a retriever, and opens the source that ranks passages by its embeddings. The source frees the retriever when it is freed.
 *
 * @param name  folder of the retriever, a run, or a name on the hub
 */
export async function retrieverSource(
  name: string,
  passages: Passages,
  filter: LeakFilter,
  options: {
    readonly onProgress?: ((progress: Progress) => void) | undefined;
    readonly onNote?: NoteListener | undefined;
  } & ComputeOptions = {},
): Promise<PassageSource> {
  const { onProgress, onNote, ...compute } = options;
  const retriever = await loadRetriever(name, {
    ...(onProgress && { onProgress }),
    ...(onNote && { onNote }),
  });
  try {
    const source = await denseSource(retriever, passages, filter, { ...compute, onProgress });
    return {
      ...source,
      async dispose() {
        await source.dispose();
        await retriever.dispose();
      },
    };
  } catch (error) {
    await retriever.dispose();
    throw error;
  }
}
