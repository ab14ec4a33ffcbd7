import { generateMany } from '../../models/language/generate.ts';
import { generateFromEnsemble } from '../../models/language/generate-ensemble.ts';
import type { LanguageModel } from '../../models/language/language-model.ts';
import { stopToken } from '../../models/language/language-settings.ts';
import { type PromptTexts, type PromptTokens, ReaderPrompt } from '../../models/language/reader-prompt.ts';
import { saveLanguageModel } from '../../models/language/save-language-model.ts';
import { TunedLanguageModel } from '../../models/language/tuned-language-model.ts';
import { bringToHost } from '../../runtime/device-memory.ts';
import { UndriftError } from '../../util/errors.ts';
import { type AnswerSequence, endingAnswer } from './answer-tokens.ts';
import {
  type AskedPrompt,
  answerSettings,
  type CurrentReader,
  READER_CARD,
  type ReaderSettings,
  type ReadPrompt,
} from './joint-reader.ts';
import { joinedPassages, SequenceReader } from './sequence-reader.ts';

/** Answer in place of the one that is asked for, of at least one token. */
const ANY_ANSWER = 'answer';

/**
 * Causal language model as a reader: passages stand one after the other in front of the query.
 *
 * It learns where its answers end: a token that ends them follows the answer in what it is trained on. Measured likelihoods are those of
 * the answer's own tokens, as those of other language systems are.
 */
export class DecoderReader extends SequenceReader<TunedLanguageModel> {
  protected readonly noun = 'a causal language model';
  private readonly maxTokens: number;
  private readonly prompt: ReaderPrompt;
  /** Token that ends an answer in training; undefined where the reader learns nothing, or has no such token. */
  private readonly end: number | undefined;

  /** @throws UsageError for a wrong format of the prompt, and where nothing in the model is called as the tuning says */
  constructor(model: LanguageModel, settings: ReaderSettings) {
    super(new TunedLanguageModel(model, settings.tuning), settings);
    const { maxTokens = Number.POSITIVE_INFINITY } = model.decoder;
    this.maxTokens = Math.min(settings.maxTokens ?? maxTokens, maxTokens);
    this.prompt = new ReaderPrompt(settings.prompt);
    this.end = settings.tuning === 'frozen' ? undefined : answerEnd(model);
    if (settings.tuning !== 'frozen' && this.end === undefined) this.note = NO_END;
  }

  protected get network() {
    return { network: this.tuned.model.decoder, types: false };
  }

  protected sequence(texts: PromptTexts): AnswerSequence {
    const { end, maxTokens } = this;
    if (end === undefined) return endingAnswer(this.tokens(texts));
    const { ids, from } = this.tokens(texts, maxTokens - 1);
    return endingAnswer({ ids: Int32Array.of(...ids, end), from });
  }

  async current(): Promise<CurrentReader> {
    const model = await this.merged();
    const tokens = (prompt: ReadPrompt) => this.tokens(joinedPassages(prompt));
    // Passages are cut so that the answer has room, up to half of what the model reads.
    const beginnings = (prompts: readonly AskedPrompt[], answerTokens: number) => {
      const { maxTokens: window = Number.POSITIVE_INFINITY } = model.decoder;
      const room = Math.min(answerTokens, Math.floor(window / 2));
      const longest = Math.min(this.maxTokens, window - room + 1);
      return prompts.map((prompt) => {
        const { ids, from } = this.tokens(joinedPassages({ ...prompt, answer: ANY_ANSWER }), longest);
        return ids.subarray(0, from);
      });
    };
    return {
      async scoreAnswers(prompts, compute) {
        const scores = await model.scoreTokens(prompts.map(tokens), compute);
        return scores.map(({ logProbabilities }) => logProbabilities);
      },
      async write(prompts, options) {
        const sequences = beginnings(prompts, options.tokens);
        const written = await generateMany(model, sequences, answerSettings(options));
        return written.map(({ text }) => text);
      },
      async writeMixed(prompts, { logWeights, weights, ...options }) {
        const ensemble = { sequences: beginnings(prompts, options.tokens), logWeights };
        return await generateFromEnsemble(model, ensemble, { ...answerSettings(options), weights });
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

  /** Makes the tokens of a prompt up to the end of the answer. */
  private tokens(texts: PromptTexts, maxTokens = this.maxTokens): PromptTokens {
    const { prompt, tuned } = this;
    const made = prompt.tokens(tuned.model.tokenizer, texts, { maxTokens });
    if (made.from > 0) return made;
    throw new UndriftError('nothing stands before the answer, not even a start token', {
      help: 'give a query, or a prompt with words of its own',
    });
  }
}

const NO_END =
  'its tokenizer has neither an end token nor a line break: answers that it writes end at their greatest length';

/** Returns the token at which a model ends an answer that it writes: an end token, or else a line break. */
const answerEnd = ({ tokenizer, endIds }: LanguageModel): number | undefined =>
  stopToken({ tokenizer, endIds }) ??
  tokenizer.encodeRaw('\n').findLast((id) => tokenizer.decode([id]) === '\n');
