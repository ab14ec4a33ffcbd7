import type { ComputeOptions } from '../../runtime/devices.ts';
import type { HostTensor } from '../../runtime/host-tensor.ts';
import { buildReading, type CachedPasses, CachedReading, rowsOf } from '../language/cached-reading.ts';
import type { GenerationOptions } from '../language/generate.ts';
import { generationSettings, refusePackedWeights } from '../language/generation-options.ts';
import {
  type Generation,
  GenerationRow,
  generationGroups,
  generationPasses,
} from '../language/generation-rows.ts';
import { type EncodedInputs, encodeInputs, stateFeeds } from './encoded-inputs.ts';
import { checkInputs } from './score-targets.ts';
import type { SequenceToSequenceModel } from './sequence-to-sequence.ts';

/** Input of a sequence-to-sequence model: a text, which `inputIds` tokenises, or token ids with the end token. */
export type SequenceInput = string | ArrayLike<number>;

const SIDES = ['key', 'value'] as const;

/**
 * Writes the target of each list of inputs, several at a time. With several inputs, the decoder reads the states of all
 * (Fusion-in-Decoder).
 *
 * Inputs are encoded once. The keys and values of their states, and those of the tokens written, are kept.
 *
 * @param targets inputs of each target
 * @param options options of generation, those of `generate`; greedy by default
 * @returns new text of each target; `promptTokens` counts the tokens of its inputs
 * @throws UsageError when an input has no tokens or one that the model lacks, or an option is wrong
 */
export async function generateTargets(
  model: SequenceToSequenceModel,
  targets: readonly (readonly SequenceInput[])[],
  {
    device,
    threads,
    signal,
    ...options
  }: GenerationOptions & {
    readonly onDone?: ((targets: number) => void) | undefined;
  } = {},
): Promise<Generation[]> {
  const settings = generationSettings(options);
  refusePackedWeights(settings);
  const compute: ComputeOptions = { ...(device && { device }), ...(threads && { threads }) };
  const start = [model.network.startId];
  const all = targets.map((inputs, number) => {
    const ids = inputs.map((each) => (typeof each === 'string' ? model.inputIds(each) : each));
    checkInputs(model, ids, `of target ${number}`);
    const row = new GenerationRow(model, start, { settings, number, context: [] });
    return { ids, row, tokens: ids.reduce((sum, { length }) => sum + length, 0) };
  });
  let done = 0;
  for (const group of generationGroups(all)) {
    signal?.throwIfAborted();
    const encoded = await encodeInputs(
      model,
      group.map(({ ids }) => ids),
      compute,
    );
    const begin = (numbers: readonly number[]) =>
      readStates(
        model,
        numbers.map((i) => encoded[i]!),
        compute,
      );
    const rows = group.map(({ row }) => row);
    for await (const _ of generationPasses(rows, begin, signal));
    done += group.length;
    options.onDone?.(done);
  }
  return all.map(({ row, tokens }) => ({ ...row.result(), promptTokens: tokens }));
}

/**
 * Begins targets that are written together, as {@link generateTargets} does: the reading has the logits of their first tokens.
 *
 * @param targets inputs of each target, as token ids with the end token
 * @throws UsageError when an input has no tokens or one that the model lacks
 */
export async function beginTargets(
  model: SequenceToSequenceModel,
  targets: readonly (readonly ArrayLike<number>[])[],
  compute: ComputeOptions,
): Promise<CachedReading> {
  for (const [number, inputs] of targets.entries()) checkInputs(model, inputs, `of target ${number}`);
  return await readStates(model, await encodeInputs(model, targets, compute), compute);
}

/** Begins targets that read the states of inputs. */
async function readStates(
  model: SequenceToSequenceModel,
  encoded: readonly EncodedInputs[],
  compute: ComputeOptions,
): Promise<CachedReading> {
  const passes = await statePasses(model, encoded, compute);
  return await CachedReading.begin(
    model,
    encoded.map(() => [model.network.startId]),
    { ...compute, passes },
  );
}

/**
 * Makes passes over the tokens of targets, which read the states of their inputs. Keys and values of the states are computed once.
 *
 * @param encoded states of the inputs of each target
 */
async function statePasses(
  model: SequenceToSequenceModel,
  encoded: readonly EncodedInputs[],
  compute: ComputeOptions,
): Promise<CachedPasses> {
  const { network, weights } = model;
  const { hiddenSize, cacheShape } = network.decoder;
  const layers = Array.from({ length: cacheShape.layers }, (_, layer) => layer);
  const name = (layer: number, side: (typeof SIDES)[number]) => `memory/${layer}/${side}`;
  const prepare = await model.program('keysAndValues', compute, (graph, { get }) => {
    const states = graph.input('states', 'f32', ['texts', 'states', hiddenSize]);
    for (const layer of layers) {
      const found = network.keyValues(get, states, layer);
      for (const side of SIDES) graph.output(name(layer, side), found[side]);
    }
  });
  const program = await model.program('generate', compute, (graph, { get }) => {
    const shape = ['texts', cacheShape.heads, 'states', cacheShape.size];
    const read = layers.map((layer) => ({
      key: graph.input(name(layer, 'key'), 'f32', shape),
      value: graph.input(name(layer, 'value'), 'f32', shape),
    }));
    const mask = graph.input('memory/mask', 'f32', ['texts', 'states']);
    const memory = network.memoryOf(get, { keyValues: (layer) => read[layer]!, mask });
    buildReading(graph, get, network.decoder, { memory });
  });
  const { states, statesMask } = stateFeeds(encoded, hiddenSize) as Record<
    'states' | 'statesMask',
    HostTensor
  >;
  const found = await prepare.run({ ...weights, states });
  let memory: Record<string, HostTensor> = { ...found, 'memory/mask': statesMask };
  return {
    run: (feeds) => program.run({ ...weights, ...memory, ...feeds }),
    keep(rows) {
      memory = Object.fromEntries(
        Object.entries(memory).map(([each, tensor]) => [each, rowsOf(tensor, rows)]),
      );
    },
  };
}
