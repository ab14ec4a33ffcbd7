import type { Dim } from '../../graph/dims.ts';
import type { Graph } from '../../graph/graph.ts';
import type { Tensor } from '../../graph/tensor.ts';
import type { KeyValues } from '../../nn/attention.ts';
import type { Parameters } from '../../nn/parameters.ts';
import type { ComputeOptions } from '../../runtime/devices.ts';
import { float32, type HostTensor, hostTensor, int32Words, zeros } from '../../runtime/host-tensor.ts';
import type { CacheShape, LayerMemory, TokenInputs } from '../architectures/architecture.ts';
import type { Decoder } from './decoder.ts';
import type { LanguageModel } from './language-model.ts';

/** Number of places by which the cache grows at least. */
const PLACES = 64;

/** Number of tokens of all texts that one pass reads. It bounds the scores between these tokens and the cache. */
const TOKENS_PER_PASS = 512;

const SIDES = ['key', 'value'] as const;

/** Input of programs that read the positions of the tokens in the cache. */
const SEEN_POSITIONS = 'seenPositions';

/** Model whose texts are read piece by piece. A `LanguageModel` is one. */
export type CachedModel = Pick<LanguageModel, 'decoder' | 'weights' | 'program'>;

/** Way in which a text is read piece by piece, with keys and values of what was read before. */
export interface CachedPasses {
  /**
   * Returns the largest number of further tokens of each text that one pass may read, by the number of tokens read before. Default: no
   * limit.
   */
  most?(lengths: readonly number[]): number;
  /**
   * Runs a pass over further tokens of each text: a program of `buildReading`, with all weights.
   *
   * @param feeds  its inputs, without the weights
   * @param pieces  ids of the tokens
   */
  run(
    feeds: Readonly<Record<string, HostTensor>>,
    pieces: readonly (readonly number[])[],
  ): Promise<Readonly<Record<string, HostTensor>>>;
  /** Keeps some of the texts, by their numbers. Needed where passes hold something of each text. */
  keep?(rows: readonly number[]): void;
}

/**
 * Token sequences that a language model reads piece by piece.
 *
 * Keys and values of what was read are kept, so that each token is read once. They lie in buffers with room for more tokens, which a
 * pass reads where they are: a pass gives out the keys and values of its own tokens only, and these are copied into the free places.
 */
export class CachedReading {
  /** Logits after the last token of each text, f32[B, V]. The next pass overwrites them. */
  logits: Float32Array;
  private readonly model: CachedModel;
  private readonly passes: CachedPasses;
  private readonly shape: CacheShape;
  /** Number of texts, B. */
  private texts: number;
  /** Number of places of each text that are in use, padding included. */
  private used = 0;
  /** Number of tokens of each text that were read. */
  private lengths: number[];
  /** Keys and values of each layer, f32[B, G, P, S]. */
  private cache: Map<string, HostTensor>;
  /** 1 for places that hold a token, f32[B, P]. */
  private seen: HostTensor;
  /** Positions of the tokens in their texts, i64[B, P]. */
  private positions: HostTensor;

  private readonly tokensPerPass: number;

  private constructor(model: CachedModel, passes: CachedPasses, texts: number, tokensPerPass: number) {
    this.tokensPerPass = tokensPerPass;
    this.model = model;
    this.passes = passes;
    this.shape = model.decoder.cacheShape;
    this.texts = texts;
    this.lengths = new Array(texts).fill(0);
    this.logits = new Float32Array(texts * model.decoder.vocabSize);
    this.seen = zeros('f32', [texts, PLACES]);
    this.positions = zeros('i64', [texts, PLACES]);
    this.cache = this.emptyCache(texts, PLACES);
  }

  /**
   * Reads the beginnings of texts.
   *
   * @param sequences  token ids of each text, at least one
   * @param options.tokensPerPass  number of tokens of all texts that one pass reads. Default 512
   * @param options.passes  way of reading. Default: the language model alone
   */
  static async begin(
    model: CachedModel,
    sequences: readonly ArrayLike<number>[],
    {
      tokensPerPass = TOKENS_PER_PASS,
      passes,
      ...compute
    }: { tokensPerPass?: number; passes?: CachedPasses } & ComputeOptions = {},
  ): Promise<CachedReading> {
    const own = passes ?? (await plainPasses(model, compute));
    const reading = new CachedReading(model, own, sequences.length, tokensPerPass);
    await reading.read(sequences);
    return reading;
  }

