import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { largestDifference } from '../../../test/small-models.ts';
import { tempFiles } from '../../../test/temp-files.ts';
import { backward } from '../../grad/backward.ts';
import { Graph } from '../../graph/graph.ts';
import { readSafetensors, writeSafetensors } from '../../io/safetensors.ts';
import { float32, type HostTensor, scalarValue } from '../../runtime/host-tensor.ts';
import { Program } from '../../runtime/program.ts';
import { LanguageModel } from '../language/language-model.ts';
import { EncoderDecoder } from './encoder-decoder.ts';
import { generateTargets } from './generate-targets.ts';
import { saveSequenceToSequence } from './save-sequence-to-sequence.ts';
import { type SequenceExample, sequenceBatch, sequenceFeeds } from './sequence-batch.ts';
import { SequenceToSequenceModel } from './sequence-to-sequence.ts';

// Made by tools/reference/encoder_decoder_golden.py, which says what they hold.
const FIXTURES = fileURLToPath(new URL('fixtures', import.meta.url));
const COMPUTE = { threads: 1 };

interface Golden {
  inputs: string[];
  inputIds: number[][];
  targets: string[];
  targetIds: number[][];
  logProbabilities: number[][];
  loss: number;
  written: string[];
  together: { inputs: number[]; target: number; logProbabilities: number[]; attention: number[] }[];
}

const goldenOf = (name: string): Golden =>
  JSON.parse(readFileSync(join(FIXTURES, name, 'golden.json'), 'utf8'));

const list = (scores: { logProbabilities: Float32Array }): number[] => [...scores.logProbabilities];

const farthest = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  expect(a.length).toBe(b.length);
  return largestDifference(Float32Array.from(a), Float32Array.from(b));
};

