import type { DeclaredParameters } from '../../nn/parameters.ts';
import type { ComputeOptions } from '../../runtime/devices.ts';
import { float32 } from '../../runtime/host-tensor.ts';
import { padSequences } from '../../text/pad-batch.ts';
import { UsageError } from '../../util/errors.ts';
import type { CrossAttentionListener, LayerMemory } from '../architectures/architecture.ts';
import {
  buildScoring,
  checkTokens,
  lengthPasses,
  passScores,
  scoringFeeds,
} from '../language/score-tokens.ts';
import { wholeTableFeeds } from '../retriever/token-feeds.ts';
import { tokenInputs } from '../retriever/token-inputs.ts';
import { AttentionMass } from './attention-mass.ts';
import {
  type EncodedInputs,
  encodeInputs,
  keepInputs,
  type RunnableNetwork,
  stateFeeds,
} from './encoded-inputs.ts';
import type { SequenceExample } from './sequence-batch.ts';

/** Number of input tokens whose states are in memory at one time. */
const TOKENS_TOGETHER = 16_384;

/** Target with the states that it is read with. */
interface DecodedTarget {
  readonly encoded: EncodedInputs;
  readonly target: ArrayLike<number>;
}

/** Builds on the states of a batch of targets: `states` f32[texts, states, D] and `statesMask`. */
function stateMemory(
  model: RunnableNetwork,
  { graph, get }: DeclaredParameters,
  onAttention?: CrossAttentionListener,
): LayerMemory {
  const size = model.network.decoder.hiddenSize;
  const states = graph.input('states', 'f32', ['texts', 'states', size]);
  const mask = graph.input('statesMask', 'f32', ['texts', 'states']);
  return model.network.memory(get, { states, mask }, { onAttention });
}

/** Checks the tokens of examples. */
export function checkExamples(model: RunnableNetwork, examples: readonly SequenceExample[]): void {
  for (const [i, { inputs, target }] of examples.entries()) {
    checkTokens(target, model.network.decoder, `the target of example ${i}`);
    checkInputs(model, inputs, `of example ${i}`);
  }
}

/** @throws UsageError that names an input which has no tokens, or a token that the model lacks */
export function checkInputs(
  model: RunnableNetwork,
  inputs: readonly ArrayLike<number>[],
  where: string,
): void {
  for (const [k, ids] of inputs.entries()) {
    if (ids.length === 0) {
      throw new UsageError(`input ${k} ${where} has no tokens`, {
        help: 'leave it out, or tokenise it with its end token',
      });
    }
    checkTokens(ids, model.network.decoder, `input ${k} ${where}`);
  }
}

/** Yields examples whose inputs together have a bounded number of tokens, with the states of their inputs. */
async function* encodedGroups(
  model: RunnableNetwork,
  examples: readonly SequenceExample[],
  compute: ComputeOptions,
): AsyncGenerator<{ start: number; encoded: EncodedInputs[] }> {
  const tokensOf = ({ inputs }: SequenceExample) => inputs.reduce((tokens, { length }) => tokens + length, 0);
  for (let start = 0; start < examples.length; ) {
    let end = start;
    for (let tokens = 0; end < examples.length; end++) {
      tokens += tokensOf(examples[end]!);
      if (end > start && tokens > TOKENS_TOGETHER) break;
    }
    const inputs = examples.slice(start, end).map((example) => example.inputs);
    yield { start, encoded: await encodeInputs(model, inputs, compute) };
    start = end;
  }
}

/** Groups targets into passes of similar size. In each, the longest target comes first. */
function* targetPasses(model: RunnableNetwork, targets: readonly DecodedTarget[]): Generator<number[]> {
  const size = model.network.decoder.hiddenSize;
  const places = (i: number) => targets[i]!.encoded.states.length / size + targets[i]!.target.length + 1;
  const some = [...targets.keys()].filter((i) => targets[i]!.target.length > 0);
  for (const pass of lengthPasses(some, places))
    yield pass.sort((a, b) => targets[b]!.target.length - targets[a]!.target.length);
}

