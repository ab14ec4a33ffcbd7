import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test } from 'vitest';
import { smallRetriever, TEXTS } from '../../../test/small-models.ts';
import { tempFiles } from '../../../test/temp-files.ts';
import { multiplyDims } from '../../graph/dims.ts';
import { Graph } from '../../graph/graph.ts';
import {
  add,
  logSoftmax,
  logSumExp,
  matmul,
  mean,
  mul,
  neg,
  range,
  reshape,
  slice,
  sum,
} from '../../graph/ops.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { readSafetensors, writeSafetensors } from '../../io/safetensors.ts';
import { nextTokenLogProbabilities, nextTokenLoss } from '../../losses/next-token.ts';
import { softmaxCrossEntropy } from '../../losses/softmax-cross-entropy.ts';
import type { DeclaredParameters } from '../../nn/parameters.ts';
import { adamw } from '../../optim/adamw.ts';
import { gradientsIn, outputGradients } from '../../runtime/gradients.ts';
import { float32, type HostTensor, scalarValue } from '../../runtime/host-tensor.ts';
import { joinParameters, type ModelParameters } from '../../runtime/join-parameters.ts';
import { Learner } from '../../runtime/learner.ts';
import { Program } from '../../runtime/program.ts';
import { padBatch } from '../../text/pad-batch.ts';
import { TokenStore } from '../../text/token-store.ts';
import { addPrefix } from '../../util/prefixes.ts';
import type { Retriever, Side } from '../retriever/retriever.ts';
import { type PaddedTokens, TokenFeeds, wholeTableFeeds } from '../retriever/token-feeds.ts';
import { tokenInputs } from '../retriever/token-inputs.ts';
import { LanguageModel } from './language-model.ts';

const COMPUTE = { threads: 1 };
const UPDATE = { learningRate: 0.01, weightDecay: 0.01, maxGradientNorm: 0 };
const STEPS = 20;

type Feeds = Record<string, HostTensor>;

/** A model with a loss of its own: what trains alone, or beside others in one graph. */
interface Part {
  readonly model: ModelParameters & {
    declare(graph: Graph, options: { prefix: string }): DeclaredParameters;
  };
  /** Declares the model under the prefix, and its loss. */
  build(graph: Graph, prefix: string): { declared: DeclaredParameters; loss: Tensor };
  feeds(prefix: string, step: number): Feeds;
}

const disposables: { dispose(): Promise<void> }[] = [];
afterEach(async () => {
  for (const each of disposables.splice(0)) await each.dispose();
});

/** Rows 0 … n − 1 of a store, padded. */
const whole = (store: TokenStore, padId: number): PaddedTokens =>
  padBatch(
    store,
    Array.from({ length: store.rows }, (_, row) => row),
    { padId },
  );

const padded = (retriever: Retriever, side: Side, texts: readonly string[]): PaddedTokens =>
  whole(
    retriever.tokenize(side, texts.length, (row) => texts[row]!),
    retriever.padId,
  );

function words(model: LanguageModel, texts: readonly string[]): PaddedTokens {
  const store = TokenStore.build(model.tokenizer, texts.length, (row) => texts[row]!, { maxTokens: 32 });
  return whole(store, 0);
}

async function decoder(name: string): Promise<LanguageModel> {
  const model = await LanguageModel.load(
    join(fileURLToPath(new URL('fixtures/causal', import.meta.url)), name),
  );
  disposables.push(model);
  return model;
}

/** A decoder on the next token of two texts, others at each step. */
function readerPart(model: LanguageModel): Part {
  const texts = ['abcdefg', 'zyxwvutsrq', 'AbAbAb', 'hello'];
  return {
    model,
    build(graph, prefix) {
      const declared = model.declare(graph, { prefix });
      const { ids, mask } = tokenInputs(declared, 'passages');
      return { declared, loss: nextTokenLoss(model.decoder.logits(declared.get, { ids, mask }), ids, mask) };
    },
    feeds: (prefix, step) =>
      wholeTableFeeds({ passages: words(model, [texts[step % 4]!, texts[(step + 1) % 4]!]) }, { prefix }),
  };
}

