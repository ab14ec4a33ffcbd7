import type { Graph } from '../../graph/graph.ts';
import type { DeclaredParameters } from '../../nn/parameters.ts';
import type { ComputeOptions } from '../../runtime/devices.ts';
import { float32, type HostTensor, hostTensor } from '../../runtime/host-tensor.ts';
import type { Program } from '../../runtime/program.ts';
import { padSequences } from '../../text/pad-batch.ts';
import { lengthPasses } from '../language/score-tokens.ts';
import { wholeTableFeeds } from '../retriever/token-feeds.ts';
import { tokenInputs } from '../retriever/token-inputs.ts';
import type { EncoderDecoder } from './encoder-decoder.ts';

/** Encoder-decoder with its weights and compiled programs. A `SequenceToSequenceModel` is one. */
export interface RunnableNetwork {
  readonly network: EncoderDecoder;
  readonly weights: Readonly<Record<string, HostTensor>>;
  program(
    name: string,
    compute: ComputeOptions,
    build: (graph: Graph, declared: DeclaredParameters) => void,
  ): Promise<Program>;
}

/** Encoder states of the inputs of one target, side by side and without padding. */
export interface EncodedInputs {
  /** f32[K, D], row-major. */
  readonly states: Float32Array;
  /** Number of states of each input. Their sum is K. */
  readonly lengths: readonly number[];
}

/**
 * Encodes inputs, each alone, in passes of bounded memory.
 *
 * @param targets inputs of each target, each of one token or more
 * @returns states of each target's inputs
 */
export async function encodeInputs(
  model: RunnableNetwork,
  targets: readonly (readonly ArrayLike<number>[])[],
  compute: ComputeOptions,
): Promise<EncodedInputs[]> {
  const { network, weights } = model;
  const D = network.decoder.hiddenSize;
  const lengths = targets.map((inputs) => inputs.map(({ length }) => length));
  const states = lengths.map((each) => new Float32Array(each.reduce((a, b) => a + b, 0) * D));
  const all = targets.flatMap((inputs, target) => {
    let start = 0;
    return inputs.map((ids) => {
      const place = { ids, target, start };
      start += ids.length * D;
      return place;
    });
  });
  const program = await model.program('encode', compute, (graph, declared) => {
    graph.output('states', network.encode(declared.get, tokenInputs(declared, 'inputs')));
  });
  for (const pass of lengthPasses([...all.keys()], (i) => all[i]!.ids.length)) {
    const batch = padSequences(pass.map((i) => all[i]!.ids));
    const outputs = await program.run({ ...weights, ...wholeTableFeeds({ inputs: batch }) });
    const found = float32(outputs.states);
    for (const [row, i] of pass.entries()) {
      const { ids, target, start } = all[i]!;
      const from = row * batch.tokens * D;
      states[target]!.set(found.subarray(from, from + ids.length * D), start);
    }
  }
  return states.map((each, target) => ({ states: each, lengths: lengths[target]! }));
}

/**
 * Makes the program inputs `states` f32[B, K, D] and `statesMask` f32[B, K] of encoded inputs, padded to the longest, at least to one
 * state.
 */
export function stateFeeds(encoded: readonly EncodedInputs[], size: number): Record<string, HostTensor> {
  const longest = encoded.reduce((most, { states }) => Math.max(most, states.length / size), 1);
  const states = new Float32Array(encoded.length * longest * size);
  const mask = new Float32Array(encoded.length * longest);
  for (const [row, each] of encoded.entries()) {
    states.set(each.states, row * longest * size);
    mask.fill(1, row * longest, row * longest + each.states.length / size);
  }
  return {
    states: hostTensor('f32', [encoded.length, longest, size], states),
    statesMask: hostTensor('f32', [encoded.length, longest], mask),
  };
}

/** Keeps the states of some inputs, by their numbers. */
export function keepInputs(
  { states, lengths }: EncodedInputs,
  kept: (input: number) => boolean,
  size: number,
): EncodedInputs {
  let start = 0;
  const parts = lengths.flatMap((length, i) => {
    const part = states.subarray(start, start + length * size);
    start += length * size;
    return kept(i) ? [part] : [];
  });
  const left = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    left.set(part, at);
    at += part.length;
  }
  return { states: left, lengths: lengths.filter((_, i) => kept(i)) };
}
