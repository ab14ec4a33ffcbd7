import { Graph } from '../graph/graph.ts';
import { matmul } from '../graph/ops.ts';
import type { TokenState } from '../models/language/decoder.ts';
import type { LanguageModel } from '../models/language/language-model.ts';
import { firstScored } from '../models/language/score-tokens.ts';
import { CostLedger } from '../objective/cost-ledger.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { float32, hostTensor } from '../runtime/host-tensor.ts';
import { ProgramCache } from '../runtime/program-cache.ts';
import { checkWhole } from './check-number.ts';
import {
  countReading,
  countScored,
  type ScoreOptions,
  type Segment,
  scoredTokens,
} from './language-system.ts';
import { PastTokens } from './past-tokens.ts';
import { RecalledTokens } from './recalled-tokens.ts';
import type { TokenMemory, TokenSimilarity } from './token-datastore.ts';

/** Memories of one segment, beside the language model's own prediction of its scored tokens. */
export interface SegmentRecall {
  /** f32[n]: log p_LM of the scored tokens. */
  readonly base: Float32Array;
  /** f32[n]: logits of the scored tokens. Absent where they were not asked for. */
  readonly targetScores?: Float32Array | undefined;
  /** Nearest tokens of the datastore, nearest first. Absent without a datastore. */
  readonly neighbours?: RecalledTokens | undefined;
  /** Earlier tokens of the window and, before them, those of earlier windows of the document. Absent without a cache. */
  readonly cache?: RecalledTokens | undefined;
}

/** Options of a {@link Recaller}. */
export interface RecallerOptions {
  /** Datastore, which belongs to the caller. Default none. */
  readonly memory?: TokenMemory | undefined;
  /** Neighbours of each token, ≥ 1. Default 1,024. */
  readonly neighbours?: number | undefined;
  /** Similarity by which tokens of the datastore are near. Default `distance`. */
  readonly by?: TokenSimilarity | undefined;
  /** State that is the key of a token, where there is no datastore. Default `feed-forward-input`. */
  readonly keys?: TokenState | undefined;
  /** Whether the earlier tokens of the window are recalled. */
  readonly cache: boolean;
  /**
   * Tokens of earlier windows of the same document that are recalled too, at most; the last ones. The windows of a document must be
   * recalled in their order. Default 0.
   */
  readonly longTokens?: number | undefined;
  /** Whether the logits of the scored tokens are returned. Default false. */
  readonly targetScores?: boolean | undefined;
}

/** Neighbours of a token, by default. */
export const NEIGHBOURS = 1024;
/** Tokens whose neighbours are searched together. */
const GROUP_TOKENS = 4096;

/** Looks up the tokens that memories recall for the scored tokens of segments. */
export class Recaller {
  /** Costs so far: see `LanguageSystem.ledger`. */
  readonly ledger = new CostLedger();
  private readonly model: LanguageModel;
  private readonly options: RecallerOptions;
  private readonly neighbours: number;
  private readonly keys: TokenState;
  private readonly past: PastTokens;
  private readonly programs = new ProgramCache();

  /** @throws UsageError for a number of tokens out of range */
  constructor(model: LanguageModel, options: RecallerOptions) {
    const { memory, neighbours = NEIGHBOURS, keys = 'feed-forward-input', longTokens = 0 } = options;
    checkWhole('neighbours', neighbours, 1);
    checkWhole('longTokens', longTokens, 0);
    this.model = model;
    this.options = options;
    this.neighbours = neighbours;
    this.keys = memory?.keys ?? keys;
    this.past = new PastTokens(longTokens, model.decoder.hiddenSize);
  }

  /** Recalls segment after segment, in their order. Memory is bounded by 4,096 tokens and their neighbours. */
  async *recall(
    segments: readonly Segment[],
    { onProgress, ...compute }: ScoreOptions = {},
  ): AsyncGenerator<SegmentRecall> {
    const total = countScored(segments);
    let before = 0;
    for (let start = 0; start < segments.length; ) {
      let [end, tokens] = [start, 0];
      while (end < segments.length && (end === start || tokens < GROUP_TOKENS))
        tokens += scoredTokens(segments[end++]!);
      const tell = (share: number) =>
        onProgress?.({ stage: 'score', done: before + Math.floor(share * tokens), total, unit: 'tokens' });
      yield* this.group(segments.slice(start, end), compute, tell);
      start = end;
      before += tokens;
    }
  }

  /** Frees the compiled programs. */
  async dispose(): Promise<void> {
    await this.programs.dispose();
  }

