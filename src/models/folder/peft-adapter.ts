import { mkdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { writeSafetensors } from '../../io/safetensors.ts';
import type { HostTensor } from '../../runtime/host-tensor.ts';
import { writeFileAtomic, writeFolderAtomic } from '../../util/files.ts';
import type { Retriever } from '../retriever/retriever.ts';

/** Prefix that peft puts before module names of the adapted model. */
const PEFT_PREFIX = 'base_model.model.';

/**
 * Writes the adapters of a retriever in the format of Python's peft; separate towers each have a folder of
 * their own:
 *
 *     adapter_config.json        rank, α, the layers, the base model
 *     adapter_model.safetensors  A and B of each layer
 *
 * Other trained weights (a new projection) are not included. Without adapters the folder is removed.
 */
export async function writePeftAdapter(
  folder: string,
  retriever: Retriever,
  { baseModel }: { baseModel: string },
): Promise<void> {
  if (retriever.adapters.size === 0) {
    await rm(folder, { recursive: true, force: true });
    return;
  }
  await writeFolderAtomic(folder, async (temporary) => {
    for (const prefix of retriever.config.towers === 'shared' ? ['encoder'] : ['query', 'document']) {
      const files = adapterFiles(retriever, prefix, baseModel);
      if (!files) continue;
      const file = (name: string) =>
        join(temporary, retriever.config.towers === 'shared' ? '' : prefix, name);
      await mkdir(dirname(file('adapter_config.json')), { recursive: true });
      await writeFileAtomic(file('adapter_config.json'), `${JSON.stringify(files.config, null, 2)}\n`);
      await writeSafetensors(file('adapter_model.safetensors'), files.tensors);
    }
  });
}

/** Makes the files of one tower; undefined if it has no adapters. */
function adapterFiles({ adapters, weights }: Retriever, prefix: string, baseModel: string) {
  const own = [...adapters].filter(([name]) => name.startsWith(`${prefix}/`));
  const [first] = own;
  if (!first) return undefined;
  const { a, scale, layout } = first[1];
  const rank = weights[a]!.dims[0]!;
  const inside = (name: string) => name.slice(prefix.length + 1);
  const tensors: Record<string, HostTensor> = {};
  for (const [, adapter] of own) {
    for (const name of [adapter.a, adapter.b]) tensors[PEFT_PREFIX + inside(name)] = weights[name]!;
  }
  const config = {
    peft_type: 'LORA',
    task_type: 'FEATURE_EXTRACTION',
    base_model_name_or_path: baseModel,
    r: rank,
    lora_alpha: scale * rank,
    lora_dropout: 0,
    target_modules: own.map(([name]) => inside(name).replace(/\.weight$/, '')),
    fan_in_fan_out: layout === 'inputs-outputs',
    bias: 'none',
    inference_mode: true,
  };
  return { config, tensors };
}
