import { Graph } from '../graph/graph.ts';
import { matmul } from '../graph/ops.ts';
import type { TokenState } from '../models/language/decoder.ts';
import type { LanguageModel } from '../models/language/language-model.ts';
import { CostLedger } from '../objective/cost-ledger.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { float32, hostTensor } from '../runtime/host-tensor.ts';
import { ProgramCache } from '../runtime/program-cache.ts';
import { UsageError } from '../util/errors.ts';
import { option } from '../util/option-name.ts';
import { countReading, type LanguageSystem, type ScoreOptions, type Segment } from './language-system.ts';
import { mixLogProbabilities, RecalledTokens } from './recalled-tokens.ts';
import type { TokenMemory } from './token-datastore.ts';

/** Weights and temperatures of kNN-LM. */
export interface KnnLmWeights {
  /** Temperature τ of the softmax of −‖q − k‖² / τ over the neighbours, > 0. Its right value depends on the model's keys. */
  readonly temperature: number;
  /** Weight λ of the neighbours, from 0 to 1. */
  readonly lambda: number;
  /** Scale θ of the softmax of θ q · k over the earlier tokens of the window, > 0. Read only where `cacheLambda` is above 0. */
  readonly cacheTheta: number;
  /** Weight of the earlier tokens of the window, from 0 to 1 − λ. */
  readonly cacheLambda: number;
}

/** Options of `knnLmSystem`. */
export interface KnnLmOptions extends KnnLmWeights {
  /** Neighbours of each token, ≥ 1. Default 1,024. A datastore of fewer tokens is searched whole. */
  readonly neighbours?: number | undefined;
  /** State that is the key of a token, where there is no datastore. Default `feed-forward-input`. */
  readonly keys?: TokenState | undefined;
}

/** Memories of one segment, beside the language model's own prediction of its scored tokens. */
export interface SegmentRecall {
  /** f32[n]: log p_LM of the scored tokens. */
  readonly base: Float32Array;
  /** Nearest tokens of the datastore, nearest first. Absent without a datastore. */
  readonly neighbours?: RecalledTokens | undefined;
  /** Earlier tokens of the window. Absent without a cache. */
  readonly cache?: RecalledTokens | undefined;
}

/** Neighbours of a token, by default. */
export const NEIGHBOURS = 1024;
/** Tokens whose neighbours are searched together. */
const GROUP_TOKENS = 4096;

/**
 * Makes the system kNN-LM: the prediction of a language model mixed with that of the nearest tokens of a datastore, and with that of
 * the earlier tokens of the window (continuous cache).
 *
 *     p(x_t) = (1 − λ − λ_c) p_LM(x_t) + λ Σ_{i: v_i = x_t} softmax_i(−‖q_t − k_i‖² / τ) + λ_c Σ_{j < t: x_j = x_t} softmax_j(θ q_t · q_j)
 *
 * q_t is the state that predicts x_t, of the kind that the datastore has as keys. The sums go over the k nearest tokens, and over the
 * tokens of the window before x_t. Nothing is trained. Tokens of the segment's own document are left out of the datastore. With λ = 0
 * nothing is searched, and with λ = λ_c = 0 the scores are those of the language model to the bit.
 *
 * @param memory  datastore, which belongs to the caller; undefined for the cache alone
 * @throws UsageError for weights and temperatures out of range
 * @paper Khandelwal et al. 2020: "Generalization through Memorization: Nearest Neighbor Language Models"; Grave et al. 2017: "Improving
 *   Neural Language Models with a Continuous Cache".
 */
