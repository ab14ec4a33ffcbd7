import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { largestDifference, smallRetriever } from '../../../test/small-models.ts';
import { backward } from '../../grad/backward.ts';
import { Graph } from '../../graph/graph.ts';
import { mul, neg, slice, sum } from '../../graph/ops.ts';
import { nextTokenLogProbabilities, nextTokenLoss } from '../../losses/next-token.ts';
import { float32, scalarValue, zeros } from '../../runtime/host-tensor.ts';
import { Program } from '../../runtime/program.ts';
import { type PaddedTokens, wholeTableFeeds } from '../retriever/token-feeds.ts';
import { tokenInputs } from '../retriever/token-inputs.ts';
import { LanguageModel } from './language-model.ts';

const FIXTURES = fileURLToPath(new URL('fixtures/causal', import.meta.url));
const COMPUTE = { threads: 1 };

/** Documents of different lengths with distinct tokens, so that gradients of token vectors belong to one document. */
const DOCUMENTS = [[3, 4, 5, 6, 7, 8, 9], [20], [30, 31, 32, 33], [40, 41, 42, 43, 44]];
/** Rows of a packed batch, by the documents in them. The numbers need not begin at 0, nor be in order. */
const ROWS = [
  { documents: [0, 1, 2], numbers: [7, 2, 3] },
  { documents: [3, 2], numbers: [0, 1] },
];
const T = 14;

function packed(): PaddedTokens & { documents: Int32Array } {
  const size = ROWS.length * T;
  const [ids, documents] = [new Int32Array(size), new Int32Array(size).fill(-1)];
  const mask = new Float32Array(size);
  for (const [row, { documents: included, numbers }] of ROWS.entries()) {
    let place = row * T;
    for (const [i, document] of included.entries()) {
      for (const id of DOCUMENTS[document]!) {
        ids[place] = id;
        mask[place] = 1;
        documents[place++] = numbers[i]!;
      }
    }
  }
  return { ids, mask, documents, batch: ROWS.length, tokens: T };
}

const alone = (document: number): PaddedTokens => {
  const ids = Int32Array.from(DOCUMENTS[document]!);
  return { ids, mask: new Float32Array(ids.length).fill(1), batch: 1, tokens: ids.length };
};

