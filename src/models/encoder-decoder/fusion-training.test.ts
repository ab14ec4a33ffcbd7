import { afterEach, expect, test } from 'vitest';
import { smallRetriever } from '../../../test/small-models.ts';
import { Graph } from '../../graph/graph.ts';
import { adamw } from '../../optim/adamw.ts';
import { gradientsIn, outputGradients } from '../../runtime/gradients.ts';
import { float32, scalarValue } from '../../runtime/host-tensor.ts';
import { joinParameters } from '../../runtime/join-parameters.ts';
import { Learner } from '../../runtime/learner.ts';
import { Program } from '../../runtime/program.ts';
import { rngKey } from '../../util/rng.ts';
import { dropoutKeys } from '../retriever/token-feeds.ts';
import { createSequenceToSequence } from './create-sequence-to-sequence.ts';
import { type SequenceExample, sequenceBatch, sequenceFeeds } from './sequence-batch.ts';
import type { SequenceToSequenceModel } from './sequence-to-sequence.ts';

const COMPUTE = { threads: 1 };
const UPDATE = { learningRate: 0.01, weightDecay: 0, maxGradientNorm: 1 };

const disposables: { dispose(): Promise<void> }[] = [];
afterEach(async () => {
  for (const each of disposables.splice(0)) await each.dispose();
});

const smallModel = (options: object = {}): SequenceToSequenceModel => {
  const { tokenizer } = smallRetriever({ kind: 'static' });
  const model = createSequenceToSequence({
    tokenizer,
    hidden: 16,
    layers: 1,
    heads: 2,
    intermediate: 24,
    ...options,
  });
  disposables.push(model);
  return model;
};

/** Three inputs for each target, one of which has the answer. */
const examplesOf = (model: SequenceToSequenceModel): SequenceExample[] =>
  [
    ['file', 'array', 'number'],
    ['whole', 'number', 'bytes'],
    ['encoding', 'bytes', 'file'],
  ].map((words, i) => ({
    inputs: words.map((word, k) => [...model.inputIds(k === i ? `returns ${word}` : `reads ${word}`)]),
    target: model.targetIds(words[i]!),
  }));

async function train(model: SequenceToSequenceModel, steps: number, dropoutRatio: number): Promise<number[]> {
  const graph = new Graph('fusion');
  const declared = model.declare(graph, { prefix: 'reader' });
  const batch = sequenceBatch(declared, { dropout: dropoutRatio > 0 });
  const loss = model.network.loss(declared.get, batch, { dropoutRatio });
  graph.output('loss', loss);
  outputGradients(loss, {}, declared.targets);
  const joint = joinParameters({ reader: model });
  const learner = await Learner.create(joint.specs, joint.weights, adamw(), COMPUTE);
  const program = await Program.compile(graph, COMPUTE);
  disposables.push(learner, program);
  const examples = examplesOf(model);
  const losses: number[] = [];
  for (let step = 0; step < steps; step++) {
    const key = (name: string) => rngKey(1, step, name);
    const feeds = {
      ...sequenceFeeds(examples, model.network.startId, { prefix: 'reader' }),
      ...(dropoutRatio > 0 && {
        'reader/inputs/dropout': dropoutKeys(key('inputs'), 9),
        'reader/targets/dropout': dropoutKeys(key('targets'), 3),
      }),
    };
    const outputs = await program.run({ ...joint.weights, ...feeds }, { into: learner.gradientBuffers });
    losses.push(scalarValue(outputs.loss));
    await learner.apply(gradientsIn(outputs, feeds), UPDATE);
  }
  return losses;
}

test('a small Fusion-in-Decoder reader learns its targets, and every parameter of both sides moves', async () => {
  const model = smallModel();
  const before = Object.entries(model.weights).map(([name, each]) => [name, float32(each).slice()] as const);
  const losses = await train(model, 30, 0);
  expect(losses.at(-1)).toBeLessThan(0.2 * losses[0]!);
  for (const [name, values] of before) expect(float32(model.weights[name]), name).not.toEqual(values);
  const scores = await model.scoreTokens(examplesOf(model), COMPUTE);
  const all = scores.flatMap(({ logProbabilities }) => [...logProbabilities]);
  const nats = -all.reduce((a, b) => a + b, 0) / all.length;
  expect(nats).toBeLessThan(losses.at(-1)! + 0.05);
});

test('dropout of a step is drawn from its keys, and differs from the loss without it', async () => {
  const [first, again] = [await train(smallModel(), 3, 0.3), await train(smallModel(), 3, 0.3)];
  expect(first).toEqual(again);
  const [plain] = await train(smallModel(), 1, 0);
  expect(Math.abs(first[0]! - plain!)).toBeGreaterThan(1e-4);
});

test('settings of new models', () => {
  const network = (options: object) => smallModel(options).network;
  expect(network({}).config).toMatchObject({
    feed_forward_proj: 'gated-gelu',
    num_decoder_layers: 1,
    d_kv: 8,
  });
  expect(network({ feedForward: 'relu', tied: false, decoderLayers: 2 }).config).toMatchObject({
    feed_forward_proj: 'relu',
    tie_word_embeddings: false,
    scale_decoder_outputs: false,
    num_decoder_layers: 2,
  });
  expect(() => network({ layers: 0 })).toThrow('layers should be a whole number of at least 1, found 0');
  expect(() => network({ feedForward: 'gelu' })).toThrow(/feedForward: unknown kind "gelu"/);
});