export function knnLmSystem(
  model: LanguageModel,
  memory: TokenMemory | undefined,
  options: KnnLmOptions,
): LanguageSystem {
  checkWeights(options, memory);
  const { temperature, lambda, cacheTheta, cacheLambda, neighbours, keys } = options;
  const recaller = new Recaller(model, {
    memory: lambda > 0 ? memory : undefined,
    neighbours,
    keys: memory?.keys ?? keys,
    cache: cacheLambda > 0,
  });
  return {
    name: 'knn-lm',
    model,
    ledger: recaller.ledger,
    async score(segments, scoring = {}) {
      const scores: Float32Array[] = [];
      for await (const recall of recaller.recall(segments, scoring)) {
        const memories = [
          { recalled: recall.neighbours, scale: 1 / temperature, weight: lambda },
          { recalled: recall.cache, scale: cacheTheta, weight: cacheLambda },
        ].flatMap(({ recalled, scale, weight }) =>
          recalled ? [{ logProbabilities: recalled.logProbabilities(scale), weight }] : [],
        );
        scores.push(mixLogProbabilities(recall.base, memories));
      }
      return scores;
    },
    dispose: () => recaller.dispose(),
  };
}

function checkWeights(
  { temperature, lambda, cacheTheta, cacheLambda, neighbours }: KnnLmOptions,
  memory: TokenMemory | undefined,
): void {
  const check = (isRight: boolean, key: string, range: string, value: number) => {
    if (!isRight) throw new UsageError(`${option(key)} must be ${range}, found ${value}`);
  };
  check(lambda >= 0 && lambda <= 1, 'lambda', 'from 0 to 1', lambda);
  check(cacheLambda >= 0 && cacheLambda + lambda <= 1, 'cacheLambda', `from 0 to ${1 - lambda}`, cacheLambda);
  if (lambda > 0) check(temperature > 0 && temperature < Infinity, 'temperature', 'above 0', temperature);
  if (cacheLambda > 0) check(cacheTheta > 0 && cacheTheta < Infinity, 'cacheTheta', 'above 0', cacheTheta);
  if (neighbours !== undefined)
    check(
      Number.isSafeInteger(neighbours) && neighbours >= 1,
      'neighbours',
      'a whole number of at least 1',
      neighbours,
    );
  if (lambda > 0 && !memory) throw new UsageError('the weight lambda is above 0, and there is no datastore');
}

/** Options of a {@link Recaller}. */
export interface RecallerOptions {
  /** Datastore, which belongs to the caller. Default none. */
  readonly memory?: TokenMemory | undefined;
  /** Neighbours of each token, ≥ 1. Default 1,024. */
  readonly neighbours?: number | undefined;
  /** State that is the key of a token, where there is no datastore. Default `feed-forward-input`. */
  readonly keys?: TokenState | undefined;
  /** Whether the earlier tokens of the window are recalled. */
  readonly cache: boolean;
}

/** Looks up what memories hold against the tokens of segments. */
export class Recaller {
  /** Costs so far: see `LanguageSystem.ledger`. */
  readonly ledger = new CostLedger();
  private readonly model: LanguageModel;
  private readonly memory: TokenMemory | undefined;
  private readonly neighbours: number;
  private readonly keys: TokenState;
  private readonly cache: boolean;
  private readonly programs = new ProgramCache();

  constructor(model: LanguageModel, options: RecallerOptions) {
    const { memory, neighbours = NEIGHBOURS, keys = 'feed-forward-input', cache } = options;
    this.model = model;
    this.memory = memory;
    this.neighbours = neighbours;
    this.keys = memory?.keys ?? keys;
    this.cache = cache;
  }

  /** Recalls segment after segment, in their order. Memory is bounded by 4,096 tokens and their neighbours. */
  async *recall(segments: readonly Segment[], options: ScoreOptions = {}): AsyncGenerator<SegmentRecall> {
    for (let start = 0; start < segments.length; ) {
      let [end, tokens] = [start, 0];
      while (end < segments.length && (end === start || tokens < GROUP_TOKENS)) {
        tokens += segments[end]!.ids.length - Math.max(1, segments[end]!.from);
        end += 1;
      }
      yield* await this.group(segments.slice(start, end), options);
      start = end;
    }
  }

  /** Frees the compiled programs. */
  async dispose(): Promise<void> {
    await this.programs.dispose();
  }

