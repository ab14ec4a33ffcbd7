import type { PromptTexts } from '../../models/language/reader-prompt.ts';
import type { MaskedLanguageModel } from '../../models/masked/masked-language-model.ts';
import { MaskedPrompt } from '../../models/masked/masked-prompt.ts';
import { saveMaskedLanguageModel } from '../../models/masked/save-masked-language-model.ts';
import type { MaskedSequence } from '../../models/masked/score-masked.ts';
import { TunedMaskedLanguageModel } from '../../models/masked/tuned-masked-language-model.ts';
import { bringToHost } from '../../runtime/device-memory.ts';
import type { ComputeOptions } from '../../runtime/devices.ts';
import { UsageError } from '../../util/errors.ts';
import { option } from '../../util/option-name.ts';
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
    const { prompt: format, maxTokens } = this;
    const laid = (prompt: ReadPrompt) => this.sequence(joinedPassages(prompt));
    const open = (texts: PromptTexts, masks: number) => format.masked(model, texts, masks, { maxTokens });
    return {
      scoreAnswers: (prompts, compute) => model.scoreTokens(prompts.map(laid), compute),
      async write(prompts, { tokens, temperature = 0, topP, topK, seed: _, stop = [], signal, ...compute }) {
        signal?.throwIfAborted();
        const given = {
          temperature: temperature > 0,
          topP: topP !== undefined && topP < 1,
          topK,
          stop: stop.length > 0,
        };
        const asked = Object.entries(given).find(([, isGiven]) => isGiven);
        if (asked) {
          throw new UsageError(`${option(asked[0])}: a masked language model fills in the likeliest tokens`, {
            help: `leave ${option(asked[0])} out`,
          });
        }
        const lengths = Array.from({ length: tokens }, (_, i) => i + 1);
        const choices = prompts.map(({ answer, ...prompt }) =>
          answer === undefined
            ? lengths.map((masks) => open(joinedPassages({ ...prompt, answer: '' }), masks))
            : [laid({ ...prompt, answer })],
        );
        const filled = await filledBest(model, choices, compute);
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

/**
 * Fills the masks of one of several sequences, each mask by itself with its likeliest token: of the sequence whose tokens have the best mean
 * log-probability.
 *
 * @param choices  at least one sequence for each result
 */
async function filledBest(
  model: MaskedLanguageModel,
  choices: readonly (readonly MaskedSequence[])[],
  compute: ComputeOptions,
): Promise<Int32Array[]> {
  const all = choices.flat();
  const filled = await model.fill(all, compute);
  const some = choices.flatMap((each) => each.map(() => each.length > 1));
  const scored = [...all.keys()].filter((i) => some[i]);
  const scores = await model.scoreTokens(
    scored.map((i) => ({ ...all[i]!, answer: filled[i]! })),
    compute,
  );
  const means = new Map(
    scored.map((i, place) => [i, scores[place]!.reduce((sum, value) => sum + value, 0) / filled[i]!.length]),
  );
  let at = 0;
  return choices.map(({ length }) => {
    const own = Array.from({ length }, (_, i) => at + i);
    at += length;
    return filled[own.reduce((best, i) => (means.get(i)! > means.get(best)! ? i : best))]!;
  });
}
