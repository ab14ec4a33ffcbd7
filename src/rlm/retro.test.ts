import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest';
import { letterCorpus } from '../../test/letter-corpus.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { TEST_COMPUTE } from '../../test/test-device.ts';
import { trainedParts } from '../../test/trained-parts.ts';
import { Graph } from '../graph/graph.ts';
import { LanguageModel } from '../models/language/language-model.ts';
import { wholeTableFeeds } from '../models/retriever/token-feeds.ts';
import { tokenInputs } from '../models/retriever/token-inputs.ts';
import { float32, type HostTensor } from '../runtime/host-tensor.ts';
import { Program } from '../runtime/program.ts';
import { ChunkDatabase } from './chunk-database.ts';
import { neighbourFeeds } from './chunk-neighbours.ts';
import { leakFilter } from './leak-filter.ts';
import { bm25Source } from './passage-source.ts';
import { loadRetro, openRetro, RETRO_CONFIG, RetroModel, saveRetro } from './retro.ts';
import { RetroSystem } from './retro-system.ts';

const CAUSAL = fileURLToPath(new URL('../models/language/fixtures/causal', import.meta.url));
const M = 4;
const CONFIG = { chunkTokens: M, crossLayers: [1, 2], encoderLayers: 1, encoderCrossLayers: [1] };
const TEXTS = ['abcdefghijklmnop', 'abcdxyzw', 'efghQRST', 'mnopUVWX', 'zzzz'];

