import type { Graph } from '../../graph/graph.ts';
import type { GenerationOptions } from '../../models/language/generate.ts';
import type { Ensemble, EnsembleWeights } from '../../models/language/generate-ensemble.ts';
import type { TunableModel, TunedModel } from '../../models/language/tuned-model.ts';
import { frozenHash, type TuningOptions } from '../../models/retriever/tuning.ts';
import type { DeclaredParameters } from '../../nn/parameters.ts';
import type { ComputeOptions } from '../../runtime/devices.ts';
import type { HostTensor } from '../../runtime/host-tensor.ts';
import { UndriftError } from '../../util/errors.ts';
import type { MethodContext } from '../contract/method.ts';
import type { TrainedPart } from '../contract/trained-part.ts';
import type { ScoredBatch } from '../step/score-loss.ts';
import type { AskedQuery, JointForm, JointReading, PromptPlaces, ReadAnswers } from './joint-form.ts';

/** Facts of the model card of a reader. */
export const READER_CARD = { name: 'Reader, trained beside a retriever' };

/** Settings of a reader. */
export interface ReaderSettings {
  /** Peak learning rate. */
  readonly lr: number;
  /** Source of the model, for messages. */
  readonly source: string;
  /** Format of the prompt (see `ReaderPrompt` and `MaskedPrompt`); undefined for that of the kind of reader. */
  readonly prompt: string | undefined;
  /** Longest prompt, in tokens; undefined for what the model reads. */
  readonly maxTokens: number | undefined;
  /** Parameters to train. */
  readonly tuning: TuningOptions | 'frozen';
}

/** Prompt of a reader: passages, best first and perhaps none, a query, and the answer to it. */
export interface ReadPrompt {
  readonly query: string;
  readonly answer: string;
  readonly passages: readonly string[];
}

/** Prompt whose answer is asked for. */
export type AskedPrompt = Omit<ReadPrompt, 'answer'> & { readonly answer?: string | undefined };

/** Program inputs of a batch, and its size. */
export interface ReadFeeds {
  readonly feeds: Record<string, HostTensor>;
  /** Number of prompts. */
  readonly prompts: number;
  /** Number of tokens that go through the reader. */
  readonly tokens: number;
  /** Operations of the reader: those of its forward passes and, for what it learns from, of the backward ones. */
  readonly flops: number;
}

/** Operations for each parameter that a token goes through, in a forward pass. */
export const READ_FLOPS = 2;
/** The same with a backward pass: to the weights, to adapters beside them, or to nothing. */
const LEARN_FLOPS = { full: 3 * READ_FLOPS, lora: 2 * READ_FLOPS, frozen: READ_FLOPS };

/** Settings of writing an answer: greedy by default. */
export interface WritingOptions
  extends ComputeOptions,
    Pick<GenerationOptions, 'temperature' | 'topP' | 'topK' | 'seed' | 'stop' | 'signal'> {
  /** Longest answer, in tokens. */
  readonly tokens: number;
}

/** Returns the settings of generation of an answer, which ends with its line. */
export const answerSettings = ({ stop = [], ...options }: WritingOptions): GenerationOptions => ({
  ...options,
  stop: ['\n', ...stop],
});

/** Reader with the weights of one moment, for evaluations. */
export interface CurrentReader {
  /**
   * Computes log p(y_t | passages, query, y_<t) of each token of the answer of each prompt, in nats: of its own tokens, and of the end token
   * of an encoder-decoder.
   */
  scoreAnswers(prompts: readonly ReadPrompt[], compute: ComputeOptions): Promise<readonly Float32Array[]>;
  /**
   * Writes an answer to each prompt, to the end of its line. A masked language model fills in as many tokens as the answer of
   * the prompt has; without an answer, the number of tokens whose mean log-probability is best.
   *
   * @throws UsageError for sampling, of a masked language model
   */
  write(prompts: readonly AskedPrompt[], options: WritingOptions): Promise<string[]>;
  /**
   * Writes one answer by the mixture of what several prompts predict (see `generateFromEnsemble`). Absent for readers that do not write
   * token by token.
   */
  writeMixed?(
    prompts: readonly AskedPrompt[],
    options: WritingOptions & Pick<Ensemble, 'logWeights'> & { readonly weights: EnsembleWeights },
  ): Promise<string>;
  dispose(): Promise<void>;
}

/** Model of a reader, and which of its parameters are trained. */
export type TunedReader = TunedModel<TunableModel & { dispose(): Promise<void> }>;

/** Model that is trained beside a retriever to answer queries from passages. */
export abstract class JointReader<Tuned extends TunedReader = TunedReader> implements TrainedPart {
  readonly prefix = 'reader';
  readonly lr: number;
  readonly frozen: TrainedPart['frozen'];
  /** Model, and which of its parameters are trained. */
  readonly tuned: Tuned;
  /** Fact that the user should know; undefined for none. */
  note: string | undefined;
  /** Operations for each parameter that a token goes through, in what the reader learns from. */
  protected readonly learnFlops: number;

  constructor(tuned: Tuned, { lr, source, tuning }: ReaderSettings) {
    this.tuned = tuned;
    this.learnFlops =
      LEARN_FLOPS[tuning === 'frozen' ? 'frozen' : tuning.lora === undefined ? 'full' : 'lora'];
    this.lr = lr;
    this.frozen = { source, hash: frozenHash(tuned) };
  }

  get specs(): TrainedPart['specs'] {
    return this.tuned.specs;
  }

  get weights(): TrainedPart['weights'] {
    return this.tuned.weights;
  }

  declare(graph: Graph): DeclaredParameters {
    return this.tuned.declare(graph, { prefix: this.prefix });
  }

  async dispose(): Promise<void> {
    await this.tuned.model.dispose();
  }

  abstract save(folder: string, at: { readonly trainedSteps: number }): Promise<void>;

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

  /**
   * Checks that a prompt can be read.
   *
   * @throws UsageError where query and answer alone do not fit, and for an answer without a token
   */
  abstract check(prompt: ReadPrompt): void;

  /**
   * Builds the reading of the prompts of a batch in the graph of a step, with a gradient to the reader. `feeds` makes the inputs.
   *
   * @param part  reader, as declared in the graph
   * @throws UsageError where the method needs the attention, and the reader has no cross-attention
   */
  abstract answers(
    part: DeclaredParameters,
    input: ScoredBatch['input'],
    form: Pick<JointForm, 'readings' | 'attention'>,
  ): ReadAnswers;

  /**
   * Makes the inputs of `answers`.
   *
   * @param queries  queries of the batch
   * @param readings  prompts of each way of reading
   * @param learnt  way of reading that the reader learns from
   */
  abstract feeds(
    queries: readonly AskedQuery[],
    readings: Readonly<Partial<Record<JointReading, PromptPlaces>>>,
    learnt: JointReading,
  ): ReadFeeds;

  /** Operations for each parameter and token of a way of reading. */
  protected flopsOf(reading: string, learnt: JointReading): number {
    return reading === learnt ? this.learnFlops : READ_FLOPS;
  }

  /** Makes a reader of the current weights. The caller disposes of it. */
  abstract current(): Promise<CurrentReader>;
}
