import type { Tensor } from '../../graph/tensor.ts';
import type { ComputeOptions } from '../../runtime/devices.ts';
import { float32, type HostTensor, hostTensor } from '../../runtime/host-tensor.ts';
import type { LanguageModel } from './language-model.ts';
import type { ScoredTokens } from './score-tokens.ts';

const SIDES = ['key', 'value'] as const;

/** Tokens that a language model has read, with their keys and values. */
export interface ReadPrefix {
  /** Number of tokens P, at least one. */
  readonly tokens: number;
  /** Keys and values of each layer, f32[1, G, P, S], by the name of the input. */
  readonly past: Readonly<Record<string, HostTensor>>;
}

/**
 * Reads the beginning of texts, which several texts may share.
 *
 * @param ids  token ids, at least one
 */
export async function readPrefix(
  model: LanguageModel,
  ids: Int32Array,
  compute: ComputeOptions,
): Promise<ReadPrefix> {
  const { decoder, weights } = model;
  const program = await model.program('prefix', compute, (graph, { get }) => {
    const dims = ['texts', 'tokens'];
    decoder.hidden(get, {
      ids: graph.input('ids', 'i64', dims),
      mask: graph.input('mask', 'f32', dims),
      cache: {
        attended(layer, own) {
          for (const side of SIDES) graph.output(`past/${layer}/${side}`, own[side]);
          return [own];
        },
      },
    });
  });
  const past = await program.run({ ...weights, ...ownTokens(ids) });
  return { tokens: ids.length, past };
}

/**
 * Computes log p(x_t | x_<t) of tokens of a text after its beginning, f32[n] in nats.
 *
 * @param prefix  beginning of the text
 * @param rest  tokens after the beginning; `from` ≥ 1 is the position of the first token to score among them
 */
export async function scoreAfter(
  model: LanguageModel,
  prefix: ReadPrefix,
  { ids, from = 1 }: ScoredTokens,
  compute: ComputeOptions,
): Promise<Float32Array> {
  const { decoder, weights } = model;
  const { layers, heads, size } = decoder.cacheShape;
  const program = await model.program('suffix', compute, (graph, { get }) => {
    const [texts, tokens, seen] = ['texts', 'tokens', 'seen'];
    const past = Array.from({ length: layers }, (_, layer) => {
      const [key, value] = SIDES.map((side) =>
        graph.input(`past/${layer}/${side}`, 'f32', [texts, heads, seen, size]),
      ) as [Tensor, Tensor];
      return { key, value };
    });
    const inputs = {
      ids: graph.input('ids', 'i64', [texts, tokens]),
      mask: graph.input('mask', 'f32', [texts, tokens]),
      positions: graph.input('positions', 'i64', [texts, tokens]),
      cache: {
        mask: graph.input('seen', 'f32', [texts, seen]),
        attended: (layer: number, own: { key: Tensor; value: Tensor }) => [past[layer]!, own],
      },
    };
    const chosen = {
      places: graph.input('places', 'i64', ['rows']),
      ids: graph.input('next', 'i64', ['rows']),
    };
    graph.output('logProbabilities', decoder.scoreTokens(get, inputs, chosen).logProbabilities);
  });
  const list = Int32Array.from(ids);
  const scored = Array.from({ length: list.length - from }, (_, i) => from + i);
  const { tokens: P } = prefix;
  const { logProbabilities } = await program.run({
    ...weights,
    ...prefix.past,
    ...ownTokens(list),
    positions: whole(
      [1, list.length],
      Array.from(list, (_, t) => P + t),
    ),
    seen: hostTensor('f32', [1, P], new Float32Array(P).fill(1)),
    places: whole(
      [scored.length],
      scored.map((t) => t - 1),
    ),
    next: whole(
      [scored.length],
      scored.map((t) => list[t]!),
    ),
  });
  return float32(logProbabilities).slice();
}

const ownTokens = (ids: Int32Array) => ({
  ids: whole([1, ids.length], ids),
  mask: hostTensor('f32', [1, ids.length], new Float32Array(ids.length).fill(1)),
});

const whole = (dims: number[], values: Iterable<number>): HostTensor =>
  hostTensor('i64', dims, BigInt64Array.from(Array.from(values, BigInt)));
