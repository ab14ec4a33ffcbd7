import { cpSync, existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { largestDifference } from '../../../test/small-models.ts';
import { tempFiles } from '../../../test/temp-files.ts';
import { backward } from '../../grad/backward.ts';
import { Graph } from '../../graph/graph.ts';
import { MemoryPlan } from '../../graph/memory-plan.ts';
import { matmul, range } from '../../graph/ops.ts';
import type { Tensor as SymbolicTensor } from '../../graph/tensor.ts';
import { openSafetensors, readSafetensors, writeSafetensors } from '../../io/safetensors.ts';
import { softmaxCrossEntropy } from '../../losses/softmax-cross-entropy.ts';
import type { Pooling } from '../../nn/layers.ts';
import { type DeclaredParameters, declareParameters, ROWS_INPUT } from '../../nn/parameters.ts';
import { adamw } from '../../optim/adamw.ts';
import { gradientOutput } from '../../runtime/gradients.ts';
import { float32, type HostTensor, hostTensor, scalarValue } from '../../runtime/host-tensor.ts';
import { Learner } from '../../runtime/learner.ts';
import { Program } from '../../runtime/program.ts';
import { loadRetriever, saveRetriever } from '../folder/model-folder.ts';
import { readWeights } from '../folder/weight-files.ts';
import { Encoder, type EncoderConfig } from '../retriever/encoder.ts';
import { type PaddedTokens, TokenFeeds } from '../retriever/token-feeds.ts';
import { architectures } from './all.ts';
import type { EncoderWeights } from './architecture.ts';

// Tiny random models that transformers made, what it computes, and what training makes of them: every folder of fixtures/ goes
// through the same tests. tools/reference/architecture_golden.py writes them and says what they hold.
const FIXTURES = fileURLToPath(new URL('fixtures', import.meta.url));
const fixtures = readdirSync(FIXTURES).filter((name) => existsSync(join(FIXTURES, name, 'config.json')));
const readJson = (...path: string[]) => JSON.parse(readFileSync(join(FIXTURES, ...path), 'utf8'));

const SIDES = ['query', 'document'] as const;
type Side = (typeof SIDES)[number];
type Tensors = Record<string, Float32Array>;

const batches: {
  temperature: number;
  learningRate: number;
  weightDecay: number;
  maxGradientNorm: number;
  vocabulary: number;
  /** Every batch has the token ids from the first to before the second. */
  used: [number, number];
  steps: Record<Side, number[][]>[];
} = readJson('batches.json');

interface Golden {
  padId: number;
  pooling: Pooling;
  /** Whether hidden states are those of tokens with types. */
  types: boolean;
  steps: { loss: number; gradientNorm: number }[];
  /** Of many steps. */
  losses: number[];
  /** With a tokenizer. */
  texts?: string[];
  ids?: number[][];
}

function padded(texts: readonly number[][], padId: number): PaddedTokens {
  const tokens = Math.max(...texts.map(({ length }) => length));
  const rows = texts.flatMap((text) => Array.from({ length: tokens }, (_, t) => text[t]));
  return {
    ids: Int32Array.from(rows, (id) => id ?? padId),
    mask: Float32Array.from(rows, (id) => (id === undefined ? 0 : 1)),
    batch: texts.length,
    tokens,
  };
}

async function weightsIn(file: string, encoder: Encoder, notes: string[]): Promise<EncoderWeights> {
  const reader = await openSafetensors(file);
  const { headPrefix } = encoder;
  const onNote = (note: string) => notes.push(note);
  const weights = await readWeights(reader, encoder.specs, { file, headPrefix, onNote });
  await reader.close();
  return weights;
}

function newGraph(encoder: Encoder): { graph: Graph; p: DeclaredParameters } {
  const graph = new Graph('parity');
  return { graph, p: declareParameters(graph, encoder.specs) };
}

function tokenInputs(graph: Graph, side: Side): { ids: SymbolicTensor; mask: SymbolicTensor } {
  const shape = [side, `${side}Tokens`];
  return { ids: graph.input(`${side}/ids`, 'i64', shape), mask: graph.input(`${side}/mask`, 'f32', shape) };
}

/** Training leaves padding out of the layers. */
const packing = (graph: Graph, side: Side) => ({
  places: graph.input(`${side}/places`, 'i64', [`${side}Places`]),
  slots: graph.input(`${side}/slots`, 'i64', [`${side}*${side}Tokens`]),
  kept: graph.input(`${side}/kept`, 'f32', [`${side}*${side}Tokens`]),
});

/** Hidden states of documents, of tokens with types where asked for; their embeddings without. */
function statesGraph(encoder: Encoder, withTypes: boolean): Graph {
  const { graph, p } = newGraph(encoder);
  const inputs = tokenInputs(graph, 'document');
  const types = withTypes ? { types: graph.input('types', 'i64', inputs.ids.shape) } : {};
  let layer = 0;
  const onLayer = (hidden: SymbolicTensor) => graph.output(`state/${layer++}`, hidden);
  encoder.embed(p.get, { ...inputs, ...types }, { onLayer });
  graph.output('embedding', encoder.embed(p.get, inputs));
  return graph;
}

function trainingGraph(encoder: Encoder, checkpointing = false): Graph {
  const { graph, p } = newGraph(encoder);
  const [queries, documents] = encoder.embedAll(
    p.get,
    SIDES.map((side) => ({ ...tokenInputs(graph, side), packing: packing(graph, side) })),
  );
  const scores = matmul(queries!, documents!, { transB: true, alpha: 1 / batches.temperature });
  const loss = softmaxCrossEntropy(scores, range(graph, 'query'));
  graph.output('loss', loss);
  const gradients = backward(loss, [...p.targets.values()], { checkpointing });
  for (const [i, name] of [...p.targets.keys()].entries()) graph.output(gradientOutput(name), gradients[i]!);
  return graph;
}

/** Rows of a lookup table's gradient, put back at their places in the whole table. */
function wholeTable(gradient: HostTensor, rows: HostTensor, rowCount: number): Float32Array {
  const width = gradient.dims[1]!;
  const full = new Float32Array(rowCount * width);
  for (const [i, row] of rows.data.entries()) {
    full.set(float32(gradient).subarray(i * width, (i + 1) * width), Number(row) * width);
  }
  return full;
}

const norm = (values: ArrayLike<number>) => Math.hypot(...Array.from(values));

/** Some gradients are zero in exact arithmetic (a softmax does not see what is added to all its inputs), here a few 1e-17. */
const vanishes = (gradient: number) => Math.abs(gradient) < 1e-10;

describe.each(fixtures)('%s', (fixture) => {
  const golden: Golden = readJson(fixture, 'golden.json');
  const model: EncoderConfig['model'] = readJson(fixture, 'config.json');
  const encoder = new Encoder({ model, pooling: golden.pooling, normalize: true }, `${fixture}/config.json`);
  const feeder = new TokenFeeds(encoder.vocabSize);
  const notes: string[] = [];
  const initial: Tensors = {};
  const expected: Tensors = {};
  const first: Tensors = {};
  const trained: Tensors = {};
  const weights: Record<string, HostTensor> = {};
  const losses: number[] = [];
  const norms: number[] = [];
  let states: Program;
  let training: Program;
  let learner: Learner;

  beforeAll(async () => {
    const { tensors } = await readSafetensors(join(FIXTURES, fixture, 'golden.safetensors'));
    for (const [name, { data }] of Object.entries(tensors))
      expected[name] = float32({ ...tensors[name]!, data });
    const file = join(FIXTURES, fixture, 'model.safetensors');
    for (const [name, { dims, data }] of Object.entries(await weightsIn(file, encoder, notes))) {
      initial[name] = (data as Float32Array<ArrayBuffer>).slice();
      weights[name] = hostTensor('f32', dims, data as Float32Array<ArrayBuffer>);
    }
    states = await Program.compile(statesGraph(encoder, golden.types), { threads: 1 });
    training = await Program.compile(trainingGraph(encoder), { threads: 1 });
    learner = await Learner.create(encoder.specs, weights, adamw(), { threads: 1 });
  });
  afterAll(async () => {
    for (const each of [states, training, learner]) await each?.dispose();
  });

  test('the config is of a known architecture, and every tensor of the file is a parameter', () => {
    expect(architectures.get(model.model_type)?.modelType).toBe(model.model_type);
    expect(notes).toEqual([]);
  });

  const initialWeights = () =>
    Object.fromEntries(
      encoder.specs.map(({ name, shape }) => [
        name,
        hostTensor('f32', shape, initial[name]! as Float32Array<ArrayBuffer>),
      ]),
    );
  const batch = padded(batches.steps[0]!.document, golden.padId);
  const dims = [batch.batch, batch.tokens];
  const types = hostTensor(
    'i64',
    dims,
    BigInt64Array.from(batch.ids, (_, i) => BigInt(Math.floor((i % batch.tokens) / 4) % 2)),
  );

  /** Hidden states at tokens; values at padding are ignored. */
  function atTokens(hidden: Float32Array): Float32Array {
    const width = hidden.length / batch.mask.length;
    return hidden.filter((_, i) => batch.mask[Math.floor(i / width)] === 1);
  }

  test('hidden states of every layer and the pooled embedding to 1e-5', async () => {
    const feeds = { ...feeder.feeds({ document: batch }), ...(golden.types && { types }) };
    const results = await states.run({ ...weights, ...feeds });
    const layers = Object.keys(expected).filter((name) => name.startsWith('state/'));
    expect(Object.keys(results).sort()).toEqual([...layers, 'embedding'].sort());
    for (const name of layers) {
      const theirs = atTokens(expected[name]!);
      expect(largestDifference(atTokens(float32(results[name])), theirs), name).toBeLessThan(1e-5);
      expect(norm(theirs), name).toBeGreaterThan(1);
    }
    expect(largestDifference(float32(results.embedding), expected.embedding!)).toBeLessThan(1e-5);
  });

  describe('training', () => {
    beforeAll(async () => {
      for (const [number] of golden.losses.entries()) {
        const step = batches.steps[number % batches.steps.length]!;
        const texts = SIDES.map((side) => [side, padded(step[side], golden.padId)] as const);
        const feeds = feeder.feeds(Object.fromEntries(texts), { packed: true });
        const rows = feeds[ROWS_INPUT]!;
        const results = await training.run({ ...weights, ...feeds }, { into: learner.gradientBuffers });
        losses.push(scalarValue(results.loss));
        const byName: Record<string, HostTensor> = {};
        for (const { name, lookup, shape } of encoder.specs) {
          byName[name] = results[gradientOutput(name)]!;
          first[name] ??= lookup ? wholeTable(byName[name], rows, shape[0]!) : float32(byName[name]).slice();
        }
        norms.push(await learner.apply({ byName, rows: { [ROWS_INPUT]: rows } }, batches));
        if (number + 1 < golden.steps.length) continue;
        for (const { name } of encoder.specs) trained[name] ??= float32(weights[name]).slice();
      }
    });

    test('the losses of three steps to 1e-5, and the norms that clip their gradients to 1e-4', () => {
      for (const [i, { loss, gradientNorm }] of golden.steps.entries()) {
        expect(Math.abs(losses[i]! / loss - 1)).toBeLessThan(1e-5);
        expect(Math.abs(norms[i]! / gradientNorm - 1)).toBeLessThan(1e-4);
        expect(gradientNorm).toBeGreaterThan(batches.maxGradientNorm);
      }
    });

    test('the losses of fifty steps to 1e-3', () => {
      expect(golden.losses).toHaveLength(50);
      for (const [i, loss] of golden.losses.entries()) {
        expect(Math.abs(losses[i]! / loss - 1), `step ${i}: ${losses[i]}, PyTorch ${loss}`).toBeLessThan(
          1e-3,
        );
      }
      expect(Math.min(...losses)).toBeLessThan(0.6 * losses[0]!);
    });

    test('every gradient, as a whole to 1e-4 and element by element', () => {
      const { gradientNorm } = golden.steps[0]!;
      for (const { name } of encoder.specs) {
        const [ours, theirs] = [first[name]!, expected[`gradient/${name}`]!];
        // What is small or vanishes carries the rounding errors of what is large.
        const floor = Math.max((0.1 * norm(theirs)) / Math.sqrt(theirs.length), 1e-3 * gradientNorm);
        for (const [i, value] of theirs.entries()) {
          const error = Math.abs(ours[i]! - value) / Math.max(Math.abs(value), floor);
          expect(error, `${name}[${i}]: ${ours[i]}, PyTorch ${value}`).toBeLessThan(1e-4);
        }
        const error = norm(ours.map((value, i) => value - theirs[i]!));
        expect(error / Math.max(norm(theirs), 1e-3 * gradientNorm), name).toBeLessThan(1e-4);
      }
    });

    test('with checkpointing, the same gradients to the bit, and less memory', async () => {
      const checkpointed = trainingGraph(encoder, true);
      const texts = SIDES.map((side) => [side, padded(batches.steps[0]![side], golden.padId)] as const);
      const feeds = { ...initialWeights(), ...feeder.feeds(Object.fromEntries(texts), { packed: true }) };
      const program = await Program.compile(checkpointed, { threads: 1 });
      const results = await program.run(feeds);
      await program.dispose();
      const kept = await training.run(feeds);
      for (const [name, { data }] of Object.entries(kept)) expect(results[name]!.data, name).toEqual(data);
      const long = new Map(SIDES.flatMap((side) => [[side, 4] as const, [`${side}Tokens`, 64] as const]));
      const peak = (graph: Graph) => new MemoryPlan(graph).peakBytes(long);
      expect(peak(checkpointed)).toBeLessThan(0.98 * peak(trainingGraph(encoder)));
    });

    test('padding and tokens outside the batch get no gradient, tokens inside do', () => {
      for (const { name, shape } of encoder.specs.filter(({ lookup }) => lookup)) {
        const row = (id: number) => norm(first[name]!.subarray(id * shape[1]!, (id + 1) * shape[1]!));
        for (let id = 0; id < batches.vocabulary; id++) {
          const used = id >= batches.used[0] && id < batches.used[1];
          expect(row(id) > 0, `${name}, row ${id}`).toBe(used);
        }
      }
    });

    test('parameters after three steps of AdamW to 1e-4, their movement to 5e-4', () => {
      for (const { name, lookup, shape } of encoder.specs) {
        if (expected[`gradient/${name}`]!.every(vanishes)) continue;
        const width = shape[1] ?? 1;
        // Adam divides by the gradient's size, so noise in place of a gradient becomes a step of arbitrary direction.
        const compared = (_: number, i: number) => {
          const id = Math.floor(i / width);
          const touched = id === golden.padId || (id >= batches.used[0] && id < batches.used[1]);
          const gradient = expected[`gradient/${name}`]![i]!;
          return (gradient === 0 || !vanishes(gradient)) && (!lookup || touched);
        };
        const theirs = expected[`trained/${name}`]!.filter(compared);
        const before = initial[name]!.filter(compared);
        const ours = trained[name]!.filter(compared);
        const moved = norm(theirs.map((value, i) => value - before[i]!));
        const error = norm(ours.map((value, i) => value - theirs[i]!));
        expect(moved, `${name} must have moved`).toBeGreaterThan(1e-3);
        expect(error / norm(theirs), name).toBeLessThan(1e-4);
        expect(error / moved, `movement of ${name}`).toBeLessThan(5e-4);
      }
    });

    test('table rows that no batch touched have not moved, where PyTorch decays them', () => {
      for (const { name, shape } of encoder.specs.filter(({ lookup }) => lookup)) {
        const untouched = (tensor: Float32Array) => tensor.subarray(batches.used[1] * shape[1]!);
        expect(untouched(trained[name]!)).toEqual(untouched(initial[name]!));
        expect(untouched(expected[`trained/${name}`]!)).not.toEqual(untouched(initial[name]!));
      }
    });
  });

  const { pooling, texts, ids } = golden;
  test.skipIf(!texts)('texts: token ids and embeddings', async () => {
    const retriever = await loadRetriever(join(FIXTURES, fixture), { pooling });
    const store = retriever.tokenize('document', texts!.length, (row) => texts![row]!);
    expect(texts!.map((_, row) => [...store.tokens(row)])).toEqual(ids);
    expect(retriever.padId).toBe(golden.padId);
    const vectors = await retriever.encode('document', texts!);
    expect(largestDifference(vectors, expected.texts!)).toBeLessThan(1e-5);
    await retriever.dispose();
  });

  test.skipIf(encoder.headPrefix === undefined)('weights of a model with a head', async () => {
    const { tensors } = await readSafetensors(join(FIXTURES, fixture, 'model.safetensors'));
    const named = Object.entries(tensors).map(([name, tensor]) => [encoder.headPrefix + name, tensor]);
    const file = join(tempFiles(), 'model.safetensors');
    const head = { dtype: 'f32', dims: [1], data: new Float32Array(1) } as const;
    await writeSafetensors(file, { ...Object.fromEntries(named), 'head.dense.bias': head });
    const heard: string[] = [];
    const read = await weightsIn(file, encoder, heard);
    for (const { name } of encoder.specs) expect(read[name]!.data, name).toEqual(initial[name]);
    expect(heard).toEqual([
      'model.safetensors: 1 tensor is no part of the encoder and was left: head.dense.bias',
    ]);
  });

  describe('saved', () => {
    const saved = join(tempFiles(), 'saved');
    beforeAll(async () => {
      const folder = tempFiles({ 'tokenizer.json': JSON.stringify(tokenizer(batches.vocabulary)) });
      const files = ['config.json', 'model.safetensors', ...(texts ? ['tokenizer.json'] : [])];
      for (const name of files) cpSync(join(FIXTURES, fixture, name), join(folder, name));
      await saveRetriever(saved, await loadRetriever(folder, { pooling }));
    });

    test('and loaded and saved again: the same files, byte by byte', async () => {
      const again = join(tempFiles(), 'again');
      await saveRetriever(again, await loadRetriever(saved));
      for (const entry of readdirSync(saved, { recursive: true, withFileTypes: true })) {
        if (!entry.isFile()) continue;
        const path = join(entry.parentPath, entry.name);
        const other = readFileSync(path.replace(saved, again));
        expect(readFileSync(path).equals(other), path).toBe(true);
      }
      const { tensors } = await readSafetensors(join(saved, 'model.safetensors'));
      expect(Object.keys(tensors).sort()).toEqual(Object.keys(initial).sort());
      for (const [name, { data }] of Object.entries(tensors)) expect(data, name).toEqual(initial[name]);
    });

    test('its ONNX file gives last hidden states and embeddings', async () => {
      const session = await InferenceSession.create(join(saved, 'onnx', 'model.onnx'));
      const i64 = (values: ArrayLike<number | bigint>) =>
        new Tensor('int64', BigInt64Array.from(Array.from(values, BigInt)), dims);
      const feeds = { input_ids: i64(batch.ids), attention_mask: i64(batch.mask) };
      const zeros = batch.ids.map(() => 0);
      const run = (data: ArrayLike<number | bigint>) =>
        session.run({ ...feeds, ...(encoder.tokenTypes && { token_type_ids: i64(data) }) });
      const { last_hidden_state: last } = await run(golden.types ? types.data : zeros);
      const { sentence_embedding: embedding } = await run(zeros);
      await session.release();
      const layers = Object.keys(expected).filter((name) => name.startsWith('state/'));
      const hidden = atTokens(expected[`state/${layers.length - 1}`]!);
      expect(largestDifference(atTokens(last!.data as Float32Array), hidden)).toBeLessThan(1e-5);
      expect(largestDifference(embedding!.data as Float32Array, expected.embedding!)).toBeLessThan(1e-5);
    });
  });
});

/** A vocabulary of words for the fixtures that have none. */
const tokenizer = (size: number) => {
  const special = ['[PAD]', '[UNK]', '[CLS]', '[SEP]'];
  const words = Array.from({ length: size }, (_, id) => special[id] ?? `word${id}`);
  return {
    added_tokens: special.map((content, id) => ({ id, content, special: true })),
    normalizer: null,
    pre_tokenizer: { type: 'BertPreTokenizer' },
    post_processor: null,
    decoder: null,
    model: {
      type: 'WordPiece',
      unk_token: '[UNK]',
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries(words.map((word, id) => [word, id])),
    },
  };
};