describe.each(readdirSync(FIXTURES))('%s', (name) => {
  const golden = goldenOf(name);
  const notes: string[] = [];
  let model: SequenceToSequenceModel;
  let examples: SequenceExample[];
  beforeAll(async () => {
    model = await SequenceToSequenceModel.load(join(FIXTURES, name), { onNote: (note) => notes.push(note) });
    examples = golden.inputIds.map((ids, i) => ({ inputs: [ids], target: golden.targetIds[i]! }));
  });
  afterAll(() => model.dispose());

  test('reads the folder: every tensor, tied or not, and the tokenizer', () => {
    expect(notes).toEqual([]);
    expect(model.specs.some((spec) => spec.name === 'lm_head.weight')).toBe(name === 't5-untied');
    expect([...model.endIds]).toEqual([1]);
    for (const [i, text] of golden.inputs.entries())
      expect(model.inputIds(text, { specialTokens: true })).toEqual(golden.inputIds[i]);
    for (const [i, text] of golden.targets.entries())
      expect(model.targetIds(text)).toEqual(golden.targetIds[i]);
    // Special tokens that are written in a text count if they are asked for.
    const sentinel = golden.inputIds[3]![0]!;
    expect(model.inputIds('dog')).toEqual(golden.inputIds[1]);
    expect(model.targetIds('<extra_id_0>', { specialTokens: true })).toEqual([sentinel, 1]);
  });

  test('logits and loss to 1e-5, gradients to 1e-4', async () => {
    const { tensors } = await readSafetensors(join(FIXTURES, name, 'golden.safetensors'));
    const graph = new Graph('parity');
    const declared = model.declare(graph);
    const batch = sequenceBatch(declared);
    const loss = model.network.loss(declared.get, batch);
    graph.output('logits', model.network.logits(declared.get, batch));
    graph.output('loss', loss);
    const gradients = backward(loss, [...declared.targets.values()]);
    for (const [i, target] of [...declared.targets.keys()].entries())
      graph.output(`d/${target}`, gradients[i]!);
    const program = await Program.compile(graph, COMPUTE);
    const results = await program.run({
      ...model.weights,
      ...sequenceFeeds(examples, model.network.startId),
    });
    await program.dispose();
    expect(Math.abs(scalarValue(results.loss) - golden.loss)).toBeLessThan(1e-5);
    const V = model.decoder.vocabSize;
    const longest = Math.max(...golden.targetIds.map(({ length }) => length));
    const theirs = float32(tensors.logits as never);
    for (const [row, { length }] of golden.targetIds.entries()) {
      const start = row * (longest + 1) * V;
      const ours = float32(results.logits).subarray(start, start + length * V);
      expect(farthest(ours, theirs.subarray(row * longest * V, (row * longest + length) * V))).toBeLessThan(
        1e-5,
      );
    }
    for (const { name: parameter } of model.specs) {
      const expected = float32(tensors[`gradient/${parameter}`] as never);
      expect(Math.hypot(...expected), parameter).toBeGreaterThan(1e-4);
      const difference = farthest(float32(results[`d/${parameter}`]), expected);
      expect(difference / Math.hypot(...expected), parameter).toBeLessThan(1e-4);
    }
  });

  test('scores targets, writes greedily, and reads several inputs together, as transformers does', async () => {
    const scores = await model.scoreTokens(examples, COMPUTE);
    for (const [i, expected] of golden.logProbabilities.entries())
      expect(farthest(list(scores[i]!), expected)).toBeLessThan(1e-5);

    const written = await generateTargets(
      model,
      golden.inputIds.map((ids) => [ids]),
      { tokens: 12, ...COMPUTE },
    );
    expect(written.map(({ text }) => text)).toEqual(golden.written);

    const together = golden.together.map(({ inputs, target }) => ({
      inputs: inputs.map((i) => golden.inputIds[i]!),
      target: golden.targetIds[target]!,
    }));
    const fused = await model.scoreTokens(together, COMPUTE);
    const attention = await model.attentionToInputs(together, COMPUTE);
    for (const [i, expected] of golden.together.entries()) {
      expect(farthest(list(fused[i]!), expected.logProbabilities)).toBeLessThan(1e-5);
      expect(farthest(attention[i]!, expected.attention)).toBeLessThan(1e-5);
    }
  });

  test('is saved as it was read', async () => {
    const folder = join(tempFiles(), 'saved');
    await saveSequenceToSequence(folder, model);
    // A second time, over the first.
    await saveSequenceToSequence(folder, model, { trainedSteps: 3 });
    const again = await SequenceToSequenceModel.load(folder);
    expect(again.network.config).toEqual(model.network.config);
    const [before, after] = await Promise.all(
      [model, again].map((each) => each.scoreTokens(examples, COMPUTE)),
    );
    expect(after!.map(list)).toEqual(before!.map(list));
    const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'));
    expect(config).toMatchObject({
      architectures: ['T5ForConditionalGeneration'],
      is_encoder_decoder: true,
      decoder_start_token_id: 0,
      eos_token_id: 1,
      pad_token_id: 0,
      tie_word_embeddings: name === 't5-tied',
      scale_decoder_outputs: name === 't5-tied',
    });
    // transformers refuses whole numbers where it wants others, and JSON has no 1.0.
    expect(config).not.toHaveProperty('initializer_factor');
    await again.dispose();
  });
});

