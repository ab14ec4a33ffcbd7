import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { embeddings, largestDifference, smallRetriever } from '../../../test/small-models.ts';
import { tempFiles } from '../../../test/temp-files.ts';
import { Graph } from '../../graph/graph.ts';
import { matmul, range } from '../../graph/ops.ts';
import { readSafetensors } from '../../io/safetensors.ts';
import { softmaxCrossEntropy } from '../../losses/softmax-cross-entropy.ts';
import { adamw } from '../../optim/adamw.ts';
import { gradientsIn, outputGradients } from '../../runtime/gradients.ts';
import { float32, type HostTensor, scalarValue } from '../../runtime/host-tensor.ts';
import { Learner } from '../../runtime/learner.ts';
import { Program } from '../../runtime/program.ts';
import { padBatch } from '../../text/pad-batch.ts';
import { TokenStore } from '../../text/token-store.ts';
import { Tokenizer } from '../../text/tokenizer.ts';
import { normal, rngKey } from '../../util/rng.ts';
import { embeddingSpaceId } from '../retriever/embedding-space.ts';
import { Encoder } from '../retriever/encoder.ts';
import { Retriever } from '../retriever/retriever.ts';
import { TokenFeeds } from '../retriever/token-feeds.ts';
import { tuned } from '../retriever/tuning.ts';
import { loadRetriever, saveRetriever } from './model-folder.ts';
import { writePeftAdapter } from './peft-adapter.ts';

const folderOf = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const readJson = (...path: string[]) => JSON.parse(readFileSync(join(...path), 'utf8'));

const MODELS = folderOf('../architectures/fixtures');
const batches = readJson(MODELS, 'batches.json');
const SIDES = ['query', 'document'] as const;

// What peft makes of the same base models, adapters and batches; tools/reference/lora_golden.py writes it.
describe.each(['bert', 'gpt2'])('%s adapted as by peft', (name) => {
  const folder = join(folderOf('fixtures/lora'), name);
  const { padId, pooling } = readJson(MODELS, name, 'golden.json');
  const golden = readJson(folder, 'golden.json');
  const config = readJson(folder, 'adapter_config.json');
  const stores = (step: number) =>
    SIDES.map((side) => {
      const texts: number[][] = batches.steps[step][side];
      return TokenStore.of(
        Int32Array.from(texts, (text) => text.length),
        Int32Array.from(texts.flat()),
      );
    });
  const expected: Record<string, Float32Array> = {};
  let retriever: Retriever;
  let initial: Record<string, Float32Array>;

  beforeAll(async () => {
    const model = readJson(MODELS, name, 'config.json');
    const encoder = { model, pooling, normalize: true };
    const { tensors } = await readSafetensors(join(MODELS, name, 'model.safetensors'));
    const weights: Record<string, HostTensor> = {};
    for (const spec of new Encoder(encoder).specs)
      weights[`encoder/${spec.name}`] = tensors[spec.name] as HostTensor;
    const base = new Retriever(
      {
        encoder,
        towers: 'shared',
        prompts: { query: '', document: '' },
        maxTokens: { query: 16, document: 16 },
      },
      Tokenizer.fromFile(join(MODELS, 'bert', 'tokenizer.json')),
      { weights },
    );
    const { r: lora, lora_alpha: loraAlpha, target_modules: loraTargets } = config;
    retriever = tuned(base, { lora, loraAlpha, loraTargets });
    const adapter = await readSafetensors(join(folder, 'adapter_model.safetensors'));
    for (const [peft, { data }] of Object.entries(adapter.tensors))
      float32(retriever.weights[ours(peft)]).set(data as Float32Array);
    for (const [key, tensor] of Object.entries(
      (await readSafetensors(join(folder, 'golden.safetensors'))).tensors,
    ))
      expected[key] = tensor.data as Float32Array;
    initial = Object.fromEntries(
      Object.entries(retriever.weights).map(([key, tensor]) => [key, float32(tensor).slice()]),
    );
  });
  afterAll(() => retriever.dispose());

  const ours = (peft: string) => peft.replace('base_model.model.', 'encoder/');

  test('adapters stand where peft puts them', () => {
    const trained = retriever.specs.filter(({ frozen }) => !frozen).map((spec) => spec.name);
    const theirs = Object.keys(expected).filter((key) => key.startsWith('trained/'));
    expect(trained.sort()).toEqual(theirs.map((key) => ours(key.slice('trained/'.length))).sort());
  });

  test('embeddings to 1e-5', async () => {
    const found = await retriever.encodeTokens('document', stores(0)[1]!, { threads: 1 });
    expect(largestDifference(found, expected.embedding!)).toBeLessThan(1e-5);
  });

  test('three steps of AdamW to 1e-4; what is frozen stays to the bit', async () => {
    const graph = new Graph('lora');
    const p = retriever.declare(graph);
    const { query, document } = retriever.embedSides(p, { query: 'query', document: 'document' });
    const scores = matmul(query!, document!, { transB: true, alpha: 1 / batches.temperature });
    const loss = softmaxCrossEntropy(scores, range(graph, 'query'));
    graph.output('loss', loss);
    outputGradients(loss, {}, p.targets);
    const program = await Program.compile(graph, { threads: 1 });
    const learner = await Learner.create(retriever.specs, retriever.weights, adamw(), { threads: 1 });
    const feeder = new TokenFeeds(retriever.encoder.vocabSize);
    for (const [step, { loss: theirLoss, gradientNorm }] of golden.steps.entries()) {
      const padded = stores(step).map((store, i) => [
        SIDES[i]!,
        padBatch(
          store,
          Array.from({ length: store.rows }, (_, row) => row),
          { padId },
        ),
      ]);
      const feeds = feeder.feeds(Object.fromEntries(padded));
      const results = await program.run({ ...retriever.weights, ...feeds });
      const norm = await learner.apply(gradientsIn(results, feeds), {
        learningRate: batches.learningRate,
        weightDecay: batches.weightDecay,
        maxGradientNorm: batches.maxGradientNorm,
      });
      expect(scalarValue(results.loss) / theirLoss).toBeCloseTo(1, 4);
      expect(norm / gradientNorm).toBeCloseTo(1, 4);
    }
    for (const { name: key, frozen } of retriever.specs) {
      const now = float32(retriever.weights[key]);
      if (frozen)
        expect(Buffer.compare(Buffer.from(now.buffer), Buffer.from(initial[key]!.buffer)), key).toBe(0);
      else {
        const theirs = expected[`trained/${key.replace('encoder/', 'base_model.model.')}`]!;
        expect(largestDifference(now, theirs), key).toBeLessThan(1e-5);
        expect(largestDifference(now, initial[key]!), key).toBeGreaterThan(1e-3);
      }
    }
    await program.dispose();
    await learner.dispose();
  });
});