/** Computes log p(y_t | y_<t, states) of all tokens of targets, f32[n] in nats for each. */
async function scoreDecoded(
  model: RunnableNetwork,
  targets: readonly DecodedTarget[],
  compute: ComputeOptions,
): Promise<Float32Array[]> {
  const { decoder, startId } = model.network;
  const program = await model.program('score', compute, (graph, declared) => {
    const memory = () => stateMemory(model, declared);
    buildScoring(graph, { decoder, declared, memory, device: compute.device });
  });
  const sequences = targets.map(({ target }) => ({ ids: [startId, ...Array.from(target)] }));
  const scores = targets.map(() => new Float32Array(0));
  for (const pass of targetPasses(model, targets)) {
    const feeds = {
      ...scoringFeeds(pass.map((i) => sequences[i]!)),
      ...stateFeeds(
        pass.map((i) => targets[i]!.encoded),
        decoder.hiddenSize,
      ),
    };
    const outputs = await program.run({ ...model.weights, ...feeds });
    for (const { index, logProbabilities } of passScores(sequences, pass, outputs))
      scores[index] = logProbabilities as Float32Array<ArrayBuffer>;
  }
  return scores;
}

/** Computes log p(y_t | y_<t, inputs) of the targets of examples. */
export async function scoreExamples(
  model: RunnableNetwork,
  examples: readonly SequenceExample[],
  compute: ComputeOptions,
): Promise<Float32Array[]> {
  checkExamples(model, examples);
  const scores: Float32Array[] = [];
  for await (const { start, encoded } of encodedGroups(model, examples, compute)) {
    const targets = encoded.map((each, i) => ({ encoded: each, target: examples[start + i]!.target }));
    scores.push(...(await scoreDecoded(model, targets, compute)));
  }
  return scores;
}

/**
 * Computes log p(y_t | y_<t, …) of the target of each example once for each of its inputs: reading this input alone, or all others. Each
 * input is encoded once.
 */
export async function scoreEachInput(
  model: RunnableNetwork,
  examples: readonly SequenceExample[],
  how: 'alone' | 'left-out',
  compute: ComputeOptions,
): Promise<Float32Array[][]> {
  checkExamples(model, examples);
  const size = model.network.decoder.hiddenSize;
  const scores: Float32Array[][] = [];
  for await (const { start, encoded } of encodedGroups(model, examples, compute)) {
    const targets = encoded.flatMap((each, i) =>
      each.lengths.map((_, input) => ({
        encoded: keepInputs(each, (k) => (k === input) === (how === 'alone'), size),
        target: examples[start + i]!.target,
      })),
    );
    const found = await scoreDecoded(model, targets, compute);
    for (const { lengths } of encoded) scores.push(found.splice(0, lengths.length));
  }
  return scores;
}

/**
 * Computes how much of the target's attention each input of an example gets: Σ_k a_tk ‖v_k‖ over the tokens k of the input, as the mean
 * over the layers and heads of the decoder and over the tokens of the target.
 *
 * @returns f64[n] for each example of n inputs
 */
export async function attentionToInputs(
  model: RunnableNetwork,
  examples: readonly SequenceExample[],
  compute: ComputeOptions,
): Promise<Float64Array[]> {
  checkExamples(model, examples);
  const { decoder, startId } = model.network;
  const program = await model.program('attention', compute, (graph, declared) => {
    const targets = tokenInputs(declared, 'texts');
    const mass = new AttentionMass();
    const memory = stateMemory(model, declared, mass.listener(targets.mask));
    decoder.hidden(declared.get, targets, { memory });
    graph.output('attention', mass.mean());
  });
  const result = examples.map(({ inputs }) => new Float64Array(inputs.length));
  for await (const { start, encoded } of encodedGroups(model, examples, compute)) {
    const targets = encoded.map((each, i) => ({ encoded: each, target: examples[start + i]!.target }));
    for (const pass of targetPasses(model, targets)) {
      const texts = padSequences(pass.map((i) => [startId, ...Array.from(targets[i]!.target)]));
      const states = stateFeeds(
        pass.map((i) => targets[i]!.encoded),
        decoder.hiddenSize,
      );
      const outputs = await program.run({ ...model.weights, ...wholeTableFeeds({ texts }), ...states });
      const found = float32(outputs.attention);
      for (const [row, i] of pass.entries()) {
        let at = row * (found.length / pass.length);
        for (const [input, length] of encoded[i]!.lengths.entries()) {
          for (let k = 0; k < length; k++) result[start + i]![input]! += found[at + k]!;
          at += length;
        }
      }
    }
  }
  return result;
}