describe.each(['gpt2', 'llama-untied'])('RETRO over %s', (name) => {
  const T = 15;
  let base: LanguageModel;
  let database: ChunkDatabase;
  let retro: RetroModel;
  let program: Program;
  beforeAll(async () => {
    base = await LanguageModel.load(join(CAUSAL, name));
    database = new ChunkDatabase(await letterCorpus(base.tokenizer, TEXTS), base.tokenizer, M);
    retro = trainedParts(RetroModel.create(base, CONFIG));
    const graph = new Graph('retro');
    const declared = retro.declare(graph);
    const inputs = tokenInputs(declared, 'texts');
    const memory = retro.memory(declared, inputs);
    graph.output('logits', base.decoder.logits(declared.get, inputs, { memory }));
    program = await Program.compile(graph, TEST_COMPUTE);
  });
  afterAll(async () => {
    await program.dispose();
    await base.dispose();
  });

  const ids = Int32Array.from({ length: 2 * T }, (_, i) => 3 + ((7 * i) % 40));
  const texts = (changed = ids) => ({
    ids: changed,
    mask: new Float32Array(2 * T).fill(1),
    batch: 2,
    tokens: T,
  });
  /** Two neighbours of the three chunks of two texts; that of chunk u is u, u + 1. */
  const ROWS = [0, 1, 2, 3, 4, 5, 5, 6, 7, 8, 1, 0];

  async function logits(
    options: {
      ids?: Int32Array<ArrayBuffer>;
      rows?: readonly number[];
      weights?: Readonly<Record<string, HostTensor>>;
    } = {},
  ): Promise<number[][][]> {
    const rows = Int32Array.from(options.rows ?? ROWS);
    const { logits } = await program.run({
      ...(options.weights ?? retro.weights),
      ...wholeTableFeeds({ texts: texts(options.ids) }),
      ...neighbourFeeds(database, rows, { texts: 2, chunks: 3, k: rows.length / 6 }),
    });
    const all = float32(logits);
    const V = all.length / (2 * T);
    return [0, 1].map((b) =>
      Array.from({ length: T }, (_, t) => Array.from(all.subarray((b * T + t) * V, (b * T + t + 1) * V))),
    );
  }

  async function baseLogits(): Promise<number[][][]> {
    const graph = new Graph('base');
    const declared = base.declare(graph);
    const inputs = tokenInputs(declared, 'texts');
    graph.output('logits', base.decoder.logits(declared.get, inputs));
    const alone = await Program.compile(graph, TEST_COMPUTE);
    const { logits } = await alone.run({ ...base.weights, ...wholeTableFeeds({ texts: texts() }) });
    await alone.dispose();
    const all = float32(logits);
    const V = all.length / (2 * T);
    return [0, 1].map((b) =>
      Array.from({ length: T }, (_, t) => Array.from(all.subarray((b * T + t) * V, (b * T + t + 1) * V))),
    );
  }

  it('is its base to the bit without neighbours, and with parts that are not trained', async () => {
    const plain = await baseLogits();
    const none = new Array(12).fill(-1);
    expect(await logits({ rows: none })).toEqual(plain);
    expect(await logits({ weights: RetroModel.create(base, CONFIG).weights })).toEqual(plain);
    const read = await logits();
    expect(read).not.toEqual(plain);
    expect(read.flat(2).every(Number.isFinite)).toBe(true);
    // Before the last token of the first chunk nothing is read.
    for (const b of [0, 1]) for (let t = 0; t < M - 1; t++) expect(read[b]![t]).toEqual(plain[b]![t]);
    // A chunk without neighbours among others that have some.
    expect((await logits({ rows: [-1, -1, ...ROWS.slice(2)] })).flat(2).every(Number.isFinite)).toBe(true);
  });

  it('shows no logit a later token', async () => {
    const before = await logits();
    for (let t = 0; t < T; t++) {
      const changed = ids.slice();
      for (const b of [0, 1]) changed[b * T + t] = changed[b * T + t]! === 9 ? 10 : 9;
      const after = await logits({ ids: changed });
      for (const b of [0, 1]) {
        for (let i = 0; i < t; i++) expect(after[b]![i]).toEqual(before[b]![i]);
        expect(after[b]![t]).not.toEqual(before[b]![t]);
      }
    }
  });

  it('shows the neighbours of chunk u to no logit before its last token, and to each of the next m', async () => {
    const before = await logits();
    for (let u = 1; u <= 3; u++) {
      const rows = ROWS.slice();
      for (const b of [0, 1]) rows[(b * 3 + u - 1) * 2] = rows[(b * 3 + u - 1) * 2]! === 8 ? 7 : 8;
      const after = await logits({ rows });
      for (const b of [0, 1]) {
        for (let t = 0; t < u * M - 1; t++) expect(after[b]![t]).toEqual(before[b]![t]);
        for (let t = u * M - 1; t <= Math.min((u + 1) * M - 2, T - 1); t++)
          expect(after[b]![t]).not.toEqual(before[b]![t]);
      }
    }
  });

  it('takes another number of neighbours than in training, in any order', async () => {
    const more = await logits({
      rows: ROWS.flatMap((row, i) => (i % 2 === 0 ? [row] : [row, (row + 3) % 9])),
    });
    expect(more).not.toEqual(await logits());
    const swapped = ROWS.map((_, i) => ROWS[i % 2 === 0 ? i + 1 : i - 1]!);
    const [one, other] = [await logits(), await logits({ rows: swapped })];
    const differences = one.flat(2).map((x, i) => Math.abs(x - other.flat(2)[i]!));
    expect(Math.max(...differences)).toBeLessThan(1e-4);
  });
});

