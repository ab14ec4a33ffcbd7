import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { DataError } from '../../util/errors.ts';
import { isObject, type Json } from '../../util/json-objects.ts';
import { checkFields, type FieldTable, isOff, isOneOf } from './field-table.ts';

/** Entries of `auto_map` that decide on the vectors of a text; others are for heads. */
const CODE_OF_VECTORS = ['AutoModel', 'AutoConfig', 'AutoTokenizer'];

const BIDIRECTIONAL = {
  accepts: isOff,
  means: 'transformers has no such field for this architecture, and its attention stays as it was',
  help: 'if the model is to attend in both directions, write "is_causal": false in its place; else remove the field',
};

/**
 * Fields of `config.json` that no architecture reads, and that change the vectors in transformers or in the folder's
 * own code. Each architecture reads the fields of its own (`parseConfig`) and refuses the values that it does not
 * compute. A field that is in neither place is one that transformers does not read either.
 */
export const CONFIG_FIELDS: FieldTable = {
  auto_map: {
    accepts: (value) => !isObject(value) || CODE_OF_VECTORS.every((name) => !(name in value)),
    means: "the folder's own Python code computes its vectors, and Undrift runs no code of a folder",
    help: 'if the code computes what transformers itself has for this model_type, remove auto_map from a copy of the folder; for a decoder that reads in both directions also write "is_causal": false',
  },
  quantization_config: {
    accepts: isOff,
    means: 'the weights are quantised, which we do not read',
    help: 'use the original weights',
  },
  transformers_weights: {
    accepts: isOneOf('model.safetensors'),
    means: 'the weights lie in a file of that name',
    help: 'rename that file to model.safetensors in a copy of the folder, and remove the field',
  },
  use_bidirectional_attention: BIDIRECTIONAL,
  bidirectional_attention: BIDIRECTIONAL,
  is_bidirectional: BIDIRECTIONAL,
  bidirectional: BIDIRECTIONAL,
};

/**
 * Checks what a model folder says beside the fields of its architecture.
 *
 * @param folder  folder of the encoder's files
 * @throws DataError when the folder holds something that changes vectors and is not supported
 */
export function checkConfig(config: Json, folder: string): void {
  const file = join(folder, 'config.json');
  checkFields(config, file, CONFIG_FIELDS);
  const adapter = join(folder, 'adapter_config.json');
  if (existsSync(adapter)) {
    throw new DataError('an adapter lies beside the model, and we do not add it to the weights', {
      file: adapter,
      help: 'merge it; with Python: peft’s merge_and_unload(), then save_pretrained. If it is merged already, remove this file from a copy of the folder',
    });
  }
}

/**
 * Pooling of a folder without a list of modules, as sentence-transformers chooses it: the last token of a language
 * model, which alone has seen the whole text, else the mean.
 */
export function usualPooling(config: Json): 'lasttoken' | 'mean' {
  const [name] = Array.isArray(config.architectures) ? (config.architectures as unknown[]) : [];
  const predicts = typeof name === 'string' && name.endsWith('ForCausalLM');
  const { is_causal: causal = true } = config;
  return predicts && causal ? 'lasttoken' : 'mean';
}
