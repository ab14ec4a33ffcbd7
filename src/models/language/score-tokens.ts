import type { Graph } from '../../graph/graph.ts';
import type { DeclaredParameters } from '../../nn/parameters.ts';
import type { Device } from '../../runtime/devices.ts';
import { float32, type HostTensor, hostTensor } from '../../runtime/host-tensor.ts';
import { padSequences } from '../../text/pad-batch.ts';
import { UsageError } from '../../util/errors.ts';
import type { LayerMemory, TokenInputs } from '../architectures/architecture.ts';
import { wholeTableFeeds } from '../retriever/token-feeds.ts';
import { tokenInputs } from '../retriever/token-inputs.ts';
import type { Decoder, TokenState } from './decoder.ts';

/** Maximum number of places of a pass, padding included. */
const PLACES_PER_PASS = 2048;

/** Share of the longest sequence of a pass below which a shorter one waits for the next pass. */
const SHORTEST_RATIO = 0.75;

/** Token sequence to score. Tokens before position `from`, and the first token, are context only. */
export interface ScoredTokens {
  /** Token ids of the sequence. */
  readonly ids: ArrayLike<number>;
  /** Position of the first token to score. Default 1. */
  readonly from?: number;
}

/** Scores of one sequence: of n = length − max(from, 1) tokens, or of none. */
export interface TokenScores {
  /** log p(x_t | x_<t) of the scored tokens, f32[n], in nats. */
  readonly logProbabilities: Float32Array;
  /** Keys of the scored tokens, f32[n, D]: row i is the state that predicts token max(from, 1) + i. */
  readonly keys?: Float32Array;
  /** Logits of the scored tokens, f32[n]: their scores before the softmax. */
  readonly targetScores?: Float32Array;
}

/** Scores of the sequence with the given index. */
export interface IndexedTokenScores extends TokenScores {
  /** Index among the sequences. */
  readonly index: number;
}

/** Position of the first token of a sequence that is scored. */
export const firstScored = ({ from = 1 }: ScoredTokens): number => Math.max(from, 1);

/**
 * Builds the program that scores chosen places of a batch. Inputs: `texts/ids`, `texts/mask`, `places` i64[R] and
 * `next` i64[R]. Outputs: `logProbabilities` f32[R] and, where asked for, `keys` f32[R, D] and `targetScores` f32[R].
 *
 * @param options.device device that the program is compiled for; undefined for the CPU. Kernels differ between devices
 * @param options.memory makes the memory that the layers read, from the inputs of the batch
 */
export function buildScoring(
  graph: Graph,
  {
    decoder,
    declared,
    state,
    targetScores,
    memory,
    device = 'cpu',
  }: {
    decoder: Decoder;
    declared: DeclaredParameters;
    state?: TokenState | undefined;
    targetScores?: boolean | undefined;
    memory?: ((inputs: TokenInputs) => LayerMemory) | undefined;
    device: Device | undefined;
  },
): void {
  const inputs = tokenInputs(declared, 'texts');
  const places = graph.input('places', 'i64', ['rows']);
  const next = graph.input('next', 'i64', ['rows']);
  const found = decoder.scoreTokens(
    declared.get,
    inputs,
    { places, ids: next },
    { state, targetScores: targetScores ?? false, memory: memory?.(inputs), inference: device === 'cpu' },
  );
  graph.output('logProbabilities', found.logProbabilities);
  if (found.state) graph.output('keys', found.state);
  if (found.targetScores) graph.output('targetScores', found.targetScores);
}

/**
 * Groups sequences into passes of similar length, longest first.
 *
 * @yields indices of the sequences of a pass; the first is the longest. Sequences without a scored token are in none
 */
export function* scoringPasses(sequences: readonly ScoredTokens[]): Generator<number[]> {
  const scored = [...sequences.keys()].filter(
    (index) => firstScored(sequences[index]!) < sequences[index]!.ids.length,
  );
  yield* lengthPasses(scored, (index) => sequences[index]!.ids.length);
}

/**
 * Groups things into passes of similar length, longest first. A pass has at most 2,048 places, or one thing.
 *
 * @param indices numbers of the things
 * @param length returns the length of a thing, in places
 * @yields indices of a pass; the first is the longest
 */