describe('several inputs for one target', () => {
  const { inputIds, targetIds } = goldenOf('t5-untied');
  let model: SequenceToSequenceModel;
  beforeAll(async () => {
    model = await SequenceToSequenceModel.load(join(FIXTURES, 't5-untied'));
  });
  afterAll(() => model.dispose());
  const [a, b, c, d] = inputIds as [number[], number[], number[], number[]];
  const target = targetIds[2]!;
  const score = async (...inputs: number[][]) =>
    list((await model.scoreTokens([{ inputs, target }], COMPUTE))[0]!);

  test('their order changes nothing, and each of them counts', async () => {
    const expected = await score(a, b, c, d);
    expect(farthest(await score(d, b, a, c), expected)).toBeLessThan(1e-5);
    expect(farthest(await score(c, a, d, b), expected)).toBeLessThan(1e-5);
    expect(farthest(await score(a, b, c), expected)).toBeGreaterThan(1e-3);
  });

  test('one alone and one left out are examples of their own', async () => {
    const example = { inputs: [a, b, c], target };
    const [alone] = await model.scoreEachInput([example], 'alone', COMPUTE);
    const [leftOut] = await model.scoreEachInput([example], 'left-out', COMPUTE);
    for (const [i, inputs] of [[a], [b], [c]].entries())
      expect(farthest(list(alone![i]!), await score(...inputs))).toBeLessThan(1e-5);
    for (const [i, inputs] of [
      [b, c],
      [a, c],
      [a, b],
    ].entries())
      expect(farthest(list(leftOut![i]!), await score(...inputs))).toBeLessThan(1e-5);
  });

  test('a batch masks inputs that are not read, with padding of other lengths', async () => {
    const graph = new Graph('masked');
    const declared = model.declare(graph, { prefix: 'reader' });
    const batch = sequenceBatch(declared, { inputs: 'passages', targets: 'answers' });
    graph.output('loss', model.network.loss(declared.get, batch));
    const program = await Program.compile(graph, COMPUTE);
    const loss = async (read: number[][], ...examples: SequenceExample[]) => {
      const names = { prefix: 'reader', inputs: 'passages', targets: 'answers' };
      const feeds = sequenceFeeds(examples, model.network.startId, names);
      const flags = float32(feeds['reader/passages/read']);
      for (const [i, flag] of read.flat().entries()) flags[i] = flag;
      const weights = Object.entries(model.weights).map(([name, each]) => [`reader/${name}`, each]);
      const results = await program.run({ ...(Object.fromEntries(weights) as typeof feeds), ...feeds });
      return scalarValue(results.loss);
    };
    const nats = (...scores: number[][]) => {
      const all = scores.flat();
      return -all.reduce((x, y) => x + y, 0) / all.length;
    };
    const found = await loss([[1, 0, 1]], { inputs: [a, b, c], target });
    expect(found).toBeCloseTo(nats(await score(a, c)), 5);
    // Examples with fewer inputs, and with none, beside one with more.
    const mixed = await loss(
      [],
      { inputs: [a, b, c], target },
      { inputs: [d], target: targetIds[1]! },
      { inputs: [], target },
    );
    const others = await model.scoreTokens(
      [
        { inputs: [d], target: targetIds[1]! },
        { inputs: [], target },
      ],
      COMPUTE,
    );
    expect(mixed).toBeCloseTo(nats(await score(a, b, c), ...others.map(list)), 5);
    await program.dispose();
  });

  test('writing with several inputs is reading them: the greedy tokens are the most likely', async () => {
    const lists = [[a, b], [c], [], [d, c, b]];
    const written = await generateTargets(model, lists, { tokens: 8, ...COMPUTE });
    const order = written.map(({ promptTokens }) => promptTokens);
    expect(order).toEqual(lists.map((inputs) => inputs.reduce((sum, { length }) => sum + length, 0)));
    const graph = new Graph('logits');
    const declared = model.declare(graph);
    graph.output('logits', model.network.logits(declared.get, sequenceBatch(declared)));
    const program = await Program.compile(graph, COMPUTE);
    for (const [i, { ids, finish }] of written.entries()) {
      const target = finish === 'end' ? [...ids, 1] : ids;
      const feeds = sequenceFeeds([{ inputs: lists[i]!, target }], model.network.startId);
      const logits = float32((await program.run({ ...model.weights, ...feeds })).logits);
      const V = model.decoder.vocabSize;
      const best = target.map((_, t) => {
        const row = [...logits.subarray(t * V, (t + 1) * V)];
        return row.indexOf(Math.max(...row));
      });
      expect(best).toEqual(target);
    }
    await program.dispose();
  });
});

