import type { LanguageModel } from '../models/language/language-model.ts';
import { firstScored } from '../models/language/score-tokens.ts';
import type { CostLedger } from '../objective/cost-ledger.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import type { Progress } from '../util/progress.ts';

/** Tokens to score, with the context that stands before them: a window of running text, or a question with its answer. */
export interface Segment {
  /** Token ids of context and target. */
  readonly ids: Int32Array;
  /** Position of the first token to score. Tokens before it are context. */
  readonly from: number;
  /** Id of the document that the text comes from, for leak filters. */
  readonly document?: string | undefined;
  /** Place of the first token in the sequence of its document, for systems that remember earlier windows. Unknown for questions. */
  readonly start?: number | undefined;
  /** Text to retrieve with, such as the question. Default: the last tokens before those that are scored. */
  readonly query?: string | undefined;
  /** Row of the passage that answers the question, for the arm that reads it. Unknown for running text. */
  readonly gold?: number | undefined;
  /** Number of first tokens that stay in front of a passage, such as a start token or the beginning of a chat. Default 0. */
  readonly head?: number | undefined;
  /**
   * Longest sequence that the model may read for the segment, in tokens, passages included. Default: the length of `ids`, so that a
   * passage takes the place of the oldest context.
   */
  readonly room?: number | undefined;
}

/** Question with its answers, as a language model reads it. */
export interface Question {
  /** Id of the query. */
  readonly id: string;
  /** Right answers, the preferred one first, which is the target of the segment. */
  readonly answers: readonly string[];
  /** Prompt and preferred answer. */
  readonly segment: Segment;
  /** Rows of the documents that are judged right. */
  readonly right: Int32Array;
}

/** Measures of one question. */
export interface AnsweredQuestion {
  /** Id of the query. */
  readonly id: string;
  /** −log p(preferred answer), in nats. */
  readonly nats: number;
  /** Number of tokens of the preferred answer. */
  readonly tokens: number;
  /** Greedy answer, to the end of its first line; absent where none is generated. */
  readonly answer?: string;
  /** 1 if the greedy answer is right, else 0. */
  readonly exactMatch?: number;
  /** F1 of the words of the greedy answer. */
  readonly f1?: number;
  /** Rows of the passages that were read, in the order of their weight; absent for systems that read otherwise. */
  readonly passages?: readonly number[];
}

/**
 * Token sequences that a language model reads before a target. Of several sequences, the probabilities of the next token are mixed.
 */
export interface Reading {
  /** Sequences that end where the target begins. */
  readonly sequences: readonly Int32Array[];
  /** f64[n]: logarithms of the weights of the sequences; the weights sum to 1. */
  readonly logWeights: Float64Array;
  /** Rows of the passages that the sequences hold, in their order; empty where no passage is read. */
  readonly rows: Int32Array;
}

/** Options of scoring. */
export interface ScoreOptions extends ComputeOptions {
  /** Called every second or so while segments are scored, with the share of the work that is done; the unit is tokens. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

/**
 * System that scores text: a language model alone, or with retrieval in front of it (in-context, REPLUG), inside it (RETRO) or behind it
 * (kNN-LM). All systems score equal tokens of equal segments, so that their perplexities can be compared pair by pair.
 */
export interface LanguageSystem {
  /** Name in tables: `none`, `knn-lm`, `in-context`, `replug`. */
  readonly name: string;
  /** Language model whose tokens are scored. */
  readonly model: LanguageModel;
  /**
   * Costs so far: `readTokens` (tokens that went through the language model), `forwardPasses` (sequences), `queryEncodes`,
   * `passageEncodes`, `searches`.
   */
  readonly ledger: CostLedger;
  /** Settings for reports that were chosen when the system was opened, such as tuned weights. */
  readonly settings?: Readonly<Record<string, unknown>> | undefined;
  /**
   * Scores segments.
   *
   * @returns log p(x_t | x_<t) of the tokens `from`, `from + 1`, … of each segment, in nats
   */
  score(segments: readonly Segment[], options?: ScoreOptions): Promise<Float32Array[]>;
  /**
   * Makes what the model reads before the whole target of each segment, to generate from it. Absent for systems that change more than
   * what is read.
   */
  read?(segments: readonly Segment[], options?: ScoreOptions): Promise<Reading[]>;
  /**
   * Answers questions in a way of its own. Absent for systems whose answers follow from `score` and `read`.
   *
   * @param options.answerTokens  longest answer that is generated, in tokens; 0 for none
   */
  answer?(
    questions: readonly Question[],
    options: ScoreOptions & { readonly answerTokens: number },
  ): Promise<AnsweredQuestion[]>;
  /** Frees what the system has made; the model belongs to the caller. */
  dispose(): Promise<void>;
}

/** Number of tokens of a segment that are scored. */
export const scoredTokens = (segment: Pick<Segment, 'ids' | 'from'>): number =>
  Math.max(0, segment.ids.length - firstScored(segment));

/** Sum of {@link scoredTokens}. */
export const countScored = (segments: readonly Pick<Segment, 'ids' | 'from'>[]): number =>
  segments.reduce((sum, segment) => sum + scoredTokens(segment), 0);

/** Adds the tokens of sequences that go through a language model, one forward pass each. */
export function countReading(
  ledger: CostLedger,
  sequences: readonly { readonly ids: ArrayLike<number> }[],
): void {
  ledger.tokens(
    'read',
    sequences.reduce((sum, { ids }) => sum + ids.length, 0),
  );
  ledger.add('forwardPasses', sequences.length);
}