export function* lengthPasses(
  indices: readonly number[],
  length: (index: number) => number,
): Generator<number[]> {
  const order = indices.toSorted((a, b) => length(b) - length(a));
  for (let start = 0; start < order.length; ) {
    const longest = length(order[start]!);
    const rows = Math.max(1, Math.floor(PLACES_PER_PASS / longest));
    let end = start + 1;
    while (end < order.length && end < start + rows && length(order[end]!) >= SHORTEST_RATIO * longest) end++;
    yield order.slice(start, end);
    start = end;
  }
}

/**
 * Makes the inputs of a scoring program for a pass. Sequences lie side by side, padded at the end with token 0.
 *
 * @param pass sequences with at least one scored token, the longest first
 */
export function scoringFeeds(pass: readonly ScoredTokens[]): Record<string, HostTensor> {
  const texts = padSequences(pass.map(({ ids }) => ids));
  const places: bigint[] = [];
  const next: bigint[] = [];
  for (const [row, sequence] of pass.entries()) {
    const start = row * texts.tokens;
    for (let t = firstScored(sequence); t < sequence.ids.length; t++) {
      places.push(BigInt(start + t - 1));
      next.push(BigInt(sequence.ids[t]!));
    }
  }
  const list = (values: bigint[]) => hostTensor('i64', [values.length], BigInt64Array.from(values));
  return {
    ...wholeTableFeeds({ texts }),
    places: list(places),
    next: list(next),
  };
}

/**
 * Distributes the outputs of a pass to its sequences.
 *
 * @param pass indices of the sequences
 * @param outputs outputs of the scoring program
 */
export function* passScores(
  sequences: readonly ScoredTokens[],
  pass: readonly number[],
  outputs: Readonly<Record<string, HostTensor>>,
): Generator<IndexedTokenScores> {
  const logProbabilities = float32(outputs.logProbabilities);
  const keys = outputs.keys && float32(outputs.keys);
  const size = outputs.keys?.dims[1] ?? 0;
  const targetScores = outputs.targetScores && float32(outputs.targetScores);
  let start = 0;
  for (const index of pass) {
    const sequence = sequences[index]!;
    const end = start + sequence.ids.length - firstScored(sequence);
    yield {
      index,
      logProbabilities: logProbabilities.slice(start, end),
      ...(keys && { keys: keys.slice(start * size, end * size) }),
      ...(targetScores && { targetScores: targetScores.slice(start, end) }),
    };
    start = end;
  }
}

/**
 * Checks sequences before anything is computed.
 *
 * @throws UsageError that names the sequence if it is longer than the model reads, has a token that the model lacks,
 *   or begins to be scored at no position
 */
export function checkSequences(
  sequences: readonly ScoredTokens[],
  decoder: Pick<Decoder, 'maxTokens' | 'vocabSize'>,
): void {
  for (const [index, { ids, from = 1 }] of sequences.entries()) {
    checkTokens(ids, decoder, `sequence ${index}`);
    if (!Number.isSafeInteger(from) || from < 0) {
      throw new UsageError(`sequence ${index}: from = ${from} is no position of a token`, {
        help: 'give the position of the first token to score, counted from 0',
      });
    }
  }
}

/**
 * Checks the tokens of one sequence.
 *
 * @param what name of the sequence, for messages
 * @throws UsageError that names the sequence if it is longer than the model reads, or has a token that the model lacks
 */
export function checkTokens(
  ids: ArrayLike<number>,
  { maxTokens = Number.POSITIVE_INFINITY, vocabSize }: Pick<Decoder, 'maxTokens' | 'vocabSize'>,
  what: string,
): void {
  if (ids.length > maxTokens) throw tooLong(ids.length, maxTokens, what);
  for (let t = 0; t < ids.length; t++) {
    const id = ids[t]!;
    if (!(Number.isInteger(id) && id >= 0 && id < vocabSize)) {
      throw new UsageError(
        `${what}: token ${t} has the id ${id}, and the model has the tokens 0 to ${vocabSize - 1}`,
        { help: 'tokenise the text with the tokenizer of the model' },
      );
    }
  }
}

/** Makes the error of a text that does not fit the model. */
export const tooLong = (tokens: number, maxTokens: number | undefined, what = 'a text'): UsageError =>
  new UsageError(`${what} of ${tokens} tokens, where the model reads ${maxTokens}`, {
    help: 'cut it into shorter ones',
  });
