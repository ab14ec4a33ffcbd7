import type { ComputeOptions } from '../../runtime/devices.ts';
import { UndriftError } from '../../util/errors.ts';
import type { Progress } from '../../util/progress.ts';
import type { LanguageModel } from './language-model.ts';
import { languageModelId } from './language-model-id.ts';
import { type PromptTexts, ReaderPrompt } from './reader-prompt.ts';
import { type PromptScore, ScoreCache, scoreKey } from './score-cache.ts';

/** Prompts that are scored before their scores are written to the disk. */
const WRITTEN_AT_ONCE = 32;

/** Ways of summing up the log-probabilities of an answer's tokens. */
export const READER_SCORES = ['mean', 'sum'] as const;
/** Way of summing up the log-probabilities of an answer's tokens: their mean, or their sum. */
export type ReaderScore = (typeof READER_SCORES)[number];

/** Settings of a {@link LanguageTeacher}. */
export interface LanguageTeacherOptions {
  /** Format of the prompt; see `ReaderPrompt`. Default `QUESTION_PROMPT`. */
  readonly prompt?: string | undefined;
  /** Score of an answer: the mean log-probability of its tokens, or the sum. Default `mean`. */
  readonly score?: ReaderScore | undefined;
  /** Longest prompt, in tokens; passages are cut at their end to fit. Default: what the model reads. */
  readonly maxTokens?: number | undefined;
  /** Folder of scores, which other runs may share. Default: scores are kept in memory alone. */
  readonly cache?: string | undefined;
}

/** Scores of prompts, and what they cost. */
export interface TeacherScores {
  /** f32[n]: scores of the answers, in nats; per token for `mean`. */
  readonly scores: Float32Array;
  /** i32[n]: tokens of each prompt. */
  readonly promptTokens: Int32Array;
  /** Prompts that the model has read for this call; the others were known. */
  readonly read: number;
}

/**
 * Frozen language model that says how well a passage serves a query: the log-probability of the right answer y given passage d and
 * query x,
 *
 *     g(d; x, y) = (1/|y|) Σ_t log p(y_t | d, x, y_<t)
 *
 * Each prompt goes through the model in a pass of its own, so that its score depends on nothing else: not on the batch, not on
 * what is known already, not on the order. Scores are kept by the id of the model, the prompt, passage, query and answer, in memory
 * and in a folder that runs share.
 */
export class LanguageTeacher {
  readonly model: LanguageModel;
  /** Id of the model; see `languageModelId`. */
  readonly id: string;
  private readonly prompt: ReaderPrompt;
  private readonly score: ReaderScore;
  private readonly maxTokens: number;
  private readonly cache: ScoreCache;
  /** Beginning of each key. */
  private readonly settings: readonly (string | number)[];

  private constructor(model: LanguageModel, options: LanguageTeacherOptions, cache: ScoreCache) {
    this.model = model;
    this.prompt = new ReaderPrompt(options.prompt);
    this.score = options.score ?? 'mean';
    const { maxTokens: most = Number.POSITIVE_INFINITY } = model.decoder;
    this.maxTokens = Math.min(options.maxTokens ?? most, most);
    this.cache = cache;
    this.id = languageModelId(model);
    this.settings = [this.id, this.prompt.format, String(this.maxTokens)];
  }

  /**
   * Makes a teacher of a language model, which it never changes.
   *
   * @throws UsageError for a prompt that lacks a name
   * @throws UndriftError where the folder of scores cannot be made or read
   */
  static async create(model: LanguageModel, options: LanguageTeacherOptions = {}): Promise<LanguageTeacher> {
    return new LanguageTeacher(model, options, await ScoreCache.open(options.cache));
  }

  /**
   * Scores answers.
   *
   * @param prompts  texts of the prompts, in any order; equal ones are read once
   * @param options.onProgress  called as prompts are read, with the stage `reader`
   * @throws UsageError where a query and its answer do not fit the model, or an answer has no token
   */
  async scores(
    prompts: readonly PromptTexts[],
    {
      onProgress,
      ...compute
    }: ComputeOptions & { readonly onProgress?: ((progress: Progress) => void) | undefined } = {},
  ): Promise<TeacherScores> {
    const { cache } = this;
    const keys = prompts.map((prompt) => this.key(prompt));
    const isUnknown = (key: string) => cache.get(key) === undefined;
    if (keys.some(isUnknown)) await cache.refresh();
    const unknown = new Map<string, PromptTexts>();
    for (const [i, key] of keys.entries()) if (isUnknown(key)) unknown.set(key, prompts[i]!);
    await this.read([...unknown], compute, onProgress);
    const found = keys.map((key) => cache.get(key)!);
    return {
      scores: Float32Array.from(found, ({ logProbability, tokens }) =>
        this.score === 'mean' ? logProbability / tokens : logProbability,
      ),
      promptTokens: Int32Array.from(found, ({ promptTokens }) => promptTokens),
      read: unknown.size,
    };
  }

  /** Frees the model. */
  async dispose(): Promise<void> {
    await this.model.dispose();
  }

  /** Reads prompts, and keeps their scores. */
  private async read(
    unknown: readonly (readonly [key: string, prompt: PromptTexts])[],
    compute: ComputeOptions,
    onProgress: ((progress: Progress) => void) | undefined,
  ): Promise<void> {
    let found: [string, PromptScore][] = [];
    for (const [i, [key, prompt]] of unknown.entries()) {
      found.push([key, await this.scoreOf(prompt, compute)]);
      if (found.length === WRITTEN_AT_ONCE || i === unknown.length - 1) {
        await this.cache.add(found);
        found = [];
      }
      onProgress?.({ stage: 'reader', done: i + 1, total: unknown.length, unit: 'prompts' });
    }
  }

  private async scoreOf(texts: PromptTexts, compute: ComputeOptions): Promise<PromptScore> {
    const { model, maxTokens } = this;
    const { ids, from } = this.prompt.tokens(model.tokenizer, texts, { maxTokens });
    if (from === 0) {
      throw new UndriftError('nothing stands before the answer, not even a start token', {
        help: 'give a query or a passage',
      });
    }
    const [scored] = await model.scoreTokens([{ ids, from }], compute);
    const { logProbabilities } = scored!;
    const logProbability = logProbabilities.reduce((sum, value) => sum + value, 0);
    if (!Number.isFinite(logProbability)) {
      throw new UndriftError(`the reader gives the log-probability ${logProbability} to an answer`, {
        help: 'its weights may be damaged: undrift lm eval measures its perplexity',
      });
    }
    return { logProbability, tokens: logProbabilities.length, promptTokens: ids.length };
  }

  private key({ passage, query, answer }: PromptTexts): string {
    return scoreKey([...this.settings, passage ?? '', Number(passage !== undefined), query, answer]);
  }
}
