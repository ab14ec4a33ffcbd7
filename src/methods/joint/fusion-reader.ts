import { type Dim, multiplyDims } from '../../graph/dims.ts';
import { fill, mul, reshape, slice, stopGradient, sum, unsqueeze } from '../../graph/ops.ts';
import type { Tensor } from '../../graph/tensor.ts';
import type { LayerMemory } from '../../models/architectures/architecture.ts';
import { AttentionMass } from '../../models/encoder-decoder/attention-mass.ts';
import type { EncoderStates } from '../../models/encoder-decoder/encoder-decoder.ts';
import { beginTargets, generateTargets } from '../../models/encoder-decoder/generate-targets.ts';
import { saveSequenceToSequence } from '../../models/encoder-decoder/save-sequence-to-sequence.ts';
import type { SequenceToSequenceModel } from '../../models/encoder-decoder/sequence-to-sequence.ts';
import { TunedSequenceToSequence } from '../../models/encoder-decoder/tuned-sequence-to-sequence.ts';
import { generateMixed } from '../../models/language/generate-ensemble.ts';
import { noAnswerToken, ReaderPrompt } from '../../models/language/reader-prompt.ts';
import { wholeTableFeeds } from '../../models/retriever/token-feeds.ts';
import { tokenInputs } from '../../models/retriever/token-inputs.ts';
import { type DeclaredParameters, dimUnderPrefix } from '../../nn/parameters.ts';
import { bringToHost } from '../../runtime/device-memory.ts';
import { type HostTensor, hostTensor } from '../../runtime/host-tensor.ts';
import { padSequences } from '../../text/pad-batch.ts';
import { underPrefix } from '../../util/prefixes.ts';
import type { ScoredBatch } from '../step/score-loss.ts';
import {
  type AnswerSequence,
  type AnswerTokens,
  answerFeeds,
  answerTokens,
  endingAnswer,
} from './answer-tokens.ts';
import type { AskedQuery, JointForm, JointReading, PromptPlaces, ReadAnswers } from './joint-form.ts';
import {
  type AskedPrompt,
  answerSettings,
  type CurrentReader,
  JointReader,
  READER_CARD,
  type ReaderSettings,
  type ReadFeeds,
  type ReadPrompt,
} from './joint-reader.ts';

/** Name of the passages with their query, in the inputs of a step. */
const INPUTS = 'inputs';

/** States of the inputs of a batch: those of each query side by side. */
interface BatchStates {
  /** f32[queries, each, T, D] */
  readonly states: Tensor;
  /** f32[queries, each, T] */
  readonly mask: Tensor;
}

/**
 * Encoder-decoder as a reader by Fusion-in-Decoder: each passage is encoded alone, with the query, and the decoder that writes the answer
 * reads the states of all passages of a prompt.
 *
 * A step encodes each candidate once. All prompts read these states.
 */
export class FusionReader extends JointReader<TunedSequenceToSequence> {
  private readonly maxTokens: number | undefined;
  private readonly prompt: ReaderPrompt;

  /** @throws UsageError for a wrong format of the prompt, and where nothing in the model is called as the tuning says */
  constructor(model: SequenceToSequenceModel, settings: ReaderSettings) {
    super(new TunedSequenceToSequence(model, settings.tuning), settings);
    this.maxTokens = settings.maxTokens;
    this.prompt = new ReaderPrompt(settings.prompt);
  }

  check(prompt: ReadPrompt): void {
    this.inputs(prompt);
    this.target(prompt);
  }