describe('a saved model', () => {
  const folder = join(tempFiles(), 'retro');
  let base: LanguageModel;
  let database: ChunkDatabase;
  beforeAll(async () => {
    base = await LanguageModel.load(join(CAUSAL, 'gpt2'));
    database = new ChunkDatabase(await letterCorpus(base.tokenizer, TEXTS), base.tokenizer, M);
    await saveRetro(folder, trainedParts(RetroModel.create(base, CONFIG)), { base: join(CAUSAL, 'gpt2') });
  });
  afterAll(() => base.dispose());
  const source = () => bm25Source(database, leakFilter(database), { tokenize: (text) => [...text] });
  const segments = () => [
    { ids: base.tokenizer.encodeRaw('abcdefghabcdxy'), from: 1, document: 'a' },
    { ids: base.tokenizer.encodeRaw('ab'), from: 1 },
    { ids: base.tokenizer.encodeRaw('efghijklmnop'), from: 5 },
  ];

  it('scores the same, and is a language model of its own', async () => {
    const loaded = await loadRetro(folder);
    const { config } = loaded.wing;
    expect(config).toEqual({ ...CONFIG, neighbours: 2, heads: 2, headSize: 4, encoderInner: 32 });
    const [ours, theirs] = [
      new RetroSystem(trainedParts(RetroModel.create(base, CONFIG)), database, source()),
      new RetroSystem(loaded, database, source()),
    ];
    const scores = await ours.score(segments(), TEST_COMPUTE);
    expect(await theirs.score(segments(), TEST_COMPUTE)).toEqual(scores);
    expect(scores.map(({ length }) => length)).toEqual([13, 1, 7]);
    const plain = (await base.scoreTokens(segments(), TEST_COMPUTE)).map((each) => each.logProbabilities);
    expect(scores[0]!.slice(0, 3)).toEqual(plain[0]!.slice(0, 3));
    expect(scores[0]!.slice(3)).not.toEqual(plain[0]!.slice(3));
    expect(scores[1]).toEqual(plain[1]);
    const { readTokens, forwardPasses, searches } = ours.ledger.totals;
    expect({ readTokens, forwardPasses, searches }).toEqual({
      readTokens: 28,
      forwardPasses: 3,
      searches: 6,
    });

    for (const [neighbours, same] of [
      ['off', true],
      ['shuffled', false],
    ] as const) {
      const system = new RetroSystem(loaded, database, source(), { neighbours });
      const found = await system.score(segments(), TEST_COMPUTE);
      if (same) expect(found).toEqual(plain);
      else {
        expect(found).not.toEqual(scores);
        expect(await system.score(segments(), TEST_COMPUTE)).toEqual(found);
      }
      await system.dispose();
    }
    for (const part of ['neighbour', 'continuation'] as const) {
      const system = new RetroSystem(loaded, database, source(), { part });
      expect(await system.score(segments(), TEST_COMPUTE)).not.toEqual(scores);
      await system.dispose();
    }
    for (const each of [ours, theirs, loaded.base]) await each.dispose();
  });

  it('reads as many neighbours as are asked for', async () => {
    const retro = trainedParts(RetroModel.create(base, CONFIG));
    const [one, two] = [1, 2].map((k) => new RetroSystem(retro, database, source(), { k }));
    const found = await two!.score(segments(), TEST_COMPUTE);
    expect(found).not.toEqual(await one!.score(segments(), TEST_COMPUTE));
    for (const each of [one, two]) await each!.dispose();
  });

  test.each([
    [
      'other weights of the base',
      { baseDigest: 'x' },
      /retro\.json.* was trained for other weights of the base/,
    ],
    ['another version', { format: 'undrift-retro-9' }, /has the format "undrift-retro-9"/],
    ['no config', { config: {} }, /has no "chunkTokens" in its config/],
    [
      'a layer that is not there',
      { config: { ...CONFIG, neighbours: 2, heads: 2, headSize: 4, encoderInner: 32, crossLayers: [3] } },
      /cross-?layers must be layers of the model, from 1 to 2/i,
    ],
    [
      'another shape',
      { config: { ...CONFIG, neighbours: 2, heads: 2, headSize: 6, encoderInner: 32 } },
      /has the shape/,
    ],
  ])('is refused with %s', async (_, change, message) => {
    const copy = join(tempFiles(), 'copy');
    cpSync(folder, copy, { recursive: true });
    const file = join(copy, RETRO_CONFIG);
    writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), ...change }));
    await expect(openRetro(copy, base)).rejects.toThrow(message);
  });

  it('is refused for chunks of another size, and a folder that is its own base', async () => {
    const retro = RetroModel.create(base, { ...CONFIG, chunkTokens: 5 });
    expect(() => new RetroSystem(retro, database, source())).toThrow(
      'chunks of 4 tokens in the database, 5 in',
    );
    await expect(saveRetro(folder, retro, { base: folder })).rejects.toThrow('is the folder of the base');
    await expect(loadRetro(join(CAUSAL, 'gpt2'))).rejects.toThrow(
      /gpt2.* is no RETRO model: it has no retro\.json/,
    );
  });
});