describe.each(readdirSync(FIXTURES))('%s: documents that share rows', (name) => {
  let model: LanguageModel;
  let together: Awaited<ReturnType<typeof run>>;
  /** Results of the documents by themselves; none of the document of one token, which predicts nothing. */
  const separate = new Map<number, typeof together>();
  beforeAll(async () => {
    model = await LanguageModel.load(join(FIXTURES, name));
    together = await run(packed());
    for (const [i, { length }] of DOCUMENTS.entries()) if (length > 1) separate.set(i, await run(alone(i)));
  });
  afterAll(() => model.dispose());
  const table = () => model.decoder.specs[0]!.name;

  /** Logits, loss, and gradients of token vectors: of the loss, and of what is predicted in the first document. */
  async function run(texts: PaddedTokens) {
    const graph = new Graph('documents');
    const declared = model.declare(graph);
    const inputs = tokenInputs(declared, 'texts', { documents: texts.documents !== undefined });
    const logits = model.decoder.logits(declared.get, inputs);
    const loss = nextTokenLoss(logits, inputs.ids, inputs.mask, { documents: inputs.documents });
    graph.output('logits', logits);
    graph.output('loss', loss);
    const embeddings = declared.targets.get(table())!;
    graph.output('d', backward(loss, [embeddings])[0]!);
    // Log-probability of the second token of the first row.
    const predicted = nextTokenLogProbabilities(logits, inputs.ids);
    const first = slice(slice(predicted, { axis: 0, length: 1 }), { axis: 1, length: 1 });
    graph.output('dFirst', backward(neg(sum(first)), [embeddings])[0]!);
    const program = await Program.compile(graph, COMPUTE);
    const outputs = await program.run({ ...model.weights, ...wholeTableFeeds({ texts }) });
    await program.dispose();
    return outputs;
  }

  test('logits equal those of separate texts', async () => {
    const logits = float32(together.logits);
    const V = model.decoder.vocabSize;
    for (const [row, { documents }] of ROWS.entries()) {
      let place = row * T;
      for (const document of documents) {
        const end = place + DOCUMENTS[document]!.length;
        const expected = separate.get(document)?.logits;
        const found = logits.subarray(place * V, end * V);
        if (expected) expect(largestDifference(found, float32(expected))).toBeLessThan(1e-5);
        place = end;
      }
    }
    // Without document numbers the third document sees the first one.
    const { documents: _, ...leaking } = packed();
    const leaked = float32((await run(leaking)).logits).subarray(8 * V, 12 * V);
    expect(largestDifference(leaked, logits.subarray(8 * V, 12 * V))).toBeGreaterThan(0.01);
  });

  test('the loss is the mean over the predicted tokens of separate texts, and so is its gradient', () => {
    const included = ROWS.flatMap(({ documents }) => documents).filter((i) => separate.has(i));
    const weights = included.map((i) => DOCUMENTS[i]!.length - 1);
    const total = weights.reduce((a, b) => a + b);
    const mean = (of: (document: number) => number) =>
      weights.reduce((sum, weight, i) => sum + weight * of(included[i]!), 0) / total;
    const loss = mean((i) => scalarValue(separate.get(i)!.loss));
    expect(scalarValue(together.loss)).toBeCloseTo(loss, 5);
    const d = float32(together.d);
    const expected = d.map((_, at) => mean((i) => float32(separate.get(i)!.d)[at]!));
    expect(largestDifference(d, expected)).toBeLessThan(1e-5);
  });

  test('token vectors that a prediction does not see get a gradient of exactly 0', () => {
    // A tied table also gets gradients as the output matrix, from every row of logits.
    if (!model.weights['lm_head.weight']) return;
    const D = model.decoder.hiddenSize;
    const moved = new Set<number>();
    for (const [i, value] of float32(together.dFirst).entries())
      if (value !== 0) moved.add(Math.floor(i / D));
    expect([...moved]).toEqual([3]);
  });

  test('states of a document have a gradient of exactly 0 from what is computed in another', async () => {
    const graph = new Graph('leak');
    const declared = model.declare(graph);
    const inputs = tokenInputs(declared, 'texts', { documents: true });
    const D = model.decoder.hiddenSize;
    // Numbers that are added to the states of layer 0.
    const states = graph.input('states', 'f32', [...inputs.ids.shape, D]);
    const memory = { read: (layer: number) => (layer === 0 ? states : undefined) };
    const hidden = model.decoder.hidden(declared.get, inputs, { memory });
    // The second document of row 0 is at place 7, the third at places 8 to 11.
    const place = (from: number, length: number) =>
      slice(slice(hidden, { axis: 0, length: 1 }), { axis: 1, start: from, length });
    const d = backward(sum(mul(place(9, 2), place(9, 2))), [states])[0]!;
    graph.output('d', d);
    const program = await Program.compile(graph, COMPUTE);
    const feeds = { ...model.weights, ...wholeTableFeeds({ texts: packed() }) };
    const { d: found } = await program.run({ ...feeds, states: zeros('f32', [ROWS.length, T, D]) });
    await program.dispose();
    const places = new Set<number>();
    for (const [i, value] of float32(found).entries()) if (value !== 0) places.add(Math.floor(i / D));
    expect([...places]).toEqual([8, 9, 10]);
  });
});

test('an encoder refuses documents that share a row: its embedding is that of the row', () => {
  const retriever = smallRetriever({ kind: 'transformer' });
  const graph = new Graph('encoder');
  const declared = retriever.declare(graph);
  const inputs = tokenInputs(declared, 'texts', { documents: true });
  expect(() => retriever.encoder.embed(declared.get, inputs)).toThrow(/several documents share a row/);
});