describe('folders', () => {
  const changed = async (
    change: (tensors: Record<string, HostTensor>) => Record<string, HostTensor>,
    fields: object = {},
    name = 't5-tied',
  ) => {
    const folder = join(tempFiles(), 'changed');
    cpSync(join(FIXTURES, name), folder, { recursive: true });
    const file = join(folder, 'model.safetensors');
    const { tensors } = await readSafetensors(file);
    await writeSafetensors(file, change(tensors as Record<string, HostTensor>));
    const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'));
    writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...config, ...fields }));
    return folder;
  };
  const load = async (folder: string) => {
    const notes: string[] = [];
    const model = await SequenceToSequenceModel.load(folder, { onNote: (note) => notes.push(note) });
    return { model, notes, config: model.network.config };
  };

  test('copies of the table in old files are the table', async () => {
    const { notes, config } = await load(
      await changed((tensors) => {
        const table = tensors['shared.weight']!;
        const names = ['encoder.embed_tokens.weight', 'decoder.embed_tokens.weight', 'lm_head.weight'];
        return { ...tensors, ...Object.fromEntries(names.map((name) => [name, table])) };
      }),
    );
    expect(notes).toEqual([]);
    expect(config.tie_word_embeddings).toBe(true);
  });

  test('tables that differ are refused', async () => {
    const folder = await changed((tensors) => {
      const { dims } = tensors['shared.weight']!;
      const other = { dtype: 'f32' as const, dims, data: new Float32Array(512) };
      return { ...tensors, 'encoder.embed_tokens.weight': other };
    });
    await expect(load(folder)).rejects.toThrow(/'encoder.embed_tokens.weight' and 'shared.weight' differ/);
  });

  test('old configs say by one field that logits have a matrix of their own and are not scaled', async () => {
    const fields = { scale_decoder_outputs: undefined, tie_word_embeddings: false };
    const { config } = await load(await changed((tensors) => tensors, fields, 't5-untied'));
    expect(config).toMatchObject({ tie_word_embeddings: false, scale_decoder_outputs: false });
  });

  test('a decoder alone and a language model are refused, with advice', async () => {
    await expect(LanguageModel.load(join(FIXTURES, 't5-tied'))).rejects.toThrow(
      /model_type "t5".*predicts no next token/,
    );
    expect(() => new EncoderDecoder({ model_type: 'llama' })).toThrow(/"llama".*is no encoder-decoder/);
    const { model_type, ...rest } = JSON.parse(
      readFileSync(join(FIXTURES, 't5-tied', 'config.json'), 'utf8'),
    );
    const config = (fields: object) => () => new EncoderDecoder({ model_type, ...rest, ...fields });
    expect(config({ feed_forward_proj: 'gated-mish' })).toThrow(/"feed_forward_proj" must be one of/);
    expect(config({ relative_attention_max_distance: 16 })).toThrow(/leaves no buckets/);
    expect(config({ decoder_start_token_id: 64 })).toThrow(/decoder_start_token_id 64/);
  });

  test('examples that cannot be read are refused', async () => {
    const { model } = await load(join(FIXTURES, 't5-tied'));
    const score = (example: SequenceExample) => model.scoreTokens([example], COMPUTE);
    await expect(generateTargets(model, [[[1]]], { packWeights: true })).rejects.toThrow(
      'packWeights is for decoders',
    );
    await expect(score({ inputs: [[1], []], target: [3] })).rejects.toThrow(
      'input 1 of example 0 has no tokens',
    );
    await expect(score({ inputs: [[64]], target: [3] })).rejects.toThrow(/input 0 of example 0.*id 64/);
    await expect(score({ inputs: [[1]], target: [-1] })).rejects.toThrow(/the target of example 0.*id -1/);
    await expect(generateTargets(model, [['a'], [[]]])).rejects.toThrow('input 0 of target 1 has no tokens');
    expect(() => sequenceFeeds([{ inputs: [[1]], target: [] }], 0)).toThrow('target of no tokens');
    expect(list((await score({ inputs: [[1]], target: [] }))[0]!)).toEqual([]);
  });
});