  answers(
    part: DeclaredParameters,
    input: ScoredBatch['input'],
    { readings, attention = false }: Pick<JointForm, 'readings' | 'attention'>,
  ): ReadAnswers {
    const { network } = this.tuned.model;
    // Candidates that are read alone have no input beside them.
    const each = readings.every((name) => name === 'alone')
      ? 'k'
      : dimUnderPrefix(part.prefix, `${INPUTS}Each`);
    const texts = tokenInputs(part, INPUTS, { texts: multiplyDims('queries', each) });
    const tokens = texts.ids.shape[1]!;
    const batch: BatchStates = {
      states: reshape(network.encode(part.get, texts), [
        ...['queries', each, tokens],
        network.decoder.hiddenSize,
      ]),
      mask: reshape(texts.mask, ['queries', each, tokens]),
    };
    const mass = new AttentionMass();
    const answers = readings.map((name) => {
      const prompts = name === 'together' ? 1 : 'k';
      const read = () => input(underPrefix(part.prefix, `${name}/read`), 'f32', ['queries', prompts, each]);
      const answer = answerTokens(network.decoder, part, input, {
        ...{ name, prompts, texts: multiplyDims('queries', prompts) },
        memory: (targets) => {
          if (name === 'alone') return network.memory(part.get, aloneStates(batch));
          const states = fusedStates(batch, read());
          if (name === 'without') return this.sharedMemory(part, states, targets.ids.shape[1]!);
          const onAttention = attention ? mass.listener(targets.mask) : undefined;
          const mask = reshape(states.mask, ['queries', multiplyDims(each, tokens)]);
          return network.memory(part.get, { ...states, mask }, { onAttention });
        },
      });
      return [name, answer] as const;
    });
    return {
      answers: Object.fromEntries(answers) as Record<JointReading, AnswerTokens>,
      ...(attention && { attention: attentionToCandidates(mass.mean(), batch) }),
    };
  }

  feeds(
    queries: readonly AskedQuery[],
    readings: Readonly<Partial<Record<JointReading, PromptPlaces>>>,
    learnt: JointReading,
  ): ReadFeeds {
    const { prefix } = this;
    const sizes = this.tuned.model.network.sizes();
    const [B, k] = [queries.length, queries[0]!.candidates.length];
    const all = Object.values(readings);
    // A prompt without a passage reads the query alone, which takes a place of its own after the candidates.
    const isBare = all.some((places) => places.flat().some((read) => read?.length === 0));
    const each = k + Number(isBare);
    const inputs = queries.flatMap(({ query, candidates }) => [
      ...candidates.map((text) => (text === undefined ? [] : this.input(query, text ?? undefined))),
      ...(isBare ? [this.input(query, undefined)] : []),
    ]);
    const targets = queries.map((asked) => this.target(asked));
    const padded = padSequences(inputs);
    const feeds: Record<string, HostTensor> = { ...wholeTableFeeds({ [INPUTS]: padded }, { prefix }) };
    const inputTokens = inputs.reduce((sum, { length }) => sum + length, 0);
    let prompts = 0;
    let tokens = inputTokens;
    let flops = this.learnFlops * inputTokens * sizes.encoder;
    for (const [name, places] of Object.entries(readings)) {
      const n = places[0]!.length;
      const read = new Float32Array(B * n * each);
      // Absent prompts have targets too, so that the states need no selection. Nothing of them is scored.
      const nothing = endingAnswer({ ids: [this.tuned.model.network.startId], from: 1 });
      const sequences = places.flatMap((own, b) =>
        own.map((prompt, j): AnswerSequence => {
          for (const place of prompt?.length === 0 ? [k] : (prompt ?? []))
            read[(b * n + j) * each + place] = 1;
          return prompt ? targets[b]! : nothing;
        }),
      );
      Object.assign(feeds, answerFeeds(sequences, { prefix, name, prompts: n }));
      if (name !== 'alone')
        feeds[underPrefix(prefix, `${name}/read`)] = hostTensor('f32', [B, n, each], read);
      prompts += places.flat().filter((prompt) => prompt).length;
      const targetTokens = sequences.reduce((sum, { ids }) => sum + ids.length, 0);
      tokens += targetTokens;
      flops += this.flopsOf(name, learnt) * (inputTokens * sizes.states + targetTokens * sizes.decoder);
    }
    return { feeds, prompts, tokens, flops };
  }

  async current(): Promise<CurrentReader> {
    const model = await this.merged();
    const inputs = (prompt: AskedPrompt) => this.inputs(prompt);
    return {
      async scoreAnswers(prompts, compute) {
        const examples = prompts.map((prompt) => ({
          inputs: inputs(prompt),
          target: model.targetIds(prompt.answer),
        }));
        const scores = await model.scoreTokens(examples, compute);
        return scores.map(({ logProbabilities }) => logProbabilities);
      },
      async write(prompts, options) {
        const written = await generateTargets(model, prompts.map(inputs), answerSettings(options));
        return written.map(({ text }) => text);
      },
      async writeMixed(prompts, { logWeights, weights, device, threads, ...options }) {
        const compute = { ...(device && { device }), ...(threads && { threads }) };
        const sequences = prompts.map(() => [model.network.startId]);
        const ensemble = { sequences, logWeights, context: [] };
        return await generateMixed(model, ensemble, { ...answerSettings(options), weights }, () =>
          beginTargets(model, prompts.map(inputs), compute),
        );
      },
      dispose: () => model.dispose(),
    };
  }

