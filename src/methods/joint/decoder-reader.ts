import { generateMany } from '../../models/language/generate.ts';
import type { LanguageModel } from '../../models/language/language-model.ts';
import type { PromptTokens } from '../../models/language/reader-prompt.ts';
import { saveLanguageModel } from '../../models/language/save-language-model.ts';
import { TunedLanguageModel } from '../../models/language/tuned-language-model.ts';
import type { DeclaredParameters } from '../../nn/parameters.ts';
import { bringToHost } from '../../runtime/device-memory.ts';
import { UndriftError, UsageError } from '../../util/errors.ts';
import { option } from '../../util/option-name.ts';
import type { ScoredBatch } from '../step/score-loss.ts';
import { type AnswerTokens, answerFeeds, answerTokens } from './answer-tokens.ts';
import type { AskedQuery, JointForm, JointReading, PromptPlaces, ReadAnswers } from './joint-form.ts';
import {
  type CurrentReader,
  JointReader,
  READER_CARD,
  type ReaderSettings,
  type ReadFeeds,
  type ReadPrompt,
} from './joint-reader.ts';

/** Text between the passages of one prompt. */
const BETWEEN = '\n\n';

/** Causal language model as a reader: passages stand one after the other in front of the query. */
export class DecoderReader extends JointReader<TunedLanguageModel> {
  private readonly maxTokens: number;

  /** @throws UsageError where nothing in the model is called as the tuning says */
  constructor(model: LanguageModel, settings: ReaderSettings) {
    super(new TunedLanguageModel(model, settings.tuning), settings);
    const { maxTokens = Number.POSITIVE_INFINITY } = model.decoder;
    this.maxTokens = Math.min(settings.maxTokens ?? maxTokens, maxTokens);
  }

  check(prompt: ReadPrompt): void {
    this.tokens(prompt);
  }

  answers(
    part: DeclaredParameters,
    input: ScoredBatch['input'],
    { readings, attention }: Pick<JointForm, 'readings' | 'attention'>,
  ): ReadAnswers {
    if (attention) {
      throw new UsageError(
        `${option('reader')}: ${this.frozen.source} is a causal language model, which has no cross-attention to score candidates by`,
        {
          help: `use an encoder-decoder such as google/flan-t5-small, or ${option('retrieverLoss', 'pdist')}`,
        },
      );
    }
    const { decoder } = this.tuned.model;
    const answers = readings.map((name) => {
      const prompts = name === 'together' ? 1 : 'k';
      return [name, answerTokens(decoder, part, input, { name, prompts })] as const;
    });
    return { answers: Object.fromEntries(answers) as Record<JointReading, AnswerTokens> };
  }

  feeds(
    queries: readonly AskedQuery[],
    readings: Readonly<Partial<Record<JointReading, PromptPlaces>>>,
  ): ReadFeeds {
    const { prefix } = this;
    const all: PromptTokens[] = [];
    const feeds = Object.entries(readings).map(([name, places]) => {
      const prompts = places.flatMap((each, b) =>
        each.map((read) => {
          if (!read) return undefined;
          const passages = read.flatMap((place) => queries[b]!.candidates[place] ?? []);
          return this.tokens({ ...queries[b]!, passages });
        }),
      );
      all.push(...prompts.flatMap((prompt) => prompt ?? []));
      return answerFeeds(prompts, { prefix, name, prompts: places[0]!.length });
    });
    return {
      feeds: Object.assign({}, ...feeds),
      prompts: all.length,
      tokens: all.reduce((sum, { ids }) => sum + ids.length, 0),
    };
  }

  async current(): Promise<CurrentReader> {
    const model = await this.merged();
    const tokens = (prompt: ReadPrompt) => this.tokens(prompt);
    return {
      logLikelihoods: (prompts, compute) => model.logLikelihoods(prompts.map(tokens), compute),
      async write(prompts, { tokens: most, ...compute }) {
        const asked = prompts.map((prompt) => {
          const { ids, from } = tokens(prompt);
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
  private tokens({ passages, ...of }: ReadPrompt): PromptTokens {
    const { prompt, tuned, maxTokens } = this;
    const passage = passages.length === 0 ? undefined : passages.join(BETWEEN);
    const made = prompt.tokens(tuned.model.tokenizer, { ...of, passage }, { maxTokens });
    if (made.from > 0) return made;
    throw new UndriftError('nothing stands before the answer, not even a start token', {
      help: 'give a query, or a prompt with words of its own',
    });
  }
}