  private async group(segments: readonly Segment[], options: ScoreOptions): Promise<SegmentRecall[]> {
    const { onProgress, ...compute } = options;
    const { memory, cache } = this;
    countReading(this.ledger, segments);
    if (!memory && !cache) {
      const scores = await this.model.scoreTokens(segments, compute);
      return scores.map(({ logProbabilities }) => ({ base: logProbabilities }));
    }
    // The cache needs the states of the context too.
    const read = segments.map(({ ids, from }) => ({ ids, from: cache ? 1 : from }));
    const scores = await this.model.scoreTokens(read, { ...compute, keys: this.keys });
    const D = this.model.decoder.hiddenSize;
    const parts = segments.map((segment, i) => {
      const { logProbabilities, keys } = scores[i]!;
      const skipped = logProbabilities.length - (segment.ids.length - Math.max(1, segment.from));
      return { segment, base: logProbabilities.subarray(skipped), keys: keys!, skipped };
    });
    const neighbours = memory && (await this.nearest(parts, D, memory, onProgress));
    const found: SegmentRecall[] = [];
    for (const [i, part] of parts.entries()) {
      found.push({
        base: part.base,
        neighbours: neighbours?.[i],
        cache: cache ? await this.earlier(part, D, compute) : undefined,
      });
    }
    return found;
  }

  private async nearest(
    parts: readonly Part[],
    D: number,
    memory: TokenMemory,
    onProgress: ScoreOptions['onProgress'],
  ): Promise<RecalledTokens[]> {
    const owners = parts.flatMap(({ segment, base }) => Array<Segment>(base.length).fill(segment));
    const queries = new Float32Array(owners.length * D);
    let at = 0;
    for (const { keys, skipped } of parts) {
      queries.set(keys.subarray(skipped * D), at);
      at += keys.length - skipped * D;
    }
    this.ledger.add('searches', owners.length);
    const { rows, distances, k } = await memory.search(queries, this.neighbours, {
      hidden: (query) => {
        const { document } = owners[query]!;
        return document === undefined ? undefined : memory.rowsOf(document);
      },
      onProgress,
    });
    let place = 0;
    return parts.map(({ segment, base }) => {
      const starts = new Int32Array(base.length + 1);
      const similarities = new Float32Array(base.length * k);
      const matches = new Uint8Array(base.length * k);
      let count = 0;
      for (let t = 0; t < base.length; t++, place++) {
        const target = segment.ids[Math.max(1, segment.from) + t]!;
        for (let i = place * k; i < (place + 1) * k && rows[i] !== -1; i++) {
          similarities[count] = -distances[i]!;
          matches[count++] = memory.values[rows[i]!] === target ? 1 : 0;
        }
        starts[t + 1] = count;
      }
      return new RecalledTokens(starts, similarities.subarray(0, count), matches.subarray(0, count));
    });
  }

  /** Products of each state with those before it in the window. */
  private async earlier(
    { segment: { ids }, keys, base, skipped }: Part,
    D: number,
    compute: ComputeOptions,
  ): Promise<RecalledTokens> {
    const n = keys.length / D;
    const program = await this.programs.get('cache', cacheGraph(D), compute);
    const products = float32(
      (await program.run({ states: hostTensor('f32', [n, D], keys as Float32Array<ArrayBuffer>) })).products,
    );
    const starts = new Int32Array(base.length + 1);
    for (let t = 0; t < base.length; t++) starts[t + 1] = starts[t]! + skipped + t;
    const similarities = new Float32Array(starts[base.length]!);
    const matches = new Uint8Array(starts[base.length]!);
    for (let t = 0; t < base.length; t++) {
      const row = skipped + t;
      similarities.set(products.subarray(row * n, row * n + row), starts[t]);
      // Row j predicts token j + 1 of the window.
      for (let j = 0; j < row; j++) matches[starts[t]! + j] = ids[j + 1] === ids[row + 1] ? 1 : 0;
    }
    return new RecalledTokens(starts, similarities, matches);
  }
}

/** Segment with the states of its tokens: row `skipped + t` of `keys` predicts the scored token t. */
interface Part {
  readonly segment: Segment;
  readonly base: Float32Array;
  readonly keys: Float32Array;
  readonly skipped: number;
}

const cacheGraph = (D: number) => (): Graph => {
  const graph = new Graph('cache');
  const states = graph.input('states', 'f32', ['tokens', D]);
  graph.output('products', matmul(states, states, { transB: true }));
  return graph;
};