  async save(folder: string, { trainedSteps }: { readonly trainedSteps: number }): Promise<void> {
    await saveSequenceToSequence(folder, await this.merged(), { trainedSteps, card: READER_CARD });
  }

  private async merged(): Promise<SequenceToSequenceModel> {
    await bringToHost(Object.values(this.weights));
    return this.tuned.merged();
  }

  /** Tokenises what the encoder reads for a passage, or for the query alone. */
  private input(query: string, passage: string | undefined): Int32Array {
    const { prompt, tuned, maxTokens } = this;
    return prompt.context(tuned.model.tokenizer, { passage, query }, { maxTokens });
  }

  private inputs({ query, passages }: Omit<ReadPrompt, 'answer'>): Int32Array[] {
    if (passages.length === 0) return [this.input(query, undefined)];
    return passages.map((passage) => this.input(query, passage));
  }

  /** Makes what the decoder reads and writes: start token, answer and end token. */
  private target(asked: Pick<ReadPrompt, 'query' | 'answer'>): AnswerSequence {
    const { model } = this.tuned;
    const ids = model.targetIds(asked.answer);
    if (ids.length <= Math.min(1, model.endIds.size)) throw noAnswerToken(asked);
    return endingAnswer({ ids: [model.network.startId, ...ids], from: 1 });
  }

  /**
   * Makes the memory of several prompts of each query, which read different inputs of the same states. Keys and values are computed once
   * for a query: its prompts stand one after the other as one text.
   *
   * @param fused.mask f32[queries, k, K]
   * @param targetTokens tokens of each target
   */
  private sharedMemory(
    { get }: DeclaredParameters,
    { states, mask }: EncoderStates,
    targetTokens: Dim,
  ): LayerMemory {
    const { network } = this.tuned.model;
    const [queries, k, all] = mask.shape as [string, string, string];
    const joined = multiplyDims(k, targetTokens);
    const perToken = mul(unsqueeze(mask, 2), fill(mask.graph, 1, [targetTokens, 1]));
    const inner = network.memory(get, { states, mask: reshape(perToken, [queries, joined, all]) });
    const size = network.decoder.hiddenSize;
    return {
      read(layer, hidden, batch) {
        const read = inner.read(layer, reshape(hidden, [queries, joined, size]), batch);
        return read && reshape(read, hidden.shape);
      },
    };
  }
}

/** Returns the states of each candidate as a text of its own, f32[queries·k, T, D]. */
function aloneStates({ states, mask }: BatchStates): EncoderStates {
  const [queries, , tokens, size] = states.shape as [string, string, string, number];
  const texts = multiplyDims(queries, 'k');
  const candidates = (of: Tensor) => slice(of, { axis: 1, start: 0, length: 'k' });
  return {
    states: reshape(candidates(states), [texts, tokens, size]),
    mask: reshape(candidates(mask), [texts, tokens]),
  };
}

/**
 * Returns the states of all inputs of each query side by side, f32[queries, each·T, D], and which of them each prompt reads,
 * f32[queries, prompts, each·T].
 *
 * @param read f32[queries, prompts, each]: 1 for inputs that a prompt reads, 0 for others
 */
function fusedStates({ states, mask }: BatchStates, read: Tensor): EncoderStates {
  const [queries, each, tokens, size] = states.shape as [string, string, string, number];
  const all = multiplyDims(each, tokens);
  const seen = mul(unsqueeze(read, 3), unsqueeze(mask, 1));
  return {
    states: reshape(states, [queries, all, size]),
    mask: reshape(seen, [queries, read.shape[1]!, all]),
  };
}

/**
 * Sums the attention to the states of each candidate. No gradient.
 *
 * @param mass f32[queries, each·T]
 * @returns f32[queries, k]
 */
function attentionToCandidates(mass: Tensor, { mask }: BatchStates): Tensor {
  const inputs = sum(reshape(mass, mask.shape), { axes: 2 });
  return stopGradient(slice(inputs, { axis: 1, start: 0, length: 'k' }));
}
