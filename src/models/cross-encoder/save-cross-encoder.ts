import type { HostTensor } from '../../runtime/host-tensor.ts';
import { writeFolderAtomic } from '../../util/files.ts';
import { tokenizerFiles } from '../folder/tokenizer-files.ts';
import { UNDRIFT_JSON } from '../folder/undrift-json.ts';
import { checkReplaceable, writeFiles } from '../folder/write-towers.ts';
import type { CrossEncoder } from './cross-encoder.ts';
import { type CrossEncoderCard, crossEncoderCard } from './cross-encoder-card.ts';
import { crossEncoderJson } from './cross-encoder-json.ts';
import { activationClass } from './sentence-transformers-fields.ts';

/**
 * Writes a cross-encoder as a model folder that Undrift, sentence-transformers (`CrossEncoder`) and transformers read:
 *
 *     config.json, model.safetensors      architecture, activation and weights, under Hugging Face's names
 *     tokenizer.json, tokenizer_config.json, special_tokens_map.json
 *     undrift.json, README.md             length, activation and steps; the model card
 *
 * The folder is replaced as a whole: at every moment it holds the old model or the new one.
 *
 * @param card  facts for the model card beyond the model itself
 * @throws UndriftError when the folder exists and holds anything but a model of Undrift
 */
export async function saveCrossEncoder(
  folder: string,
  crossEncoder: CrossEncoder,
  card: CrossEncoderCard = {},
): Promise<void> {
  await checkReplaceable(folder);
  const { config, head, tokenizer, trainedSteps } = crossEncoder;
  const { activation, maxTokens, tokenTypes } = config;
  const tokens = tokenizerFiles(tokenizer, { maxTokens, tokenTypes });
  await writeFolderAtomic(folder, async (temporary) => {
    await writeFiles(temporary, {
      json: {
        'config.json': {
          ...tokens.ids,
          ...crossEncoder.configFile,
          architectures: [head.modelClass],
          id2label: { 0: 'LABEL_0' },
          label2id: { LABEL_0: 0 },
          // sentence-transformers 4 and later read the activation here where no file of their own names it.
          sentence_transformers: { activation_fn: activationClass(activation) },
          torch_dtype: 'float32',
        },
        ...tokens.json,
        [UNDRIFT_JSON]: crossEncoderJson({ activation, maxTokens, tokenTypes, trainedSteps }),
      },
      raw: { ...tokens.raw, 'README.md': crossEncoderCard(crossEncoder, card) },
      tensors: { 'model.safetensors': storedWeights(crossEncoder) },
    });
  });
}

/** Weights under their names in Hugging Face's files. */
function storedWeights({ specs, head, headPrefix, weights }: CrossEncoder): Record<string, HostTensor> {
  const outside = new Set(head.outside.map(({ name }) => name));
  return Object.fromEntries(
    specs.map(({ name }) => [outside.has(name) ? name : `${headPrefix}${name}`, weights[name]!]),
  );
}
