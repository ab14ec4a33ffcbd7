import type { Dim } from '../../graph/dims.ts';
import { gather, mul } from '../../graph/ops.ts';
import type { Tensor } from '../../graph/tensor.ts';
import type { LayerMemory, TokenInputs } from '../../models/architectures/architecture.ts';
import { typeFeed } from '../../models/masked/score-masked.ts';
import { wholeTableFeeds } from '../../models/retriever/token-feeds.ts';
import { tokenInputs } from '../../models/retriever/token-inputs.ts';
import type { DeclaredParameters, Parameters } from '../../nn/parameters.ts';
import { type HostTensor, hostTensor } from '../../runtime/host-tensor.ts';
import { padSequences } from '../../text/pad-batch.ts';
import { underPrefix } from '../../util/prefixes.ts';
import type { ScoredBatch } from '../step/score-loss.ts';

/** Log-probabilities of the answers to the queries of a batch, for each prompt of a query. */
export interface AnswerTokens {
  /** f32[queries, prompts, J]: log p of each token of an answer; 0 past its end, and where there is no prompt. */
  readonly logProbabilities: Tensor;
  /** f32[queries, prompts, J]: 1 for tokens of an answer, 0 past its end, and where there is no prompt. */
  readonly scored: Tensor;
}

/** Token sequence that a reader reads, and the places in it that predict an answer. */
export interface AnswerSequence {
  readonly ids: ArrayLike<number>;
  /** Segment of each token, for readers that read segments. */
  readonly types?: Int32Array | undefined;
  /** Positions of the states that predict the tokens of the answer. */
  readonly places: ArrayLike<number>;
  /** Tokens of the answer. */
  readonly answer: ArrayLike<number>;
}

/** Makes the sequence of a decoder: the state of each token predicts the next one, and the answer is the end of the text. */
export const endingAnswer = ({
  ids,
  from,
}: {
  readonly ids: ArrayLike<number>;
  /** Position of the first token of the answer, ≥ 1. */
  readonly from: number;
}): AnswerSequence => ({
  ids,
  places: Array.from({ length: ids.length - from }, (_, j) => from + j - 1),
  answer: Array.from({ length: ids.length - from }, (_, j) => ids[from + j]!),
});

/** Network that predicts tokens from the states of places, such as a `Decoder` or a `MaskedNetwork`. */
export interface AnsweringNetwork {
  scoreTokens(
    p: Parameters,
    inputs: TokenInputs,
    tokens: { readonly places: Tensor; readonly ids: Tensor },
    options: { readonly memory?: LayerMemory | undefined },
  ): { readonly logProbabilities: Tensor };
}

/**
 * Builds the reading of prompts in the graph of a step: the log-probabilities of the answers' tokens, with a gradient to the reader. Only
 * these tokens get logits. `answerFeeds` makes the inputs.
 *
 * @param part  reader, as declared in the graph
 * @param options.name  name of the inputs
 * @param options.types  whether the reader reads segments; default no
 * @param options.prompts  number of prompts of a query, as a dimension
 * @param options.texts  number of sequences, as a dimension; default one of its own
 * @param options.memory  makes what the decoder reads beside the sequences; default nothing
 */
export function answerTokens(
  network: AnsweringNetwork,
  part: DeclaredParameters,
  input: ScoredBatch['input'],
  {
    name,
    prompts,
    texts: count,
    types,
    memory,
  }: {
    name: string;
    prompts: Dim;
    texts?: Dim;
    types?: boolean;
    memory?: (texts: TokenInputs) => LayerMemory;
  },
): AnswerTokens {
  const texts = tokenInputs(part, name, { texts: count, types });
  const own = (field: string) => underPrefix(part.prefix, `${name}/${field}`);
  const scoredDim = `${name}Scored`;
  const { logProbabilities } = network.scoreTokens(
    part.get,
    texts,
    {
      places: input(own('places'), 'i64', [scoredDim]),
      ids: input(own('next'), 'i64', [scoredDim]),
    },
    { memory: memory?.(texts) },
  );
  const shape = ['queries', prompts, `${name}Answer`];
  const scored = input(own('scored'), 'f32', shape);
  return {
    logProbabilities: mul(gather(logProbabilities, input(own('slots'), 'i64', shape)), scored),
    scored,
  };
}

/**
 * Makes the inputs of `answerTokens`.
 *
 * @param sequences  prompts by query and place, [queries × of.prompts]; undefined where there is none, so that it is not read
 * @param of.prefix  prefix of the reader in the graph
 * @param of.name  name of the inputs
 * @param of.prompts  number of prompts of a query
 * @param of.types  whether the reader reads segments; default no
 */
export function answerFeeds(
  sequences: readonly (AnswerSequence | undefined)[],
  of: { readonly prefix: string; readonly name: string; readonly prompts: number; readonly types?: boolean },
): Record<string, HostTensor> {
  const { prefix } = of;
  const given = sequences.flatMap((each) => each ?? []);
  const texts = padSequences(given.map(({ ids }) => ids));
  const longest = Math.max(1, ...given.map(({ answer }) => answer.length));
  const places: bigint[] = [];
  const next: bigint[] = [];
  const slots = new BigInt64Array(sequences.length * longest);
  const scored = new Float32Array(sequences.length * longest);
  let row = 0;
  for (const [at, prompt] of sequences.entries()) {
    if (!prompt) continue;
    const start = row++ * texts.tokens;
    for (let j = 0; j < prompt.answer.length; j++) {
      const slot = at * longest + j;
      slots[slot] = BigInt(places.length);
      scored[slot] = 1;
      places.push(BigInt(start + prompt.places[j]!));
      next.push(BigInt(prompt.answer[j]!));
    }
  }
  const list = (values: bigint[]) => hostTensor('i64', [values.length], BigInt64Array.from(values));
  const shape = [sequences.length / of.prompts, of.prompts, longest];
  const own = (field: string) => underPrefix(prefix, `${of.name}/${field}`);
  return {
    ...wholeTableFeeds({ [of.name]: texts }, { prefix }),
    ...(of.types && {
      [own('types')]: typeFeed(
        given.map(({ types = new Int32Array(0) }) => ({ types })),
        texts,
      ),
    }),
    [own('places')]: list(places),
    [own('next')]: list(next),
    [own('slots')]: hostTensor('i64', shape, slots),
    [own('scored')]: hostTensor('f32', shape, scored),
  };
}
