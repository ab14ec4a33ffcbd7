import type { Graph } from '../../graph/graph.ts';
import { argMax } from '../../graph/ops.ts';
import type { Tensor } from '../../graph/tensor.ts';
import type { DeclaredParameters } from '../../nn/parameters.ts';
import type { ComputeOptions } from '../../runtime/devices.ts';
import { float32, type HostTensor, hostTensor } from '../../runtime/host-tensor.ts';
import type { Program } from '../../runtime/program.ts';
import { padSequences } from '../../text/pad-batch.ts';
import { UsageError } from '../../util/errors.ts';
import type { TokenInputs } from '../architectures/architecture.ts';
import { checkTokens, lengthPasses } from '../language/score-tokens.ts';
import { wholeTableFeeds } from '../retriever/token-feeds.ts';
import { tokenInputs } from '../retriever/token-inputs.ts';
import type { MaskedNetwork } from './masked-network.ts';

/** Token sequence with places whose tokens are predicted, such as those of masks. */
export interface MaskedSequence {
  /** Token ids of the sequence, special tokens included. */
  readonly ids: Int32Array;
  /** Segment of each token; ignored by models without segments. */
  readonly types: Int32Array;
  /** i32[n]: positions of the places, in ascending order. */
  readonly places: Int32Array;
  /** i32[n]: tokens whose probability in the places is asked for. */
  readonly answer: Int32Array;
}

/** Model as the functions of this file need it. */
interface ScoringModel {
  readonly network: MaskedNetwork;
  readonly weights: Readonly<Record<string, HostTensor>>;
  program(
    name: string,
    compute: ComputeOptions,
    build: (graph: Graph, declared: DeclaredParameters) => void,
  ): Promise<Program>;
}

/**
 * Computes log p(answer token | sequence) at each place, f32[n] in nats for each sequence.
 *
 * @throws UsageError that names a sequence which is longer than the model reads, or has a token that the model lacks
 */
export async function scoreMasked(
  model: ScoringModel,
  sequences: readonly MaskedSequence[],
  compute: ComputeOptions,
): Promise<Float32Array[]> {
  const program = await model.program('score', compute, (graph, declared) => {
    const { inputs, places } = sequenceInputs(model, declared);
    const ids = graph.input('answer', 'i64', ['rows']);
    const found = model.network.scoreTokens(declared.get, inputs, { places, ids });
    graph.output('found', found.logProbabilities);
  });
  const scores = sequences.map(() => new Float32Array(0));
  for await (const { index, start, end, found } of outputsOf(model, sequences, program))
    scores[index] = float32(found).slice(start, end);
  return scores;
}

/**
 * Finds the likeliest token at each place, i32[n] for each sequence. Each place is filled by itself.
 *
 * @throws UsageError as `scoreMasked`
 */
export async function fillMasked(
  model: ScoringModel,
  sequences: readonly MaskedSequence[],
  compute: ComputeOptions,
): Promise<Int32Array[]> {
  const program = await model.program('fill', compute, (graph, declared) => {
    const { inputs, places } = sequenceInputs(model, declared);
    graph.output('found', argMax(model.network.logitsAt(declared.get, inputs, places), { axis: 1 }));
  });
  const tokens = sequences.map(() => new Int32Array(0));
  for await (const { index, start, end, found } of outputsOf(model, sequences, program))
    tokens[index] = Int32Array.from((found.data as BigInt64Array).slice(start, end), Number);
  return tokens;
}

/** Declares a batch of sequences as inputs of a graph. */
export function sequenceInputs(
  { network: { tokenTypes: types } }: Pick<ScoringModel, 'network'>,
  declared: DeclaredParameters,
): { inputs: TokenInputs; places: Tensor } {
  const inputs = tokenInputs(declared, 'texts', { types });
  return { inputs, places: declared.graph.input('places', 'i64', ['rows']) };
}

/** Runs a program on all sequences, in passes of similar length, and yields the output of each sequence. */
async function* outputsOf(
  model: ScoringModel,
  sequences: readonly MaskedSequence[],
  program: Program,
): AsyncGenerator<{ index: number; start: number; end: number; found: HostTensor }> {
  for (const [index, { ids, places }] of sequences.entries()) {
    checkTokens(ids, model.network, `sequence ${index}`);
    const wrong = places.find((place) => !(place >= 0 && place < ids.length));
    if (wrong !== undefined) {
      throw new UsageError(`sequence ${index} of ${ids.length} tokens has no place ${wrong}`);
    }
  }
  const some = [...sequences.keys()].filter((index) => sequences[index]!.places.length > 0);
  for (const pass of lengthPasses(some, (index) => sequences[index]!.ids.length)) {
    const feeds = maskedFeeds(
      pass.map((index) => sequences[index]!),
      model.network,
    );
    const { found } = await program.run({ ...model.weights, ...feeds });
    let start = 0;
    for (const index of pass) {
      const end = start + sequences[index]!.places.length;
      yield { index, start, end, found: found! };
      start = end;
    }
  }
}

/** Makes the inputs of a program for a pass. Sequences lie side by side, padded at the end with token 0. */
export function maskedFeeds(
  pass: readonly MaskedSequence[],
  { tokenTypes }: Pick<MaskedNetwork, 'tokenTypes'>,
): Record<string, HostTensor> {
  const texts = padSequences(pass.map(({ ids }) => ids));
  const list = (values: number[]) => hostTensor('i64', [values.length], BigInt64Array.from(values, BigInt));
  return {
    ...wholeTableFeeds({ texts }),
    ...(tokenTypes && { 'texts/types': typeFeed(pass, texts) }),
    places: list(
      pass.flatMap(({ places }, row) => Array.from(places, (place) => row * texts.tokens + place)),
    ),
    answer: list(pass.flatMap(({ answer }) => [...answer])),
  };
}

/** Makes the input with the segment of each token, i64[B, T]; 0 for padding. */
export function typeFeed(
  sequences: readonly Pick<MaskedSequence, 'types'>[],
  { batch, tokens }: { readonly batch: number; readonly tokens: number },
): HostTensor {
  const types = new BigInt64Array(batch * tokens);
  for (const [row, { types: own }] of sequences.entries())
    for (const [t, type] of own.entries()) types[row * tokens + t] = BigInt(type);
  return hostTensor('i64', [batch, tokens], types);
}
