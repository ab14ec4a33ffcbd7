import type { LanguageModel } from '../models/language/language-model.ts';
import { languageModelId, tokenizerId } from '../models/language/language-model-id.ts';
import { type PromptScore, ScoreCache, scoreKey } from '../models/language/score-cache.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import type { Tokenizer } from '../text/tokenizer.ts';
import { UndriftError, UsageError } from '../util/errors.ts';
import { option } from '../util/option-name.ts';
import type { ChunkedText } from './chunked-text.ts';

/** Grades of candidates for the neighbours of a chunk: how much each helps to predict the chunk after it. */
export interface ChunkGrades {
  /** Numbers of the candidates in the text, best first. */
  readonly chunks: Int32Array;
  /** f32: their grades, descending. A candidate with a grade above 0 helps. */
  readonly grades: Float32Array;
}

/** Rule that grades earlier chunks of a text as neighbours of a chunk. The chunk after it is known: grades are labels. */
export interface ChunkGrader {
  /**
   * Grades candidates for the neighbours of a chunk.
   *
   * @param among  number of the first chunks of the text that may be candidates
   * @returns none for a chunk that no complete one follows
   */
  grade(text: ChunkedText, chunk: number, among: number): Promise<ChunkGrades>;
  /** Writes to the disk what is not yet there. */
  flush?(): Promise<void>;
}

const NONE: ChunkGrades = { chunks: new Int32Array(0), grades: new Float32Array(0) };

/** Finds candidates for the neighbours of chunk i by BM25, with the text of chunks i and i + 1 as query. */
function candidatesOf(text: ChunkedText, chunk: number, among: number, most: number): ChunkGrades {
  if (chunk < 2 || chunk + 1 >= text.chunks) return NONE;
  const { rows, scores } = text.similar(text.text(chunk, 2), among, most);
  return { chunks: rows, grades: scores };
}

/** Grades that are the BM25 scores of the candidates, all of which are above 0. */
export const lexicalGrader = (candidates: number): ChunkGrader => ({
  grade: async (text, chunk, among) => candidatesOf(text, chunk, among, candidates),
});

/** Settings of a {@link ReferenceGrader}. */
export interface ReferenceGraderOptions extends ComputeOptions {
  /** Candidates of each chunk, at most. */
  readonly candidates: number;
  /** Tokenizer of the texts. */
  readonly tokenizer: Tokenizer;
  /** Tokens of a chunk of the texts, m. */
  readonly chunkTokens: number;
  /** Folder of scores, which other runs may share. Default: scores are kept in memory alone. */
  readonly cache?: string | undefined;
}

/** Chunks whose scores are written together. */
const WRITTEN_AT_ONCE = 32;

/**
 * Grades by a frozen reference model ĝ. The grade of candidate j for chunk i is the log-likelihood ratio of chunk i + 1, in nats, with the
 * candidate and its successor before chunk i, or the two chunks that stand there:
 *
 *     s_t(j) = log ĝ(c_{i+1} | c_j, c_{j+1}, c_i) − log ĝ(c_{i+1} | c_{i−2}, c_{i−1}, c_i)
 *
 * Candidates are the best chunks by BM25, with chunks i and i + 1 as query. A model with another tokenizer reads the text of the chunks.
 *
 * The candidates of a chunk are read together, and chunks one by one, so that grades depend on the candidates alone, and not on what is known
 * already or on the order. Scores are kept in a folder by model and tokens: a pass over texts that is stopped goes on where it was.
 */
export class ReferenceGrader implements ChunkGrader {
  /** Chunks whose candidates the model has read; the others were known. */
  read = 0;
  /** Tokens that the model has read. */
  readTokens = 0;
  private readonly model: LanguageModel;
  private readonly options: ReferenceGraderOptions;
  private readonly cache: ScoreCache;
  private readonly id: string;
  private readonly sharesTokens: boolean;
  private waiting: [string, PromptScore][] = [];

