import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TEST_COMPUTE } from '../../test/test-device.ts';
import { trainedParts } from '../../test/trained-parts.ts';
import { Graph } from '../graph/graph.ts';
import { generateText } from '../models/language/generate.ts';
import type { Generation } from '../models/language/generation-rows.ts';
import { LanguageModel } from '../models/language/language-model.ts';
import { float32 } from '../runtime/host-tensor.ts';
import { Program } from '../runtime/program.ts';
import { type ChunkChoice, randomChunks, similarChunks } from './chunk-choice.ts';
import { ChunkedText } from './chunked-text.ts';
import { RptModel } from './rpt.ts';
import { allowedNeighbours, givenNeighbours, rptLayout } from './rpt-feeds.ts';
import { type ChosenNeighbours, type RptReading, RptSystem } from './rpt-system.ts';
import { windowsOf } from './text-windows.ts';

const CAUSAL = fileURLToPath(new URL('../models/language/fixtures/causal', import.meta.url));
const [M, WINDOW, STRIDE] = [4, 16, 8];
const TOKENS = 18;
const GREEDY = { tokens: TOKENS, temperature: 0, ...TEST_COMPUTE };
/** Tokens of some length. */
const prompt = (length: number) => Array.from({ length }, (_, i) => 4 + ((11 * i + (i >> 2)) % 40));

/** Chooses each token by one pass over all windows of the text, without anything cached. */
class WholePasses {
  private readonly rpt: RptModel;
  private readonly choice: ChunkChoice | undefined;
  private readonly program: Program;

  private constructor(rpt: RptModel, choice: ChunkChoice | undefined, program: Program) {
    this.rpt = rpt;
    this.choice = choice;
    this.program = program;
  }

  static async create(rpt: RptModel, choice?: ChunkChoice): Promise<WholePasses> {
    const graph = new Graph('whole');
    const { get } = rpt.declare(graph);
    const learned = choice === undefined;
    const inputs = rpt.wing.inputs(graph, { learned, given: !learned, past: false });
    const memory = rpt.wing.memory(get, inputs, () => {});
    graph.output('logits', rpt.base.decoder.logits(get, inputs.tokens, { memory }));
    return new WholePasses(rpt, choice, await Program.compile(graph, TEST_COMPUTE));
  }

  async continued(prompt: readonly number[], tokens = TOKENS): Promise<number[]> {
    const ids = [...prompt];
    for (let step = 0; step < tokens; step++) ids.push(await this.next(ids));
    return ids.slice(prompt.length);
  }

  dispose(): Promise<void> {
    return this.program.dispose();
  }

  private async next(ids: readonly number[]): Promise<number> {
    const { config } = this.rpt.wing;
    const { tokenizer, decoder } = this.rpt.base;
    // The token to predict stands in the last window, as any one: no logit before it depends on it.
    const all = Int32Array.from([...ids, 7]);
    const windows = [...windowsOf(all, config)];
    const layout = rptLayout([{ windows }], config);
    const text = new ChunkedText(all, { tokenizer, chunkTokens: M, name: '' });
    const lists = await Promise.all(
      layout.chunks.map(async ({ chunk, among }) => this.choice?.(text, chunk, among, config.neighbours)),
    );
    const given = lists.map((list) => (list ?? new Int32Array(0)).map((chunk) => layout.offsets[0]! + chunk));
    const { logits } = await this.program.run({
      ...this.rpt.weights,
      ...layout.feeds,
      ...(this.choice
        ? givenNeighbours(given, layout, config.neighbours)
        : { 'chunks/allowed': allowedNeighbours(layout) }),
    });
    const length = logits!.dims[1]!;
    const at = (windows.length - 1) * length + ids.length - 1 - windows.at(-1)!.start;
    const last = float32(logits).subarray(at * decoder.vocabSize, (at + 1) * decoder.vocabSize);
    return last.indexOf(last.reduce((a, b) => Math.max(a, b)));
  }
}

/** Continues a text greedily. */
async function generated(
  system: RptSystem,
  prompt: readonly number[],
  options: Partial<typeof GREEDY> = {},
): Promise<Generation> {
  const pieces = system.generate(prompt, { ...GREEDY, ...options });
  for (;;) {
    const { done, value } = await pieces.next();
    if (done) return value;
  }
}

