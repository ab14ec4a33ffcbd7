import { findModel } from '../../models/folder/find-model.ts';
import { createLanguageModel, NEW_LANGUAGE_MODELS } from '../../models/language/create-language-model.ts';
import { LanguageModel } from '../../models/language/language-model.ts';
import { stopToken } from '../../models/language/language-settings.ts';
import { TunedLanguageModel } from '../../models/language/tuned-language-model.ts';
import type { TrainCallbacks } from '../callbacks.ts';
import { tuningOf } from '../make-retriever.ts';
import { checkWindow, runTokenizer } from './run-tokenizer.ts';
import { isNewLanguageModel, type LanguageModelSettings } from './settings.ts';
import type { RunTexts } from './texts.ts';

/**
 * Makes the language model that a run starts from. It is a given one, or a new one, whose tokenizer is given or trained on the texts to
 * train on.
 *
 * @param options.fromRun  folder of the run to resume; its tokenizer is read instead of trained again
 * @throws UsageError where the model reads no windows of the length asked for, and as `TunedLanguageModel`
 */
export async function makeLanguageModel(
  settings: LanguageModelSettings,
  texts: RunTexts,
  {
    fromRun,
    onNote,
    onProgress,
  }: { fromRun: string | undefined } & Pick<TrainCallbacks, 'onNote' | 'onProgress'>,
): Promise<TunedLanguageModel> {
  const { model: kind, window, seed } = settings;
  if (!isNewLanguageModel(kind)) {
    const folder = await findModel(kind, NEW_LANGUAGE_MODELS, { onProgress, onNote });
    const model = await LanguageModel.load(folder, { onNote: (note) => onNote?.(note) });
    checkWindow(settings, model.decoder.maxTokens);
    return new TunedLanguageModel(model, tuningOf(settings));
  }
  const tokenizer = await runTokenizer(settings, texts, { fromRun });
  const { hidden, layers, heads, keyHeads, intermediate } = settings;
  const model = createLanguageModel({
    ...{ kind, tokenizer, seed, maxTokens: window },
    hidden: hidden ?? undefined,
    layers: layers ?? undefined,
    heads: heads ?? undefined,
    keyHeads: keyHeads ?? undefined,
    intermediate: intermediate ?? undefined,
  });
  return new TunedLanguageModel(model);
}

/**
 * Returns the tokens with which documents begin and end for a model: those that its tokenizer puts around texts, or else the
 * tokens for the beginning and the end of a text by their usual names. Models of the family of GPT-2 have one token for both. The end
 * is a token at which the model stops when it generates.
 */
export function documentTokens({ tokenizer, endIds }: Pick<LanguageModel, 'tokenizer' | 'endIds'>): {
  start?: number;
  end?: number;
} {
  const { wrapper, specialIds } = tokenizer;
  const { bos, eos } = specialIds;
  const end = wrapper.after[0] ?? stopToken({ tokenizer, endIds }) ?? eos;
  const start = wrapper.before.at(-1) ?? bos ?? end;
  return { ...(start !== undefined && { start }), ...(end !== undefined && { end }) };
}