  /** @param tell  called with the share of the work that is done */
  private async *group(
    segments: readonly Segment[],
    compute: ComputeOptions,
    tell: (share: number) => void,
  ): AsyncGenerator<SegmentRecall> {
    const { memory, cache, targetScores = false } = this.options;
    const hasPast = this.past.most > 0;
    countReading(this.ledger, segments);
    const needsKeys = memory !== undefined || cache || hasPast;
    // A memory of the document needs the states of the context too.
    const read = segments.map(({ ids, from }) => ({ ids, from: cache || hasPast ? 1 : from }));
    // Reading and searching count as half of the work each.
    const reading = memory ? 0.5 : 1;
    const scores = await this.model.scoreTokens(read, {
      ...{ ...compute, targetScores },
      onScored: (tokens) => tell((reading * tokens) / countScored(read)),
      ...(needsKeys && { keys: this.keys }),
    });
    const parts = segments.map((segment, i): Part => {
      const { logProbabilities, keys, targetScores } = scores[i]!;
      const skipped = logProbabilities.length - scoredTokens(segment);
      return {
        ...{ segment, skipped, keys: keys ?? new Float32Array(0) },
        base: logProbabilities.subarray(skipped),
        targetScores: targetScores?.subarray(skipped),
      };
    });
    const neighbours =
      memory && (await this.nearest(parts, memory, (share) => tell(reading + (1 - reading) * share)));
    for (const [i, part] of parts.entries()) {
      yield {
        base: part.base,
        ...(part.targetScores && { targetScores: part.targetScores }),
        neighbours: neighbours?.[i],
        cache: cache || hasPast ? await this.earlier(part, compute) : undefined,
      };
    }
  }

  private async nearest(
    parts: readonly Part[],
    memory: TokenMemory,
    tell: (share: number) => void,
  ): Promise<RecalledTokens[]> {
    const D = this.model.decoder.hiddenSize;
    const owners = parts.flatMap(({ segment, base }) => Array<Segment>(base.length).fill(segment));
    const queries = new Float32Array(owners.length * D);
    let at = 0;
    for (const { keys, skipped } of parts) {
      queries.set(keys.subarray(skipped * D), at);
      at += keys.length - skipped * D;
    }
    this.ledger.add('searches', owners.length);
    const found = await memory.search(queries, this.neighbours, {
      by: this.options.by,
      hidden: (query) => {
        const { document } = owners[query]!;
        return document === undefined ? undefined : memory.rowsOf(document);
      },
      onProgress: ({ done, total = done }) => tell(done / Math.max(1, total)),
    });
    const { rows, k } = found;
    let place = 0;
    return parts.map(({ segment, base }) => {
      const starts = new Int32Array(base.length + 1);
      const similarities = new Float32Array(base.length * k);
      const matches = new Uint8Array(base.length * k);
      let count = 0;
      for (let t = 0; t < base.length; t++, place++) {
        const target = segment.ids[firstScored(segment) + t]!;
        for (let i = place * k; i < (place + 1) * k && rows[i] !== -1; i++) {
          similarities[count] = found.similarities[i]!;
          matches[count++] = memory.values[rows[i]!] === target ? 1 : 0;
        }
        starts[t + 1] = count;
      }
      return new RecalledTokens(starts, similarities.subarray(0, count), matches.subarray(0, count));
    });
  }

  /** Products of each state with those before it: of earlier windows of the document, and of the window. */
  private async earlier(part: Part, compute: ComputeOptions): Promise<RecalledTokens> {
    const { segment, keys, base, skipped } = part;
    const { ids } = segment;
    const D = this.model.decoder.hiddenSize;
    const n = keys.length / D;
    const past = this.past.before(segment);
    const P = past.tokens.length;
    const states = hostTensor('f32', [n, D], keys as Float32Array<ArrayBuffer>);
    const program = await this.programs.get('cache', cacheGraph(D), compute);
    const products = float32((await program.run({ states, keys: states })).products);
    const others =
      P > 0
        ? float32((await program.run({ states, keys: hostTensor('f32', [P, D], past.keys) })).products)
        : products;
    this.past.add(segment, keys);
    const own = (row: number) => (this.options.cache ? row : 0);
    const starts = new Int32Array(base.length + 1);
    for (let t = 0; t < base.length; t++) starts[t + 1] = starts[t]! + P + own(skipped + t);
    const similarities = new Float32Array(starts[base.length]!);
    const matches = new Uint8Array(starts[base.length]!);
    for (let t = 0; t < base.length; t++) {
      const row = skipped + t;
      const [start, target] = [starts[t]!, ids[row + 1]!];
      similarities.set(others.subarray(row * P, (row + 1) * P), start);
      for (let j = 0; j < P; j++) matches[start + j] = past.tokens[j] === target ? 1 : 0;
      similarities.set(products.subarray(row * n, row * n + own(row)), start + P);
      // Row j predicts token j + 1 of the window.
      for (let j = 0; j < own(row); j++) matches[start + P + j] = ids[j + 1] === target ? 1 : 0;
    }
    return new RecalledTokens(starts, similarities, matches);
  }
}

/** Segment with the states of its tokens: row `skipped + t` of `keys` predicts the scored token t. */
interface Part {
  readonly segment: Segment;
  readonly base: Float32Array;
  readonly targetScores: Float32Array | undefined;
  readonly keys: Float32Array;
  readonly skipped: number;
}

const cacheGraph = (D: number) => (): Graph => {
  const graph = new Graph('cache');
  const states = graph.input('states', 'f32', ['tokens', D]);
  graph.output('products', matmul(states, graph.input('keys', 'f32', ['keys', D]), { transB: true }));
  return graph;
};
