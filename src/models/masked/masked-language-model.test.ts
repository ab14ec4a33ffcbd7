import { readFileSync, writeFileSync } from 'node:fs';
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import { largestDifference } from '../../../test/small-models.ts';
import { tempFiles } from '../../../test/temp-files.ts';
import { Graph } from '../../graph/graph.ts';
import { float32, hostTensor } from '../../runtime/host-tensor.ts';
import { Program } from '../../runtime/program.ts';
import { padSequences } from '../../text/pad-batch.ts';
import { wholeTableFeeds } from '../retriever/token-feeds.ts';
import { tokenInputs } from '../retriever/token-inputs.ts';
import { MaskedLanguageModel } from './masked-language-model.ts';
import { MaskedPrompt } from './masked-prompt.ts';
import { saveMaskedLanguageModel } from './save-masked-language-model.ts';
import { typeFeed } from './score-masked.ts';

const fixtures = fileURLToPath(new URL('fixtures', import.meta.url));
/** Made by tools/reference/masked_language_model_golden.py, which says what it holds. */
const golden = JSON.parse(readFileSync(join(fixtures, 'cases.json'), 'utf8')) as {
  prompts: { query: string; answer: string; passage: string | null }[];
  cases: Record<
    string,
    {
      prompts: {
        ids: number[];
        types: number[];
        places: number[];
        answer: number[];
        logProbabilities: number[];
      }[];
      logits: number[];
    }
  >;
};
const asked = golden.prompts.map((prompt) => ({ ...prompt, passage: prompt.passage ?? undefined }));

const disposables: { dispose(): Promise<void> }[] = [];
afterEach(async () => {
  for (const each of disposables.splice(0)) await each.dispose();
});
const load = async (folder: string) => {
  const model = await MaskedLanguageModel.load(folder);
  disposables.push(model);
  return model;
};

describe.each(Object.entries(golden.cases))('%s', (base, expected) => {
  it('lays prompts, scores answers and computes logits as transformers does, after saving too', async () => {
    const loaded = await load(join(fixtures, base));
    const folder = join(tempFiles({}), 'saved');
    await saveMaskedLanguageModel(folder, loaded, { trainedSteps: 3 });
    for (const model of [loaded, await load(folder)]) {
      const prompt = new MaskedPrompt();
      const sequences = asked.map((each) => prompt.tokens(model, each));
      for (const [i, { ids, types, places, answer }] of sequences.entries()) {
        const { logProbabilities: _, ...laid } = expected.prompts[i]!;
        const own = { ids: [...ids], types: [...types], places: [...places], answer: [...answer] };
        expect(own).toEqual(laid);
      }
      const scores = await model.scoreTokens(sequences, { threads: 1 });
      for (const [i, found] of scores.entries()) {
        const right = Float32Array.from(expected.prompts[i]!.logProbabilities);
        expect(largestDifference(found, right)).toBeLessThan(2e-5);
      }
      const filled = await model.fill(sequences, { threads: 1 });
      expect(filled[0]![0]).toBe(expected.logits.indexOf(Math.max(...expected.logits)));
      expect(filled.map(({ length }) => length)).toEqual(sequences.map(({ places }) => places.length));
    }
  });

  it('has the logits of transformers', async () => {
    const model = await load(join(fixtures, base));
    const graph = new Graph('logits');
    const declared = model.declare(graph);
    const inputs = tokenInputs(declared, 'texts', { types: model.tokenTypes });
    const places = graph.input('places', 'i64', ['rows']);
    graph.output('logits', model.network.logitsAt(declared.get, inputs, places));
    const program = await Program.compile(graph, { threads: 1 });
    disposables.push(program);
    const [first, second] = expected.prompts.map(({ ids, types, ...rest }) => ({
      ...{ ids: Int32Array.from(ids), types: Int32Array.from(types) },
      ...rest,
    }));
    // A longer text beside it, so that there is padding.
    const texts = padSequences([first!.ids, [...second!.ids, ...second!.ids]]);
    const outputs = await program.run({
      ...model.weights,
      ...wholeTableFeeds({ texts }),
      ...(model.tokenTypes && { 'texts/types': typeFeed([first!], texts) }),
      places: hostTensor('i64', [1], BigInt64Array.of(BigInt(first!.places[0]!))),
    });
    expect(largestDifference(float32(outputs.logits), Float32Array.from(expected.logits))).toBeLessThan(5e-5);
  });
});