  /** Reads further tokens of each text, at least one. */
  async read(sequences: readonly ArrayLike<number>[]): Promise<void> {
    const longest = sequences.reduce((most, { length }) => Math.max(most, length), 0);
    const each = Math.max(1, Math.floor(this.tokensPerPass / this.texts));
    for (let start = 0, piece = 0; start < longest; start += piece) {
      piece = Math.min(each, this.passes.most?.(this.lengths) ?? each);
      const pieces = sequences.map(
        (ids) => Array.prototype.slice.call(ids, start, start + piece) as number[],
      );
      await this.pass(pieces);
    }
  }

  /** Keeps some of the texts, by their numbers, and forgets the others. */
  keep(rows: readonly number[]): void {
    for (const [name, each] of this.cache) this.cache.set(name, rowsOf(each, rows));
    this.seen = rowsOf(this.seen, rows);
    this.positions = rowsOf(this.positions, rows);
    const V = this.model.decoder.vocabSize;
    const logits = hostTensor('f32', [this.texts, V], this.logits as Float32Array<ArrayBuffer>);
    this.logits = float32(rowsOf(logits, rows));
    this.lengths = rows.map((row) => this.lengths[row]!);
    this.texts = rows.length;
    this.passes.keep?.(rows);
  }

  private async pass(pieces: readonly (readonly number[])[]): Promise<void> {
    const { texts, lengths } = this;
    const tokens = pieces.reduce((most, { length }) => Math.max(most, length), 0);
    const dims = [texts, tokens];
    const [ids, mask, positions] = [zeros('i64', dims), zeros('f32', dims), zeros('i64', dims)];
    const [idWords, positionWords] = [ids, positions].map(({ data }) => int32Words(data as BigInt64Array));
    for (const [row, piece] of pieces.entries()) {
      for (const [t, id] of piece.entries()) {
        const at = row * tokens + t;
        idWords![2 * at] = id;
        positionWords![2 * at] = lengths[row]! + t;
        mask.data[at] = 1;
      }
    }
    const feeds = {
      ...Object.fromEntries(this.cache),
      ids,
      mask,
      positions,
      seen: this.seen,
      [SEEN_POSITIONS]: this.positions,
    };
    const { logits, ...own } = await this.passes.run(feeds, pieces);
    const V = this.model.decoder.vocabSize;
    const found = float32(logits);
    this.reserve(this.used + tokens);
    const [seen, places] = [float32(this.seen), this.seen.dims[1]!];
    const seenPositions = int32Words(this.positions.data as BigInt64Array);
    for (const [row, { length }] of pieces.entries()) {
      if (length === 0) continue;
      this.logits.set(found.subarray(row * V, (row + 1) * V), row * V);
      const start = row * places + this.used;
      seen.fill(1, start, start + length);
      for (let t = 0; t < length; t++) seenPositions[2 * (start + t)] = lengths[row]! + t;
      lengths[row]! += length;
    }
    for (const [name, to] of this.cache) this.insert(own[name.replace('past', 'own')]!, to, this.used);
    this.used += tokens;
  }

  /** Copies f32[B, G, T, S] to the places from `start` on of f32[B, G, P, S]. */
  private insert(from: HostTensor, to: HostTensor, start: number): void {
    const [source, target] = [float32(from), float32(to)];
    const size = from.dims[2]! * this.shape.size;
    const targetSize = to.dims[2]! * this.shape.size;
    const heads = this.texts * this.shape.heads;
    for (let head = 0; head < heads; head++) {
      target.set(
        source.subarray(head * size, (head + 1) * size),
        head * targetSize + start * this.shape.size,
      );
    }
  }

