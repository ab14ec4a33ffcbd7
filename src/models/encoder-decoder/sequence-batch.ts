import { multiplyDims } from '../../graph/dims.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { dimUnderPrefix, type GraphPlace } from '../../nn/parameters.ts';
import { type HostTensor, hostTensor } from '../../runtime/host-tensor.ts';
import { padSequences } from '../../text/pad-batch.ts';
import { UsageError } from '../../util/errors.ts';
import { underPrefix } from '../../util/prefixes.ts';
import type { TokenInputs } from '../architectures/architecture.ts';
import { wholeTableFeeds } from '../retriever/token-feeds.ts';
import { tokenInputs } from '../retriever/token-inputs.ts';

/** Token sequences that an encoder-decoder reads, and the target that it is to write. */
export interface SequenceExample {
  /**
   * Token ids of each input. Each is encoded alone, and the decoder reads the states of all: one for plain sequence to sequence, one for
   * each passage in Fusion-in-Decoder. None: the decoder reads nothing.
   */
  readonly inputs: readonly ArrayLike<number>[];
  /** Token ids of the target, without the start token, and with its end token where it should end. */
  readonly target: ArrayLike<number>;
}

/** Batch of examples inside a graph: B targets with n inputs each. */
export interface SequenceBatch {
  /** Inputs, i64[B·n, T]: those of the first target, then those of the second, and so on. */
  readonly inputs: TokenInputs;
  /** f32[B, n]: 1 for inputs that are read, 0 for others, such as one that is left out and those that only fill the batch. */
  readonly read: Tensor;
  /** Targets, i64[B, U], the start token first. */
  readonly targets: TokenInputs;
}

/** Names of the inputs of a batch of examples. */
export interface SequenceBatchNames {
  /** Name of the inputs. Default `inputs`. */
  readonly inputs?: string | undefined;
  /** Name of the targets. Default `targets`. */
  readonly targets?: string | undefined;
}

/**
 * Declares a batch of examples as inputs of a graph: `inputs/ids`, `inputs/mask` and `inputs/read`, `targets/ids` and `targets/mask`, and
 * with dropout `inputs/dropout` and `targets/dropout`. The model's prefix stands before these names. `sequenceFeeds` makes the tensors.
 *
 * @param place graph and prefix of the model, as `declare` returns them
 * @param options.dropout whether to declare random words for dropout (see `dropoutKeys`). Default false
 */
export function sequenceBatch(
  place: GraphPlace,
  {
    inputs = 'inputs',
    targets = 'targets',
    dropout = false,
  }: SequenceBatchNames & { dropout?: boolean } = {},
): SequenceBatch {
  const { graph, prefix } = place;
  const each = dimUnderPrefix(prefix, `${inputs}Each`);
  return {
    inputs: tokenInputs(place, inputs, { texts: multiplyDims(targets, each), dropout }),
    read: graph.input(underPrefix(prefix, `${inputs}/read`), 'f32', [targets, each]),
    targets: tokenInputs(place, targets, { dropout }),
  };
}

/**
 * Converts examples into the program inputs of `sequenceBatch`, padded at the end with token 0.
 *
 * Examples may have different numbers of inputs: absent ones are masked.
 *
 * @param startId id of the token before each target (see `EncoderDecoder`)
 * @param options.prefix prefix of the model in its graph, default none
 * @throws UsageError for no examples, and for an input or target without tokens
 */
export function sequenceFeeds(
  examples: readonly SequenceExample[],
  startId: number,
  { prefix = '', inputs = 'inputs', targets = 'targets' }: SequenceBatchNames & { prefix?: string } = {},
): Record<string, HostTensor> {
  if (examples.length === 0) throw new UsageError('a batch of no examples');
  for (const [i, { target }] of examples.entries())
    if (target.length === 0) throw new UsageError(`example ${i} has a target of no tokens`);
  const each = examples.reduce((most, example) => Math.max(most, example.inputs.length), 1);
  const read = new Float32Array(examples.length * each);
  const slots = examples.flatMap((example, i) =>
    Array.from({ length: each }, (_, k) => {
      const input = example.inputs[k];
      if (input?.length === 0) throw new UsageError(`input ${k} of example ${i} has no tokens`);
      if (input) read[i * each + k] = 1;
      return input ?? [];
    }),
  );
  const written = examples.map(({ target }) => [startId, ...Array.from(target)]);
  return {
    ...wholeTableFeeds({ [inputs]: padSequences(slots), [targets]: padSequences(written) }, { prefix }),
    [underPrefix(prefix, `${inputs}/read`)]: hostTensor('f32', [examples.length, each], read),
  };
}