describe('MaskedPrompt', () => {
  const bert = () => load(join(fixtures, 'bert'));
  const text = (model: MaskedLanguageModel, ids: ArrayLike<number>) =>
    model.tokenizer.decode(ids, { skipSpecialTokens: false });

  it('puts the passage first where the format does, and words of the format beside the query', async () => {
    const model = await bert();
    const read = (format: string, query: string, passage?: string) => {
      const { ids, places } = new MaskedPrompt(format).tokens(model, { query, answer: 'dog', passage });
      for (const place of places) expect(ids[place]).toBe(model.maskId);
      return text(model, ids);
    };
    const front = '{passage} the {query} on {answer}';
    expect(read(front, 'cat', 'red')).toBe('[CLS] red [SEP] the cat on [MASK] [SEP]');
    expect(read(front, 'cat ___ sat', 'red')).toBe('[CLS] red [SEP] the cat [MASK] sat on [SEP]');
    expect(read(front, 'cat', undefined)).toBe('[CLS] the cat on [MASK] [SEP]');
    expect(read('{query} {answer} {passage}', 'a [MASK] sat', 'red')).toBe(
      '[CLS] a [MASK] sat [SEP] red [SEP]',
    );
    expect(read('{query} {answer} {passage}', 'a ______ sat')).toBe('[CLS] a [MASK] sat [SEP]');
  });

  it('cuts the end of a passage to fit', async () => {
    const model = await bert();
    const asking = { query: 'the ___', answer: 'cat dog', passage: 'a red house and a tree' };
    const { ids, types, places } = new MaskedPrompt().tokens(model, asking, { maxTokens: 8 });
    expect(text(model, ids)).toBe('[CLS] the [MASK] [MASK] [SEP] a red [SEP]');
    expect([[...types], [...places]]).toEqual([
      [0, 0, 0, 0, 0, 1, 1, 1],
      [2, 3],
    ]);
    expect(() => new MaskedPrompt().tokens(model, asking, { maxTokens: 5 })).toThrow(
      /6 tokens without its passage/,
    );
  });

  it.each([
    ['{query} {passage} {answer}', /a text of its own/],
    ['Words: {passage} {query} {answer}', /a text of its own/],
    ['{query} {passage}', /\{answer\} nowhere/],
  ])('refuses the format %s', (format, message) => {
    expect(() => new MaskedPrompt(format)).toThrow(message);
  });

  it('refuses several blanks, answers without a token, and masks in the format', async () => {
    const model = await bert();
    const prompt = new MaskedPrompt();
    const tokens = (query: string, answer: string) => prompt.tokens(model, { query, answer, passage: 'x' });
    expect(() => tokens('a ___ and a ___', 'cat')).toThrow(/2 blanks/);
    expect(() => tokens('a ___', ' ')).toThrow(/has no token/);
    const masked = new MaskedPrompt('[MASK] {query} {answer} {passage}');
    expect(() => masked.tokens(model, { query: 'a', answer: 'cat', passage: 'x' })).toThrow(
      /2 masks for an answer of 1/,
    );
  });
});

describe('MaskedLanguageModel.load', () => {
  it('names an encoder without its head, another architecture, and matrices that should be one', async () => {
    const copy = async (base: string) => {
      const folder = join(tempFiles({}), 'model');
      await cp(join(fixtures, base), folder, { recursive: true });
      return folder;
    };
    const sentences = fileURLToPath(new URL('../architectures/fixtures/roberta', import.meta.url));
    const bare = await copy('roberta');
    await cp(join(sentences, 'model.safetensors'), join(bare, 'model.safetensors'));
    await expect(MaskedLanguageModel.load(bare)).rejects.toThrow(/no head for masked tokens/);
    const gpt2 = fileURLToPath(new URL('../architectures/fixtures/gpt2', import.meta.url));
    await expect(MaskedLanguageModel.load(gpt2)).rejects.toThrow(/no masked language model/);
    const untied = await copy('xlm-roberta');
    const file = join(untied, 'config.json');
    const config = JSON.parse(readFileSync(file, 'utf8'));
    writeFileSync(file, JSON.stringify({ ...config, tie_word_embeddings: true }));
    await expect(MaskedLanguageModel.load(untied)).rejects.toThrow(/differ, and config.json says/);
  });
});
