import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { writeSafetensors } from '../../io/safetensors.ts';
import type { Adapter } from '../../nn/lora.ts';
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
      await writePeftFiles(join(temporary, retriever.config.towers === 'shared' ? '' : prefix), files);
    }
  });
}

/** Makes the files of one tower; undefined if it has no adapters. */
function adapterFiles({ adapters, weights }: Retriever, prefix: string, baseModel: string) {
  const own = [...adapters].filter(([name]) => name.startsWith(`${prefix}/`));
  if (own.length === 0) return undefined;
  const inside = (name: string) => name.slice(prefix.length + 1);
  return peftFiles(new Map(own), weights, { baseModel, task: 'FEATURE_EXTRACTION', nameOf: inside });
}

/** Facts for the files of adapters. */
export interface PeftOptions {
  /** Folder or name of the adapted model. */
  readonly baseModel: string;
  /** Kind of model, in the words of peft. */
  readonly task: 'FEATURE_EXTRACTION' | 'CAUSAL_LM';
  /** Returns the name of a parameter in the model that peft adapts. */
  readonly nameOf: (name: string) => string;
}

/** Makes the content of the two files of a folder of adapters, of which there must be at least one. */
export function peftFiles(
  adapters: ReadonlyMap<string, Adapter>,
  weights: Readonly<Record<string, HostTensor>>,
  { baseModel, task, nameOf }: PeftOptions,
) {
  const [first] = adapters.values();
  const { a, scale, layout } = first!;
  const rank = weights[a]!.dims[0]!;
  const tensors: Record<string, HostTensor> = {};
  for (const adapter of adapters.values()) {
    for (const name of [adapter.a, adapter.b]) tensors[PEFT_PREFIX + nameOf(name)] = weights[name]!;
  }
  const config = {
    peft_type: 'LORA',
    task_type: task,
    base_model_name_or_path: baseModel,
    r: rank,
    lora_alpha: scale * rank,
    lora_dropout: 0,
    target_modules: [...adapters.keys()].map((name) => nameOf(name).replace(/\.weight$/, '')),
    fan_in_fan_out: layout === 'inputs-outputs',
    bias: 'none',
    inference_mode: true,
  };
  return { config, tensors };
}

/** Writes the two files of a folder of adapters. */
export async function writePeftFiles(
  folder: string,
  { config, tensors }: ReturnType<typeof peftFiles>,
): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeFileAtomic(join(folder, 'adapter_config.json'), `${JSON.stringify(config, null, 2)}\n`);
  await writeSafetensors(join(folder, 'adapter_model.safetensors'), tensors);
}
