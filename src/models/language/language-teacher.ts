import type { ComputeOptions } from '../../runtime/devices.ts';
import { UndriftError } from '../../util/errors.ts';
import type { Progress } from '../../util/progress.ts';
import type { LanguageModel } from './language-model.ts';
import { languageModelId } from './language-model-id.ts';
import { type ReadPrefix, readPrefix, scoreAfter } from './prefix-scoring.ts';
import { type PromptTexts, type PromptTokens, ReaderPrompt } from './reader-prompt.ts';
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
  /** log p of the tokens of each answer, in nats. */
  readonly logProbabilities: readonly Float32Array[];
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
 * Each passage, and then each query with its answer, goes through the model in a pass of its own, so that the score of a prompt
 * depends on nothing else: not on the batch, not on what is known already, not on the order. A passage is read once for all queries
 * of a call whose prompts begin with it. Scores are kept by the id of the model, the prompt, passage, query and answer, in memory
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
      scores: Float32Array.from(found, ({ logProbabilities: list }) =>
        this.score === 'mean' ? sumOf(list) / list.length : sumOf(list),
      ),
      logProbabilities: found.map(({ logProbabilities }) => logProbabilities),
      promptTokens: Int32Array.from(found, ({ promptTokens }) => promptTokens),
      read: unknown.size,
    };
  }

  /**
   * Checks that prompts fit without their passages.
   *
   * @throws UsageError for the first one that `scores` would refuse
   */
  check(prompts: Iterable<Pick<PromptTexts, 'query' | 'answer'>>): void {
    const { maxTokens } = this;
    for (const { query, answer } of prompts)
      this.prompt.tokens(this.model.tokenizer, { passage: undefined, query, answer }, { maxTokens });
  }

  /** Frees the model. */
  async dispose(): Promise<void> {
    await this.model.dispose();
  }

  /** Reads prompts, those of one passage together, and keeps their scores. */
  private async read(
    unknown: readonly (readonly [key: string, prompt: PromptTexts])[],
    compute: ComputeOptions,
    onProgress: ((progress: Progress) => void) | undefined,
  ): Promise<void> {
    const { model, maxTokens } = this;
    const groups = new Map<string, [key: string, prompt: PromptTokens][]>();
    for (const [key, texts] of unknown) {
      const prompt = this.prompt.tokens(model.tokenizer, texts, { maxTokens });
      const beginning = prompt.ids.subarray(0, sharedTokens(prompt)).join();
      const group = groups.get(beginning) ?? [];
      groups.set(beginning, group);
      group.push([key, prompt]);
    }
    let found: [string, PromptScore][] = [];
    let done = 0;
    for (const group of groups.values()) {
      const [, first] = group[0]!;
      const shared = sharedTokens(first);
      const prefix = shared > 0 ? await readPrefix(model, first.ids.slice(0, shared), compute) : undefined;
      for (const [key, prompt] of group) {
        found.push([key, await this.scoreOf(prompt, prefix, compute)]);
        done++;
        if (found.length === WRITTEN_AT_ONCE || done === unknown.length) {
          await this.cache.add(found);
          found = [];
        }
        onProgress?.({ stage: 'reader', done, total: unknown.length, unit: 'prompts' });
      }
    }
  }

  private async scoreOf(
    { ids, from }: PromptTokens,
    prefix: ReadPrefix | undefined,
    compute: ComputeOptions,
  ): Promise<PromptScore> {
    const { model } = this;
    if (from === 0) {
      throw new UndriftError('nothing stands before the answer, not even a start token', {
        help: 'give a query or a passage',
      });
    }
    const { tokens: P = 0 } = prefix ?? {};
    const logProbabilities = prefix
      ? await scoreAfter(model, prefix, { ids: ids.subarray(P), from: from - P }, compute)
      : (await model.scoreTokens([{ ids, from }], compute))[0]!.logProbabilities;
    if (!logProbabilities.every(Number.isFinite)) {
      throw new UndriftError('the reader gives no finite log-probability to an answer', {
        help: 'its weights may be damaged: undrift lm eval measures its perplexity',
      });
    }
    return { logProbabilities, promptTokens: ids.length };
  }

  private key({ passage, query, answer }: PromptTexts): string {
    return scoreKey([...this.settings, passage ?? '', Number(passage !== undefined), query, answer]);
  }
}

/** Number of tokens that prompts of one passage share; the state of the last of the others predicts the answer's first token. */
const sharedTokens = ({ passageEnd, from }: PromptTokens): number =>
  Math.max(0, Math.min(passageEnd, from - 1));

const sumOf = (values: Float32Array): number => values.reduce((sum, value) => sum + value, 0);
