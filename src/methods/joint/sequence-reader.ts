import type { PromptTexts } from '../../models/language/reader-prompt.ts';
import { type DeclaredParameters, parameterCount } from '../../nn/parameters.ts';
import { UsageError } from '../../util/errors.ts';
import { option } from '../../util/option-name.ts';
import type { ScoredBatch } from '../step/score-loss.ts';
import {
  type AnsweringNetwork,
  type AnswerSequence,
  type AnswerTokens,
  answerFeeds,
  answerTokens,
} from './answer-tokens.ts';
import type { AskedQuery, JointForm, JointReading, PromptPlaces, ReadAnswers } from './joint-form.ts';
import { JointReader, type ReadFeeds, type ReadPrompt, type TunedReader } from './joint-reader.ts';

/** Text between the passages of one prompt. */
const BETWEEN = '\n\n';

/** Joins the passages of a prompt to one; undefined where there are none. */
export const joinedPassages = ({ passages, query, answer }: ReadPrompt): PromptTexts => ({
  passage: passages.length === 0 ? undefined : passages.join(BETWEEN),
  query,
  answer,
});

/** Reader that reads each prompt as one sequence, with all its passages. */
export abstract class SequenceReader<Tuned extends TunedReader> extends JointReader<Tuned> {
  /** Kind of the model in messages, such as `a causal language model`. */
  protected abstract readonly noun: string;

  /** Network of the model, and whether it reads segments. */
  protected abstract readonly network: { readonly network: AnsweringNetwork; readonly types: boolean };

  /**
   * Makes the sequence of a prompt.
   *
   * @throws UsageError where query and answer alone do not fit, and for an answer without a token
   */
  protected abstract sequence(texts: PromptTexts): AnswerSequence;

  check(prompt: ReadPrompt): void {
    this.sequence(joinedPassages(prompt));
  }

  answers(
    part: DeclaredParameters,
    input: ScoredBatch['input'],
    { readings, attention }: Pick<JointForm, 'readings' | 'attention'>,
  ): ReadAnswers {
    if (attention) {
      throw new UsageError(
        `${option('reader')}: ${this.frozen.source} is ${this.noun}, which has no cross-attention to score candidates by`,
        {
          help: `use an encoder-decoder such as google/flan-t5-small, or ${option('retrieverLoss', 'pdist')}`,
        },
      );
    }
    const { network, types } = this.network;
    const answers = readings.map((name) => {
      const prompts = name === 'together' ? 1 : 'k';
      return [name, answerTokens(network, part, input, { name, prompts, types })] as const;
    });
    return { answers: Object.fromEntries(answers) as Record<JointReading, AnswerTokens> };
  }

  feeds(
    queries: readonly AskedQuery[],
    readings: Readonly<Partial<Record<JointReading, PromptPlaces>>>,
    learnt: JointReading,
  ): ReadFeeds {
    const { prefix } = this;
    const { types } = this.network;
    const size = parameterCount(this.tuned.model.specs);
    let [prompts, tokens, flops] = [0, 0, 0];
    const feeds = Object.entries(readings).map(([name, places]) => {
      const sequences = places.flatMap((each, b) =>
        each.map((read) => {
          if (!read) return undefined;
          const passages = read.flatMap((place) => queries[b]!.candidates[place] ?? []);
          return this.sequence(joinedPassages({ ...queries[b]!, passages }));
        }),
      );
      const given = sequences.flatMap((sequence) => sequence ?? []);
      const own = given.reduce((sum, { ids }) => sum + ids.length, 0);
      prompts += given.length;
      tokens += own;
      flops += this.flopsOf(name, learnt) * own * size;
      return answerFeeds(sequences, { prefix, name, prompts: places[0]!.length, types });
    });
    return { feeds: Object.assign({}, ...feeds), prompts, tokens, flops };
  }
}