/** A retriever with negatives of the batch. Its queries are the beginnings of the documents. */
function retrieverPart(retriever: Retriever, documents: readonly string[]): Part {
  disposables.push(retriever);
  const queries = documents.map((text) => text.slice(0, 12));
  return {
    model: retriever,
    build(graph, prefix) {
      const declared = retriever.declare(graph, { prefix });
      const sides = { queries: 'query', documents: 'document' } as const;
      const found = retriever.embedSides(declared, sides, { packed: true });
      const scores = matmul(found.queries!, found.documents!, { transB: true, alpha: 5 });
      return { declared, loss: softmaxCrossEntropy(scores, range(graph, 'queries')) };
    },
    feeds: (prefix) =>
      new TokenFeeds(retriever.encoder.vocabSize, { prefix }).feeds(
        {
          queries: padded(retriever, 'query', queries),
          documents: padded(retriever, 'document', documents),
        },
        { packed: retriever.encoder.packs },
      ),
  };
}

/** Parts in one graph, the sum of their losses, one learner. */
class JointTraining {
  readonly parts: Readonly<Record<string, Part>>;
  readonly joint: ModelParameters;
  readonly learner: Learner;
  private readonly program: Program;

  private constructor(
    parts: Readonly<Record<string, Part>>,
    made: { joint: ModelParameters; learner: Learner; program: Program },
  ) {
    this.parts = parts;
    this.joint = made.joint;
    this.learner = made.learner;
    this.program = made.program;
  }

  static async create(parts: Readonly<Record<string, Part>>): Promise<JointTraining> {
    const graph = new Graph('joint');
    const built = Object.entries(parts).map(([prefix, part]) => part.build(graph, prefix));
    const loss = built.map((each) => each.loss).reduce((a, b) => add(a, b));
    graph.output('loss', loss);
    outputGradients(loss, {}, ...built.map(({ declared }) => declared.targets));
    const models = Object.entries(parts).map(([prefix, { model }]) => [prefix, model] as const);
    const joint = joinParameters(Object.fromEntries(models));
    const learner = await Learner.create(joint.specs, joint.weights, adamw(), COMPUTE);
    const program = await Program.compile(graph, COMPUTE);
    disposables.push(learner, program);
    return new JointTraining(parts, { joint, learner, program });
  }

  async gradients(step: number) {
    const feeds = Object.assign(
      {},
      ...Object.entries(this.parts).map(([prefix, part]) => part.feeds(prefix, step)),
    ) as Feeds;
    const into = this.learner.gradientBuffers;
    const outputs = await this.program.run({ ...this.joint.weights, ...feeds }, { into });
    return { loss: scalarValue(outputs.loss), gradients: gradientsIn(outputs, feeds) };
  }

  /** @returns  the loss of each step */
  async train(steps: number): Promise<number[]> {
    const losses: number[] = [];
    while (losses.length < steps) {
      const { loss, gradients } = await this.gradients(this.learner.step);
      losses.push(loss);
      await this.learner.apply(gradients, UPDATE);
    }
    return losses;
  }
}

const values = (tensors: Readonly<Record<string, HostTensor>>): Record<string, number[]> =>
  Object.fromEntries(Object.entries(tensors).map(([name, { data }]) => [name, Array.from(data, Number)]));

const STATIC_TEXTS = TEXTS.slice(0, 3);
const OTHER_TEXTS = [TEXTS[4]!, 'opens a file', 'the encoding'];

