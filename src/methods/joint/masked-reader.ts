import type { PromptTexts } from '../../models/language/reader-prompt.ts';
import type { MaskedLanguageModel } from '../../models/masked/masked-language-model.ts';
import { MaskedPrompt } from '../../models/masked/masked-prompt.ts';
import { saveMaskedLanguageModel } from '../../models/masked/save-masked-language-model.ts';
import type { MaskedSequence } from '../../models/masked/score-masked.ts';
import { TunedMaskedLanguageModel } from '../../models/masked/tuned-masked-language-model.ts';
import { bringToHost } from '../../runtime/device-memory.ts';
import { type CurrentReader, READER_CARD, type ReaderSettings, type ReadPrompt } from './joint-reader.ts';
import { joinedPassages, SequenceReader } from './sequence-reader.ts';

/**
 * Masked language model as a reader, as in REALM: passage and query are a pair of texts, and each token of the answer is predicted from a
 * mask in the query (see `MaskedPrompt`).
 */
export class MaskedReader extends SequenceReader<TunedMaskedLanguageModel> {
  protected readonly noun = 'a masked language model';
  private readonly maxTokens: number;
  private readonly prompt: MaskedPrompt;

  /** @throws UsageError for a wrong format of the prompt, and where nothing in the model is called as the tuning says */
  constructor(model: MaskedLanguageModel, settings: ReaderSettings) {
    super(new TunedMaskedLanguageModel(model, settings.tuning), settings);
    const { maxTokens = Number.POSITIVE_INFINITY } = model;
    this.maxTokens = Math.min(settings.maxTokens ?? maxTokens, maxTokens);
    this.prompt = new MaskedPrompt(settings.prompt);
  }

  protected get network() {
    const { network, tokenTypes } = this.tuned.model;
    return { network, types: tokenTypes };
  }

  protected sequence(texts: PromptTexts): MaskedSequence {
    return this.prompt.tokens(this.tuned.model, texts, { maxTokens: this.maxTokens });
  }

  async current(): Promise<CurrentReader> {
    const model = await this.merged();
    const laid = (prompt: ReadPrompt) => this.sequence(joinedPassages(prompt));
    return {
      async logLikelihoods(prompts, compute) {
        const scores = await model.scoreTokens(prompts.map(laid), compute);
        return Float64Array.from(scores, (each) => each.reduce((sum, value) => sum + value, 0));
      },
      async write(prompts, { tokens, ...compute }) {
        const filled = await model.fill(prompts.map(laid), compute);
        return filled.map((ids) => model.tokenizer.decode(ids.subarray(0, tokens)).trim());
      },
      dispose: () => model.dispose(),
    };
  }

  async save(folder: string, { trainedSteps }: { readonly trainedSteps: number }): Promise<void> {
    await saveMaskedLanguageModel(folder, await this.merged(), { trainedSteps, card: READER_CARD });
  }

  private async merged(): Promise<MaskedLanguageModel> {
    await bringToHost(Object.values(this.weights));
    return this.tuned.merged();
  }
}
