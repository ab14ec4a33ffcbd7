import type { HostTensor } from '../../runtime/host-tensor.ts';
import { writeFolderAtomic } from '../../util/files.ts';
import type { Json } from '../../util/json-objects.ts';
import { tokenizerFiles } from '../folder/tokenizer-files.ts';
import type { Files } from '../folder/tower-files.ts';
import { LANGUAGE_MODEL, UNDRIFT_JSON } from '../folder/undrift-json.ts';
import { checkReplaceable, writeFiles } from '../folder/write-towers.ts';
import type { LanguageModel } from './language-model.ts';
import { type LanguageModelCard, languageModelCard } from './language-model-card.ts';

/** Settings of {@link saveLanguageModel}. */
export interface SaveLanguageModelOptions {
  /** Facts for the model card beyond the model itself. */
  readonly card?: LanguageModelCard | undefined;
  /** Number of updates that the weights have had. Default 0. */
  readonly trainedSteps?: number | undefined;
}

/** Longest text of a model without a limit, in tokens, for other programs. */
const NO_LIMIT = 1_000_000;

/** Format of the folder's `undrift.json`. Versions of Undrift without language models read formats up to 2. */
const FORMAT = 3;

/**
 * Writes a language model as a folder that Undrift and transformers (`AutoModelForCausalLM`) read:
 *
 *     config.json, model.safetensors      architecture and weights, under Hugging Face's names
 *     tokenizer.json, tokenizer_config.json, special_tokens_map.json
 *     generation_config.json              end tokens, and settings of sampling where the model came with some
 *     chat_template.jinja                 where the model came with one
 *     undrift.json, README.md             mark of a folder that may be replaced; the model card
 *
 * The folder is replaced as a whole: at every moment it holds the old model or the new one.
 *
 * @throws UndriftError when the folder exists and holds anything but a model of Undrift
 */
export async function saveLanguageModel(
  folder: string,
  model: LanguageModel,
  options: SaveLanguageModelOptions = {},
): Promise<void> {
  await checkReplaceable(folder);
  await writeFolderAtomic(folder, async (temporary) => {
    await writeFiles(temporary, languageModelFiles(model, options));
  });
}

/** Makes the files of a language model's folder. */
export const languageModelFiles = (
  model: LanguageModel,
  { card = {}, trainedSteps = 0 }: SaveLanguageModelOptions = {},
): Files =>
  modelFiles(model, {
    kind: LANGUAGE_MODEL,
    trainedSteps,
    card: languageModelCard(model, trainedSteps, card),
  });

/** Model whose folder is that of a language model. */
type SavedModel = Pick<LanguageModel, 'settings' | 'tokenizer' | 'endIds' | 'specs' | 'weights'> & {
  readonly decoder: Pick<LanguageModel['decoder'], 'configFile' | 'maxTokens' | 'storedName'>;
};

/**
 * Makes the files of a folder with a decoder, its tokenizer and its settings.
 *
 * @param options.kind kind of the model in `undrift.json`
 * @param options.card text of the model card
 */
export function modelFiles(
  model: SavedModel,
  { kind, trainedSteps, card }: { kind: string; trainedSteps: number; card: string },
): Files {
  const { decoder, settings, tokenizer } = model;
  const { config = {}, tokenizerConfig = {}, generationConfig, chatTemplate } = settings;
  const maxTokens = decoder.maxTokens ?? NO_LIMIT;
  const tokens = tokenizerFiles(tokenizer, { maxTokens, tokenTypes: false });
  const endIds = [...model.endIds];
  const { before, after } = tokenizer.wrapper;
  const given = (source: Json, pattern: RegExp) =>
    Object.fromEntries(Object.entries(source).filter(([name]) => pattern.test(name)));
  const specialTokens = given(tokenizerConfig, /^(bos|eos|unk|sep|pad|cls|mask)_token$/);
  const ids = {
    ...given(tokens.ids, /^(bos|pad)_token_id$/),
    ...given(config, /^(bos|pad)_token_id$/),
    ...(endIds.length > 0 && { eos_token_id: endIds.length === 1 ? endIds[0] : endIds }),
    ...given(decoder.configFile, /^decoder_start_token_id$/),
  };
  return {
    json: {
      'config.json': {
        ...tokens.ids,
        ...ids,
        ...decoder.configFile,
        torch_dtype: 'float32',
      },
      'tokenizer_config.json': {
        ...tokens.json['tokenizer_config.json'],
        // The pipeline of transformers.js leaves out special tokens without these.
        ...(before.length > 0 && { add_bos_token: true }),
        ...(after.length > 0 && { add_eos_token: true }),
        ...specialTokens,
        ...given(
          tokenizerConfig,
          /^(chat_template|additional_special_tokens|extra_special_tokens|model_max_length|padding_side|truncation_side)$/,
        ),
      },
      'special_tokens_map.json': { ...tokens.json['special_tokens_map.json'], ...specialTokens },
      // transformers.js reads end tokens here only.
      'generation_config.json': generationConfig ?? { _from_model_config: true, ...ids },
      [UNDRIFT_JSON]: { format: FORMAT, kind, trainedSteps },
    },
    raw: {
      ...tokens.raw,
      ...(chatTemplate !== undefined && { 'chat_template.jinja': chatTemplate }),
      'README.md': card,
    },
    tensors: { 'model.safetensors': storedWeights(model) },
  };
}

/** Weights under their names in Hugging Face's files. */
export function storedWeights({
  decoder,
  specs,
  weights,
}: Pick<SavedModel, 'decoder' | 'specs' | 'weights'>): Record<string, HostTensor> {
  return Object.fromEntries(specs.map(({ name }) => [decoder.storedName(name), weights[name]!]));
}
