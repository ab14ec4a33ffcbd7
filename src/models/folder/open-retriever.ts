import type { Progress } from '../../util/progress.ts';
import type { Retriever } from '../retriever/retriever.ts';
import { findModel } from './find-model.ts';
import type { LoadOptions } from './load-options.ts';
import { loadRetriever as loadFolder } from './load-retriever.ts';

/** Settings of {@link loadRetriever}. */
export interface LoadRetrieverOptions extends LoadOptions {
  /** Progress of a download in bytes, with the stage `download`. */
  onProgress?: ((progress: Progress) => void) | undefined;
}

/**
 * Loads a retriever: from a model folder, from the folder of a training run (its best model), or by its name on the Hugging Face hub,
 * `organisation/name` or `organisation/name@revision`, from where it is downloaded to a cache if needed. See `findModel`.
 *
 * @throws UsageError when nothing is found; UndriftError when the hub does not provide the model; DataError naming the file, and the
 *   tensor or field in it, when something is missing, damaged or of an unsupported kind
 */
export async function loadRetriever(model: string, options: LoadRetrieverOptions = {}): Promise<Retriever> {
  const { onProgress, ...load } = options;
  const folder = await findModel(model, [], { onProgress, onNote: options.onNote });
  return await loadFolder(folder, load);
}
