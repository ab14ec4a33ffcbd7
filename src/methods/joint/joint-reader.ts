import type { Graph } from '../../graph/graph.ts';
import { findModel } from '../../models/folder/find-model.ts';
import { LanguageModel } from '../../models/language/language-model.ts';
import { type PromptTokens, ReaderPrompt } from '../../models/language/reader-prompt.ts';
import { saveLanguageModel } from '../../models/language/save-language-model.ts';
import { TunedLanguageModel } from '../../models/language/tuned-language-model.ts';
import { describeTuning, frozenHash, type TuningOptions } from '../../models/retriever/tuning.ts';
import type { DeclaredParameters } from '../../nn/parameters.ts';
import { bringToHost } from '../../runtime/device-memory.ts';
import { UndriftError } from '../../util/errors.ts';
import { optionValues, pickOptions } from '../../util/option-table.ts';
import type { MethodContext } from '../contract/method.ts';
import type { PartOpening, TrainedPart } from '../contract/trained-part.ts';
import { noReader } from '../table/reader-loss.ts';
import { READER_OPTIONS } from '../table/reader-options.ts';
import { JOINT_READER_OPTIONS } from './joint-options.ts';

/** Default learning rates of a reader. */
const FULL_RATE = 5e-5;
const LORA_RATE = 5e-4;
/** Default rank of its adapters. */
const LORA_RANK = 8;

const OPTIONS = {
  ...pickOptions(READER_OPTIONS, 'reader', 'readerPrompt', 'readerTokens'),
  ...JOINT_READER_OPTIONS,
};

/** Text between the passages of one prompt. */
const BETWEEN = '\n\n';

/** Language model that is trained beside a retriever, with the prompt by which it reads. */
export class JointReader implements TrainedPart {
  readonly prefix = 'reader';
  readonly lr: number;
  readonly frozen: TrainedPart['frozen'];
  /** Model, and which of its parameters are trained. */
  readonly tuned: TunedLanguageModel;
  /** Prompt by which the reader reads. */
  readonly prompt: ReaderPrompt;
  /** Longest prompt, in tokens. */
  readonly maxTokens: number;

  private constructor(
    tuned: TunedLanguageModel,
    of: { lr: number; source: string; prompt: string; maxTokens: number | undefined },
  ) {
    this.tuned = tuned;
    this.lr = of.lr;
    this.frozen = { source: of.source, hash: frozenHash(tuned) };
    this.prompt = new ReaderPrompt(of.prompt);
    const { maxTokens = Number.POSITIVE_INFINITY } = tuned.model.decoder;
    this.maxTokens = Math.min(of.maxTokens ?? maxTokens, maxTokens);
  }

  /**
   * Loads the reader that the options name.
   *
   * @throws UsageError where there is no such model, it is no language model, or nothing in it is called as the options say
   */
  static async open({ options, seed, onNote, onProgress }: PartOpening): Promise<JointReader> {
    const given = optionValues(OPTIONS, options);
    const { reader, readerTuning, readerLora, readerLoraTargets, readerLr } = given;
    if (reader === undefined) throw noReader();
    const folder = await findModel(reader, [], { option: 'reader', onProgress });
    const model = await LanguageModel.load(folder, {
      ...(onNote && { onNote: (note: string) => onNote(`reader: ${note}`) }),
    });
    const lora: TuningOptions = {
      ...{ lora: readerLora ?? LORA_RANK, seed },
      ...(readerLoraTargets && { loraTargets: readerLoraTargets }),
    };
    const tunings = { full: {}, lora, frozen: 'frozen' } as const;
    const tuned = new TunedLanguageModel(model, tunings[readerTuning]);
    const trained = describeTuning(tuned);
    if (trained) onNote?.(`reader: ${trained}`);
    return new JointReader(tuned, {
      lr: readerLr ?? (readerTuning === 'lora' ? LORA_RATE : FULL_RATE),
      source: reader,
      prompt: given.readerPrompt,
      maxTokens: given.readerTokens,
    });
  }

  /**
   * Returns the reader that a run has opened.
   *
   * @throws UndriftError for a context without one
   */
  static of({ part }: Pick<MethodContext, 'part'>): JointReader {
    if (part instanceof JointReader) return part;
    throw new UndriftError('the method was started without its reader', {
      help: 'call its openPart first, give the part to start, and train its parameters too',
    });
  }

  get specs(): TrainedPart['specs'] {
    return this.tuned.specs;
  }

  get weights(): TrainedPart['weights'] {
    return this.tuned.weights;
  }

  /**
   * Makes a prompt with passages, one after the other.
   *
   * @param of.passages  best first; without any, the prompt has no passage
   * @throws UsageError where query and answer alone do not fit, and for an answer without a token
   */
  prompted(of: {
    readonly passages: readonly string[];
    readonly query: string;
    readonly answer: string;
  }): PromptTokens {
    const { prompt, tuned, maxTokens } = this;
    const passage = of.passages.length === 0 ? undefined : of.passages.join(BETWEEN);
    const made = prompt.tokens(tuned.model.tokenizer, { ...of, passage }, { maxTokens });
    if (made.from > 0) return made;
    throw new UndriftError('nothing stands before the answer, not even a start token', {
      help: 'give a query, or a prompt with words of its own',
    });
  }

  declare(graph: Graph): DeclaredParameters {
    return this.tuned.declare(graph, { prefix: this.prefix });
  }

  /** Makes a model of the current weights, with adapters added to their matrices. The caller disposes of it. */
  async current(): Promise<LanguageModel> {
    await bringToHost(Object.values(this.weights));
    return this.tuned.merged();
  }

  async save(folder: string, { trainedSteps }: { readonly trainedSteps: number }): Promise<void> {
    const model = await this.current();
    const card = { name: 'Reader, trained beside a retriever' };
    await saveLanguageModel(folder, model, { trainedSteps, card });
  }

  async dispose(): Promise<void> {
    await this.tuned.model.dispose();
  }
}