describe('a retriever with adapters', () => {
  const make = (towers: 'shared' | 'separate') => {
    const { config, tokenizer, weights } = smallRetriever({ kind: 'transformer', towers });
    const retriever = tuned(new Retriever(config, tokenizer, { weights }), {
      lora: 4,
      loraTargets: ['all-linear'],
    });
    for (const { name, frozen } of retriever.specs) {
      if (frozen) continue;
      const values = float32(retriever.weights[name]);
      normal(rngKey(2, 0, name), values);
      // Not so large that attention is all or nothing, where a rounding decides.
      for (let i = 0; i < values.length; i++) values[i]! *= 0.2;
    }
    return retriever;
  };

  test.each(['shared', 'separate'] as const)(
    'is saved as an ordinary model with the same vectors and embedding space: %s towers',
    async (towers) => {
      const retriever = make(towers);
      const folder = join(tempFiles(), 'model');
      const space = await saveRetriever(folder, retriever);
      expect(space).toBe(embeddingSpaceId(retriever));
      const merged = await loadRetriever(folder);
      expect(merged.adapters.size).toBe(0);
      expect(embeddingSpaceId(merged)).toBe(space);
      const [theirs, own] = [await embeddings(merged), await embeddings(retriever)];
      for (const side of SIDES) expect(largestDifference(theirs[side], own[side])).toBeLessThan(1e-6);
      const plain = smallRetriever({ kind: 'transformer', towers });
      expect(largestDifference((await embeddings(plain)).query, own.query)).toBeGreaterThan(0.1);
      for (const each of [retriever, merged, plain]) await each.dispose();
    },
  );

  test('begins as what it adapts', async () => {
    const { config, tokenizer, weights } = smallRetriever({ kind: 'transformer' });
    const plain = new Retriever(config, tokenizer, { weights });
    const adapted = tuned(plain, { lora: 4 });
    expect(await embeddings(adapted)).toEqual(await embeddings(plain));
    expect(embeddingSpaceId(adapted)).toBe(embeddingSpaceId(plain));
    await plain.dispose();
    await adapted.dispose();
  });

  test('writes its adapters in the form of peft, and removes those of an earlier run', async () => {
    const folder = join(tempFiles(), 'adapter');
    const retriever = make('separate');
    await writePeftAdapter(folder, retriever, { baseModel: 'base' });
    const config = readJson(folder, 'document', 'adapter_config.json');
    expect(config).toMatchObject({ peft_type: 'LORA', r: 4, lora_alpha: 8, fan_in_fan_out: false });
    expect(config.target_modules).toContain('encoder.layer.1.output.dense');
    const { tensors } = await readSafetensors(join(folder, 'query', 'adapter_model.safetensors'));
    const name = 'encoder.layer.0.attention.self.key.lora_B.weight';
    expect(tensors[`base_model.model.${name}`]!.data).toEqual(retriever.weights[`query/${name}`]!.data);
    expect(Object.keys(tensors)).toHaveLength(2 * config.target_modules.length);
    await writePeftAdapter(folder, smallRetriever({ kind: 'static' }), { baseModel: 'base' });
    expect(() => readJson(folder, 'document', 'adapter_config.json')).toThrow('ENOENT');
  });
});
