import { rm } from 'node:fs/promises';
import { writeFolderAtomic } from '../../util/files.ts';
import { peftFiles, writePeftFiles } from '../folder/peft-adapter.ts';
import type { TunedLanguageModel } from './tuned-language-model.ts';

/**
 * Writes the adapters of a language model in the format of Python's peft, for `AutoModelForCausalLM`:
 *
 *     adapter_config.json        rank, α, the layers, the base model
 *     adapter_model.safetensors  A and B of each layer
 *
 * Without adapters the folder is removed.
 */
export async function writeLanguageModelAdapter(
  folder: string,
  { adapters, weights, model }: TunedLanguageModel,
  { baseModel }: { baseModel: string },
): Promise<void> {
  if (adapters.size === 0) {
    await rm(folder, { recursive: true, force: true });
    return;
  }
  const { headPrefix = '' } = model.decoder;
  const files = peftFiles(adapters, weights, {
    baseModel,
    task: 'CAUSAL_LM',
    nameOf: (name) => `${headPrefix}${name}`,
  });
  await writeFolderAtomic(folder, (temporary) => writePeftFiles(temporary, files));
}