describe.each(['gpt2', 'llama-untied'])('generation with RPT over %s', (name) => {
  let base: LanguageModel;
  let rpt: RptModel;
  let usual: RptSystem;
  let chosen: ChosenNeighbours[] = [];
  beforeAll(async () => {
    base = await LanguageModel.load(join(CAUSAL, name));
    rpt = trainedParts(RptModel.create(base, { chunkTokens: M, window: WINDOW, stride: STRIDE }));
    usual = new RptSystem(rpt, { onChosen: (each) => chosen.push(each) });
  });
  afterAll(async () => {
    await usual.dispose();
    await base.dispose();
  });
  const expectSame = (found: readonly number[], expected: readonly number[]) => {
    const end = expected.findIndex((id) => base.endIds.has(id));
    expect(found).toEqual(end < 0 ? expected : expected.slice(0, end));
  };

  it('chooses the tokens that scoring the whole text gives the highest probability', async () => {
    const whole = await WholePasses.create(rpt);
    for (const length of [1, 4, 16, 45])
      expectSame((await generated(usual, prompt(length))).ids, await whole.continued(prompt(length)));
    await whole.dispose();
  });

  it('has the neighbours that scoring finds, each chunk once', async () => {
    for (const length of [5, 37]) {
      chosen = [];
      const { ids } = await generated(usual, prompt(length), { tokens: 30 });
      const written = chosen;
      chosen = [];
      const all = Int32Array.from([...prompt(length), ...ids]);
      await usual.score([...windowsOf(all, rpt.wing.config, 'd')], TEST_COMPUTE);
      // The last token is written, and not read.
      const read = chosen.slice(0, Math.floor((all.length - 1) / M));
      expect(read.length).toBeGreaterThan(7);
      expect(written).toEqual(read.map((each) => ({ ...each, document: undefined })));
    }
  });

  it('reads no neighbours where none are asked for, and other tokens with them', async () => {
    const none = new RptSystem(rpt, { retrieval: 'none' });
    const [short, long] = [prompt(3), prompt(45)];
    // Within the first window it is the base.
    const { ids } = await generateText(base, short, { ...GREEDY, tokens: WINDOW - 3 });
    expect((await generated(none, short, { tokens: WINDOW - 3 })).ids).toEqual(ids);
    expect((await generated(none, long)).ids).not.toEqual((await generated(usual, long)).ids);
    expect(none.ledger.totals.queriedChunks ?? 0).toBe(0);
    await none.dispose();
  });
});

describe('generation with RPT', () => {
  let base: LanguageModel;
  beforeAll(async () => {
    base = await LanguageModel.load(join(CAUSAL, 'llama-untied'));
  });
  afterAll(() => base.dispose());
  const create = (shape: object = {}) =>
    trainedParts(RptModel.create(base, { chunkTokens: M, window: WINDOW, stride: STRIDE, ...shape }));

  it.each<[object, RptReading, ChunkChoice | undefined]>([
    [{}, { retrieval: 'bm25' }, similarChunks],
    [{}, { retrieval: 'random', seed: 3 }, randomChunks(3)],
    [{ gateFloor: null, neighbours: 3 }, {}, undefined],
    // Windows that do not overlap, and the largest overlap.
    [{ stride: WINDOW }, {}, undefined],
    [{ stride: M }, {}, undefined],
  ])('is that of whole passes with %j and %j', async (shape, reading, choice) => {
    const rpt = create(shape);
    const system = new RptSystem(rpt, reading);
    const whole = await WholePasses.create(rpt, choice);
    const found = await generated(system, prompt(29));
    const expected = await whole.continued(prompt(29), found.ids.length);
    expect(found.ids.length).toBeGreaterThan(8);
    expect(found.ids).toEqual(expected);
    await whole.dispose();
    await system.dispose();
  });

  it('goes on beyond the longest text of its base', async () => {
    const { maxTokens } = base.decoder;
    const system = new RptSystem(create());
    const sampled = { ...GREEDY, temperature: 8, tokens: 20 };
    const found = await generated(system, prompt(maxTokens! + 3), sampled);
    expect(found).toMatchObject({ finish: 'tokens', promptTokens: maxTokens! + 3 });
    expect(found.ids).toHaveLength(20);
    expect((await generated(system, prompt(maxTokens! + 3), sampled)).ids).toEqual(found.ids);
    await system.dispose();
  });

  it('needs neighbours that are known before the next chunk, and weights that are not packed', async () => {
    const rpt = create();
    const oracle = new RptSystem(rpt, { retrieval: 'oracle', oracle: similarChunks });
    expect(() => oracle.generate([5])).toThrow(/retrieval: 'oracle' knows the chunk that comes next/);
    await expect(new RptSystem(rpt).generate([5], { packWeights: true }).next()).rejects.toThrow(
      /packWeights/,
    );
  });
});
