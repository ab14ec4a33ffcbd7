import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { letterCorpus } from '../../test/letter-corpus.ts';
import { TEST_COMPUTE } from '../../test/test-device.ts';
import { trainedParts } from '../../test/trained-parts.ts';
import { Graph } from '../graph/graph.ts';
import { generateText } from '../models/language/generate.ts';
import { LanguageModel } from '../models/language/language-model.ts';
import { wholeTableFeeds } from '../models/retriever/token-feeds.ts';
import { tokenInputs } from '../models/retriever/token-inputs.ts';
import { float32 } from '../runtime/host-tensor.ts';
import { Program } from '../runtime/program.ts';
import { ChunkDatabase } from './chunk-database.ts';
import { NO_NEIGHBOUR, neighbourFeeds } from './chunk-neighbours.ts';
import { leakFilter } from './leak-filter.ts';
import { type PassageSource, randomSource } from './passage-source.ts';
import { RetroModel } from './retro.ts';
import { type RetroReading, RetroSystem } from './retro-system.ts';

const CAUSAL = fileURLToPath(new URL('../models/language/fixtures/causal', import.meta.url));
const M = 4;
const TEXTS = ['abcdefghijklmnop', 'abcdxyzw', 'efghQRST', 'mnopUVWX', 'zzzz'];
const TOKENS = 14;

describe.each(['gpt2', 'llama-untied'])('generation with RETRO over %s', (name) => {
  let base: LanguageModel;
  let database: ChunkDatabase;
  let retro: RetroModel;
  let program: Program;
  let source: PassageSource;
  let usual: RetroSystem;
  beforeAll(async () => {
    base = await LanguageModel.load(join(CAUSAL, name));
    database = new ChunkDatabase(await letterCorpus(base.tokenizer, TEXTS), base.tokenizer, M);
    const shape = { chunkTokens: M, crossLayers: [1, 2], encoderLayers: 2, encoderCrossLayers: [1] };
    retro = trainedParts(RetroModel.create(base, shape));
    // Every chunk has neighbours, which depend on its text.
    source = randomSource(database, leakFilter(database.readPassages));
    usual = new RetroSystem(retro, database, source);
    const graph = new Graph('whole');
    const declared = retro.declare(graph);
    const inputs = tokenInputs(declared, 'texts');
    graph.output(
      'logits',
      base.decoder.logits(declared.get, inputs, { memory: retro.memory(declared, inputs) }),
    );
    program = await Program.compile(graph, TEST_COMPUTE);
  });
  afterAll(async () => {
    await usual.dispose();
    await program.dispose();
    await base.dispose();
  });

  /** Continues a text by a pass over all of it for each token. Texts shorter than a chunk are filled up behind, which no logit sees. */
  async function withoutCache(
    prompt: readonly number[],
    {
      k = 2,
      part = 'both',
      find = source,
    }: { k?: number; part?: RetroReading['part']; find?: PassageSource } = {},
  ): Promise<number[]> {
    const ids = [...prompt];
    const V = base.decoder.vocabSize;
    for (let step = 0; step < TOKENS; step++) {
      const own = Int32Array.from([...ids, ...new Array(Math.max(0, M - ids.length)).fill(0)]);
      const chunks = Math.floor(own.length / M);
      const rows = new Int32Array(chunks * k).fill(NO_NEIGHBOUR);
      for (let u = 0; (u + 1) * M <= ids.length; u++) {
        const text = base.tokenizer.decode(own.subarray(u * M, (u + 1) * M));
        const [found] = await find.find([{ text }], k);
        rows.set(found!.rows, u * k);
      }
      const mask = Float32Array.from(own, (_, t) => Number(t < ids.length));
      const { logits } = await program.run({
        ...retro.weights,
        ...wholeTableFeeds({ texts: { ids: own, mask, batch: 1, tokens: own.length } }),
        ...neighbourFeeds(database, rows, { texts: 1, chunks, k }, part),
      });
      const last = float32(logits).subarray((ids.length - 1) * V, ids.length * V);
      ids.push(last.indexOf(last.reduce((a, b) => Math.max(a, b))));
    }
    return ids.slice(prompt.length);
  }

  const GREEDY = { tokens: TOKENS, temperature: 0, ...TEST_COMPUTE };
  /** Continues a text greedily. */
  async function continued(system: RetroSystem, prompt: readonly number[]): Promise<readonly number[]> {
    const pieces = system.generate(prompt, GREEDY);
    for (;;) {
      const { done, value } = await pieces.next();
      if (done) return value.ids;
    }
  }
  const cached = async (prompt: readonly number[], reading: RetroReading = {}, find = source) => {
    const system = new RetroSystem(retro, database, find, reading);
    const ids = await continued(system, prompt);
    await system.dispose();
    return ids;
  };

  const PROMPTS = [[5], [5, 9, 7], [5, 9, 7, 11], [5, 9, 7, 11, 6], [5, 9, 7, 11, 6, 13, 8, 20, 4, 10, 12]];
  it.each(PROMPTS)('chooses the tokens of passes over the whole text', async (...prompt) => {
    const expected = await withoutCache(prompt);
    const found = await continued(usual, prompt);
    expect(found).toEqual(expected.slice(0, found.length));
    const end = expected.findIndex((id) => base.endIds.has(id));
    expect(found).toHaveLength(end < 0 ? TOKENS : end);
  });

  it('reads more neighbours, and a part of them', async () => {
    const prompt = PROMPTS.at(-1)!;
    const found = await cached(prompt, { k: 3, part: 'continuation' });
    const expected = await withoutCache(prompt, { k: 3, part: 'continuation' });
    expect(found).toEqual(expected.slice(0, found.length));
  });

  it('is its base where no neighbour is found, and with neighbours off', async () => {
    const prompt = PROMPTS.at(-1)!;
    const none = { ...source, find: async () => [{ rows: new Int32Array(0), scores: new Float32Array(0) }] };
    const { ids } = await generateText(base, prompt, GREEDY);
    expect(await cached(prompt, {}, none)).toEqual(ids);
    expect(await cached(prompt, { neighbours: 'off' })).toEqual(ids);
    // The neighbours show, or the tests above would say little.
    const differs = [];
    for (const each of PROMPTS)
      differs.push(`${await continued(usual, each)}` !== `${(await generateText(base, each, GREEDY)).ids}`);
    expect(differs).toContain(true);
  });

  it('finds the neighbours of each chunk once', async () => {
    const before = usual.ledger.totals.queriedChunks ?? 0;
    const prompt = PROMPTS.at(-1)!;
    const { length } = await continued(usual, prompt);
    const searched = usual.ledger.totals.queriedChunks! - before;
    // The last token is not read, nor is an end token.
    expect(searched).toBe(Math.floor((prompt.length + length - (length === TOKENS ? 1 : 0)) / M));
  });
});