/** Fresh models of the same weights at each call. */
const CASES: Record<string, () => Promise<Record<string, Part>>> = {
  'gpt2 and a bag of tokens': async () => ({
    reader: readerPart(await decoder('gpt2')),
    retriever: retrieverPart(smallRetriever({ kind: 'static' }), STATIC_TEXTS),
  }),
  'llama, its logits not tied, and two separate BERTs': async () => ({
    reader: readerPart(await decoder('llama-untied')),
    retriever: retrieverPart(smallRetriever({ kind: 'transformer', towers: 'separate' }), STATIC_TEXTS),
  }),
  'two bags of tokens, with batches of the same names': async () => ({
    first: retrieverPart(smallRetriever({ kind: 'static' }), STATIC_TEXTS),
    second: retrieverPart(smallRetriever({ kind: 'static', seed: 4, hidden: 16 }), OTHER_TEXTS),
  }),
  'three models, one of them without a prefix': async () => ({
    '': retrieverPart(smallRetriever({ kind: 'static' }), STATIC_TEXTS),
    'far/bert': retrieverPart(smallRetriever({ kind: 'transformer' }), OTHER_TEXTS),
    reader: readerPart(await decoder('qwen3-tied')),
  }),
};

describe.each(Object.entries(CASES))('%s', (_, make) => {
  test('loss falls, all parameters move, and to the bit as in graphs of their own', async () => {
    const parts = await make();
    const together = await JointTraining.create(parts);
    const before = values(together.joint.weights);
    const first = await together.gradients(0);
    const gradients = values(first.gradients.byName);
    const losses = await together.train(STEPS);
    expect(losses[0]).toBe(first.loss);
    expect(losses.at(-1)).toBeLessThan(0.8 * losses[0]!);
    const after = values(together.joint.weights);
    for (const { name } of together.joint.specs) expect(after[name], name).not.toEqual(before[name]);

    let sumOfLosses = 0;
    for (const [prefix, part] of Object.entries(await make())) {
      const alone = await JointTraining.create({ '': part });
      const start = prefix === '' ? '' : `${prefix}/`;
      const own = await alone.gradients(0);
      sumOfLosses += own.loss;
      for (const [name, gradient] of Object.entries(addPrefix(start, values(own.gradients.byName))))
        expect(gradients[name], name).toEqual(gradient);
      await alone.train(STEPS);
      for (const [name, weight] of Object.entries(addPrefix(start, values(alone.joint.weights))))
        expect(after[name], name).toEqual(weight);
    }
    expect(first.loss).toBeCloseTo(sumOfLosses, 5);
  });

  test('a checkpoint continues to the same bytes', async () => {
    const whole = await JointTraining.create(await make());
    await whole.train(STEPS / 2);
    const folder = tempFiles();
    const saved = whole.learner.state();
    await writeSafetensors(join(folder, 'parameters'), whole.learner.parameters);
    await writeSafetensors(join(folder, 'optimizer'), saved.tensors);
    const losses = await whole.train(STEPS / 2);

    const resumed = await JointTraining.create(await make());
    const { tensors: parameters } = await readSafetensors(join(folder, 'parameters'));
    const { tensors } = await readSafetensors(join(folder, 'optimizer'));
    resumed.learner.restore(saved.step, parameters as Feeds, tensors as Feeds);
    expect(await resumed.train(STEPS / 2)).toEqual(losses);
    expect(values(resumed.joint.weights)).toEqual(values(whole.joint.weights));
    expect(values(resumed.learner.state().tensors)).toEqual(values(whole.learner.state().tensors));
  });
});

test('each lookup table moves at the rows of its own batch, and nowhere else', async () => {
  const parts = await CASES['two bags of tokens, with batches of the same names']!();
  const training = await JointTraining.create(parts);
  const before = values(training.joint.weights);
  const { gradients } = await training.gradients(0);
  expect(Object.keys(gradients.rows).sort()).toEqual(['first/rows', 'second/rows']);
  const rows = values(gradients.rows);
  expect(rows['first/rows']!.length).not.toBe(rows['second/rows']!.length);
  await training.learner.apply(gradients, { ...UPDATE, weightDecay: 0 });
  for (const prefix of ['first', 'second']) {
    const name = `${prefix}/encoder/embedding.weight`;
    const [V, D] = training.joint.weights[name]!.dims as [number, number];
    const row = (table: number[], r: number) => table.slice(r * D, (r + 1) * D);
    const after = Array.from(training.joint.weights[name]!.data, Number);
    const moved = Array.from({ length: V }, (_, r) => r).filter(
      (r) => row(after, r).join() !== row(before[name]!, r).join(),
    );
    // Padding is among the rows, and has a gradient of zero.
    const fed = rows[`${prefix}/rows`]!.filter((r) => r !== smallRetriever({ kind: 'static' }).padId);
    expect(moved, prefix).toEqual(fed.sort((a, b) => a - b));
  }
});

