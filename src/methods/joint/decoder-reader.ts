import { generateMany } from '../../models/language/generate.ts';
import type { LanguageModel } from '../../models/language/language-model.ts';
import { type PromptTexts, type PromptTokens, ReaderPrompt } from '../../models/language/reader-prompt.ts';
import { saveLanguageModel } from '../../models/language/save-language-model.ts';
import { TunedLanguageModel } from '../../models/language/tuned-language-model.ts';
import { bringToHost } from '../../runtime/device-memory.ts';
import { UndriftError } from '../../util/errors.ts';
import { type AnswerSequence, endingAnswer } from './answer-tokens.ts';
import { type CurrentReader, READER_CARD, type ReaderSettings, type ReadPrompt } from './joint-reader.ts';
import { joinedPassages, SequenceReader } from './sequence-reader.ts';

/** Answer of a prompt whose answer is asked for. */
const ANY_ANSWER = 'answer';

/** Causal language model as a reader: passages stand one after the other in front of the query. */
export class DecoderReader extends SequenceReader<TunedLanguageModel> {
  protected readonly noun = 'a causal language model';
  private readonly maxTokens: number;
  private readonly prompt: ReaderPrompt;

  /** @throws UsageError for a wrong format of the prompt, and where nothing in the model is called as the tuning says */
  constructor(model: LanguageModel, settings: ReaderSettings) {
    super(new TunedLanguageModel(model, settings.tuning), settings);
    const { maxTokens = Number.POSITIVE_INFINITY } = model.decoder;
    this.maxTokens = Math.min(settings.maxTokens ?? maxTokens, maxTokens);
    this.prompt = new ReaderPrompt(settings.prompt);
  }

  protected get network() {
    return { network: this.tuned.model.decoder, types: false };
  }

  protected sequence(texts: PromptTexts): AnswerSequence {
    return endingAnswer(this.tokens(texts));
  }

  async current(): Promise<CurrentReader> {
    const model = await this.merged();
    const tokens = (prompt: ReadPrompt) => this.tokens(joinedPassages(prompt));
    return {
      logLikelihoods: (prompts, compute) => model.logLikelihoods(prompts.map(tokens), compute),
      answerTokens: (prompt) => {
        const { ids, from } = tokens(prompt);
        return ids.length - from;
      },
      async write(prompts, { tokens: most, ...compute }) {
        const asked = prompts.map((prompt) => {
          // What stands before an answer does not depend on it.
          const { ids, from } = tokens({ ...prompt, answer: prompt.answer ?? ANY_ANSWER });
          return ids.subarray(0, from);
        });
        const settings = { tokens: most, stop: ['\n'], temperature: 0, ...compute };
        return (await generateMany(model, asked, settings)).map(({ text }) => text);
      },
      dispose: () => model.dispose(),
    };
  }

  async save(folder: string, { trainedSteps }: { readonly trainedSteps: number }): Promise<void> {
    await saveLanguageModel(folder, await this.merged(), { trainedSteps, card: READER_CARD });
  }

  private async merged(): Promise<LanguageModel> {
    await bringToHost(Object.values(this.weights));
    return this.tuned.merged();
  }

  /** Makes the tokens of a prompt. */
  private tokens(texts: PromptTexts): PromptTokens {
    const { prompt, tuned, maxTokens } = this;
    const made = prompt.tokens(tuned.model.tokenizer, texts, { maxTokens });
    if (made.from > 0) return made;
    throw new UndriftError('nothing stands before the answer, not even a start token', {
      help: 'give a query, or a prompt with words of its own',
    });
  }
}