  /** Makes room for a number of places. The cache grows by a quarter at least, so that copies of it are few. */
  private reserve(needed: number): void {
    const before = this.seen.dims[1]!;
    if (needed <= before) return;
    const places = Math.ceil(Math.max(needed, 1.25 * before) / PLACES) * PLACES;
    this.seen = widened(this.seen, places);
    this.positions = widened(this.positions, places);
    const old = this.cache;
    this.cache = this.emptyCache(this.texts, places);
    for (const [name, to] of this.cache) this.insert(old.get(name)!, to, 0);
  }

  private emptyCache(texts: number, places: number): Map<string, HostTensor> {
    const { layers, heads, size } = this.shape;
    const names = Array.from({ length: layers }, (_, layer) => SIDES.map((side) => `past/${layer}/${side}`));
    return new Map(names.flat().map((name) => [name, zeros('f32', [texts, heads, places, size])]));
  }
}

/** Makes the passes of a language model alone. */
async function plainPasses(model: CachedModel, compute: ComputeOptions): Promise<CachedPasses> {
  const program = await model.program('generate', compute, (graph, { get }) =>
    buildReading(graph, get, model.decoder),
  );
  return { run: (feeds) => program.run({ ...model.weights, ...feeds }) };
}

/** Copies rows of the first axis. */
export function rowsOf({ dtype, dims, data }: HostTensor, rows: readonly number[]): HostTensor {
  const kept = zeros(dtype, [rows.length, ...dims.slice(1)]);
  const size = data.length / dims[0]!;
  for (const [i, row] of rows.entries())
    kept.data.set(data.subarray(row * size, (row + 1) * size) as never, i * size);
  return kept;
}

/** Adds places to rows [B, P], which hold zeros. */
function widened({ dtype, dims, data }: HostTensor, places: number): HostTensor {
  const [texts, before] = dims as [number, number];
  const wide = zeros(dtype, [texts, places]);
  for (let row = 0; row < texts; row++)
    wide.data.set(data.subarray(row * before, (row + 1) * before) as never, row * places);
  return wide;
}

/**
 * Adds to a graph that reads further tokens of texts.
 *
 * Inputs: `ids` i64[B, T], `mask` f32[B, T], `positions` i64[B, T], `seen` f32[B, P] (1 for places of the cache that hold a token), and
 * for each layer `past/<layer>/key` and `past/<layer>/value` f32[B, G, P, S]. Outputs: `logits` f32[B, V] after the last token of each
 * text, and `own/<layer>/key` and `own/<layer>/value` f32[B, G, T, S]. Decoders with biases for distances have the
 * input `seenPositions` i64[B, P] too.
 *
 * @param options.memory  memory that the layers read beside the text. Default none
 * @param options.texts  number of texts B, where it is fixed
 */
export function buildReading(
  graph: Graph,
  p: Parameters,
  decoder: Decoder,
  { memory, texts = 'texts' }: { readonly memory?: LayerMemory; readonly texts?: Dim } = {},
): void {
  const [tokens, places] = ['tokens', 'places'];
  const { layers, heads, size } = decoder.cacheShape;
  const past = Array.from({ length: layers }, (_, layer) => {
    const [key, value] = SIDES.map((side) =>
      graph.input(`past/${layer}/${side}`, 'f32', [texts, heads, places, size]),
    ) as [Tensor, Tensor];
    return { key, value };
  });
  let seenPositions: Tensor | undefined;
  const inputs: TokenInputs = {
    ids: graph.input('ids', 'i64', [texts, tokens]),
    mask: graph.input('mask', 'f32', [texts, tokens]),
    positions: graph.input('positions', 'i64', [texts, tokens]),
    cache: {
      mask: graph.input('seen', 'f32', [texts, places]),
      // Declared when it is read: other programs have no such input.
      get positions() {
        seenPositions ??= graph.input(SEEN_POSITIONS, 'i64', [texts, places]);
        return seenPositions;
      },
      attended(layer: number, own: KeyValues) {
        for (const side of SIDES) graph.output(`own/${layer}/${side}`, own[side]);
        return [past[layer]!, own];
      },
    },
  };
  const logits = decoder.lastLogits(p, inputs, memory ? { memory } : {});
  graph.output('logits', logits);
}