/**
 * A reader that reads each document before it answers, and a retriever that says which document to believe:
 * −log p(y | q) = −log Σ_z p(z | q) p(y | z), with a gradient to both (REALM, arXiv:2002.08909, eq. 1).
 */
test('marginal likelihood: one loss reaches reader and retriever through each other', async () => {
  const reader = await decoder('gpt2');
  const retriever = smallRetriever({ kind: 'static' });
  disposables.push(retriever);
  const queries = ['arc tangent', 'reads a whole file'];
  const documents = [TEXTS[0]!, TEXTS[4]!, TEXTS[1]!];
  // Answer of each query, and what the reader has of each document.
  const [answers, hints] = [
    ['abcd', 'wxyz'],
    ['aaaa', 'zzzz', 'mmmm'],
  ];

  const graph = new Graph('marginal');
  const found = retriever.declare(graph, { prefix: 'retriever' });
  const read = reader.declare(graph, { prefix: 'reader' });
  const vectors = retriever.embedSides(found, { queries: 'query', documents: 'document' });
  const scores = matmul(vectors.queries!, vectors.documents!, { transB: true, alpha: 5 });
  const { ids, mask } = tokenInputs(read, 'passages', { texts: multiplyDims('queries', 'documents') });
  const answered = mul(
    nextTokenLogProbabilities(reader.decoder.logits(read.get, { ids, mask }), ids),
    // Of each passage the last four tokens, and the one that ends it, are the answer.
    slice(graph.input('isAnswer', 'f32', mask.shape), { axis: 1, start: 1 }),
  );
  const likelihoods = reshape(sum(answered, { axes: 1 }), ['queries', 'documents']);
  const loss = neg(mean(logSumExp(add(logSoftmax(scores), likelihoods), { axes: 1 })));
  graph.output('loss', loss);
  outputGradients(loss, {}, read.targets, found.targets);

  const joint = joinParameters({ reader, retriever });
  const learner = await Learner.create(joint.specs, joint.weights, adamw(), COMPUTE);
  const program = await Program.compile(graph, COMPUTE);
  disposables.push(learner, program);
  const passages = words(
    reader,
    answers.flatMap((answer) => hints.map((hint) => hint + answer)),
  );
  const isAnswer = passages.mask.map((kept, i) => (i % passages.tokens >= 5 ? kept : 0));
  const feeds = {
    ...new TokenFeeds(retriever.encoder.vocabSize, { prefix: 'retriever' }).feeds({
      queries: padded(retriever, 'query', queries),
      documents: padded(retriever, 'document', documents),
    }),
    ...wholeTableFeeds({ passages }, { prefix: 'reader' }),
    isAnswer: { dtype: 'f32', dims: [passages.batch, passages.tokens], data: isAnswer } as HostTensor,
  };
  const before = values(joint.weights);
  const losses: number[] = [];
  for (let step = 0; step < 2 * STEPS; step++) {
    const outputs = await program.run({ ...joint.weights, ...feeds }, { into: learner.gradientBuffers });
    losses.push(scalarValue(outputs.loss));
    const gradients = gradientsIn(outputs, feeds);
    if (step === 0) {
      for (const [name, gradient] of Object.entries(gradients.byName)) {
        expect(Math.hypot(...float32(gradient)), name).toBeGreaterThan(1e-6);
      }
    }
    await learner.apply(gradients, { ...UPDATE, maxGradientNorm: 1 });
  }
  expect(losses.at(-1)).toBeLessThan(0.5 * losses[0]!);
  const after = values(joint.weights);
  for (const { name } of joint.specs) expect(after[name], name).not.toEqual(before[name]);
});