  private constructor(model: LanguageModel, options: ReferenceGraderOptions, cache: ScoreCache) {
    this.model = model;
    this.options = options;
    this.cache = cache;
    this.id = languageModelId(model);
    this.sharesTokens = tokenizerId(model.tokenizer) === tokenizerId(options.tokenizer);
  }

  /**
   * Makes a grader of a language model, which stays the caller's.
   *
   * @throws UsageError for a model that cannot read four chunks
   * @throws UndriftError where the folder of scores cannot be made or read
   */
  static async create(model: LanguageModel, options: ReferenceGraderOptions): Promise<ReferenceGrader> {
    const { maxTokens = Number.POSITIVE_INFINITY } = model.decoder;
    if (4 * options.chunkTokens > maxTokens) {
      throw new UsageError(
        `the reference model reads ${maxTokens} tokens, less than four chunks of ${options.chunkTokens}`,
        { help: `lower ${option('chunkTokens')}, or give another ${option('reference')}` },
      );
    }
    return new ReferenceGrader(model, options, await ScoreCache.open(options.cache));
  }

  async grade(text: ChunkedText, chunk: number, among: number): Promise<ChunkGrades> {
    const { chunks } = candidatesOf(text, chunk, among, this.options.candidates);
    if (chunks.length === 0) return NONE;
    const pairs = [...chunks, chunk - 2].map((first) => this.idsOf(text, first, 2));
    const [own, next] = [this.idsOf(text, chunk), this.idsOf(text, chunk + 1)];
    if (next.length === 0) return NONE;
    const key = scoreKey([this.id, 'chunks', ...[own, next, ...pairs].map((ids) => ids.join())]);
    const sums = this.cache.get(key)?.logProbabilities ?? (await this.score(key, pairs, own, next));
    const reference = sums[chunks.length]!;
    const graded = Array.from(chunks, (each, i) => ({
      chunk: each,
      grade: Math.fround(sums[i]! - reference),
    }));
    graded.sort((a, b) => b.grade - a.grade || a.chunk - b.chunk);
    return {
      chunks: Int32Array.from(graded, (each) => each.chunk),
      grades: Float32Array.from(graded, ({ grade }) => grade),
    };
  }

  async flush(): Promise<void> {
    const written = this.waiting;
    this.waiting = [];
    await this.cache.add(written);
  }

  /** Computes log ĝ of a chunk after each pair of chunks and the one before it. */
  private async score(
    key: string,
    pairs: readonly Int32Array[],
    own: Int32Array,
    next: Int32Array,
  ): Promise<Float32Array> {
    const { device, threads } = this.options;
    const most = this.model.decoder.maxTokens ?? Number.POSITIVE_INFINITY;
    const sequences = pairs.map((pair) => {
      const ids = [...pair, ...own, ...next];
      // Another tokenizer may need more tokens than the model reads: the farthest ones are left out.
      const cut = Math.max(0, ids.length - most);
      return { ids: ids.slice(cut), from: Math.max(1, ids.length - next.length - cut) };
    });
    const compute = { ...(device && { device }), ...(threads && { threads }) };
    const sums = Float32Array.from(await this.model.logLikelihoods(sequences, compute));
    if (!sums.every(Number.isFinite)) {
      throw new UndriftError('the reference model gives no finite log-probability to a chunk', {
        help: 'its weights may be damaged: undrift lm eval measures its perplexity',
      });
    }
    this.read += 1;
    const tokens = sequences.reduce((sum, { ids }) => sum + ids.length, 0);
    this.readTokens += tokens;
    this.waiting.push([key, { logProbabilities: sums, promptTokens: tokens }]);
    if (this.waiting.length >= WRITTEN_AT_ONCE) await this.flush();
    return sums;
  }

  /** Tokens of consecutive chunks, as the reference model reads them. */
  private idsOf(text: ChunkedText, chunk: number, count = 1): Int32Array {
    if (this.sharesTokens) return text.tokens(chunk, count);
    return this.model.tokenizer.encodeRaw(text.text(chunk, count));
  }
}
