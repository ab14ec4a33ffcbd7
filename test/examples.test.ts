import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { permutation, rngKey } from '../src/util/rng.ts';
import { scriptOf, writeExamples } from './example-scripts.ts';
import { tempFiles } from './temp-files.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const run = promisify(execFile);

/** Makes a document that names three things in one language, and a query with the same three in another. */
const pair = (i: number) => {
  const words = [...permutation(rngKey(5, i, 'words'), 40).subarray(0, 3)];
  return {
    query: words.map((w) => `ask${w}y`).join(' '),
    positive: words.map((w) => `doc${w}x`).join(' '),
  };
};
const lines = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, i) => `${JSON.stringify(pair(from + i))}\n`).join('');
const folder = tempFiles({ 'data/train.jsonl': lines(0, 640), 'data/dev.jsonl': lines(640, 720) });

writeExamples(folder);

/** Runs an example in a separate process, with the built package and the toy data. */
async function example(name: string, script: readonly string[]): Promise<string> {
  const argv = [...script, join(folder, 'data'), join(folder, name)];
  return (await run(process.execPath, argv, { cwd: root })).stdout;
}

describe('examples that users copy', () => {
  it.each(['own-loss.ts', 'own-method.ts', 'answer-with-passages.ts'])(
    '%s has fewer than 60 lines',
    (name) => {
      const source = readFileSync(join(root, 'examples', name), 'utf8');
      expect(source.trimEnd().split('\n').length).toBeLessThan(60);
    },
  );

  it('own-loss.ts trains with its loss, beside the in-batch softmax', async () => {
    // As users run it.
    const tsx = fileURLToPath(import.meta.resolve('tsx'));
    const stdout = await example('own-loss.ts', ['--import', tsx, join(root, 'examples', 'own-loss.ts')]);
    expect(stdout).toMatch(/^in-batch +nDCG@10 0\.\d{3}\ndecoupled +nDCG@10 0\.\d{3}\n$/);
    const log = readFileSync(join(folder, 'own-loss.ts-decoupled', 'metrics.jsonl'), 'utf8');
    expect(JSON.parse(log.split('\n')[0]!)).toHaveProperty('hardest');
    const card = readFileSync(join(folder, 'own-loss.ts-decoupled', 'model', 'README.md'), 'utf8');
    expect(card).toContain('Decoupled Contrastive Learning (2022)');
  });

  it('own-method.ts trains with its method, its option and its memory', async () => {
    const stdout = await example('own-method.ts', [scriptOf(folder, 'own-method.ts')]);
    expect(stdout).toMatch(/^cross-batch-memory: nDCG@10 0\.\d{3} on the dev split/);
    const out = join(folder, 'own-method.ts');
    const { settings } = JSON.parse(readFileSync(join(out, 'settings.json'), 'utf8'));
    expect(settings).toMatchObject({ method: 'cross-batch-memory', memorySize: 512 });
    const log = readFileSync(join(out, 'metrics.jsonl'), 'utf8').trimEnd().split('\n');
    const trained = log.map((line) => JSON.parse(line)).filter(({ kind }) => kind === 'train');
    expect(trained.at(-1).memoryRows).toBeGreaterThan(trained[0].memoryRows);
    expect(existsSync(join(out, 'checkpoint', 'method.safetensors'))).toBe(true);
  });
});

describe('examples of deploying', () => {
  /** Trains a small model. */
  const train = async (name: string, seed: number) => {
    const { trainRetriever } = await import('../src/train/train-retriever.ts');
    const out = join(folder, name);
    await trainRetriever({
      data: join(folder, 'data'),
      out,
      hidden: 16,
      vocabSize: 128,
      epochs: 1,
      threads: 1,
      seed,
    });
    return out;
  };
  const trained = train('model-to-deploy', 0);
  const documents = 640 + 80;

  /** Runs an example in a separate process with these arguments. */
  const start = (name: string, ...argv: string[]) => {
    return run(process.execPath, [scriptOf(folder, name), ...argv], { cwd: folder, maxBuffer: 2 ** 26 });
  };

  it('ai-sdk-embedder.ts gives the vectors of the retriever', async () => {
    const { undriftEmbedder } = await import('../examples/ai-sdk-embedder.ts');
    const { loadRetriever } = await import('undrift');
    const model = await trained;
    const retriever = await loadRetriever(model);
    const embedder = await undriftEmbedder(model, 'document');
    const values = ['doc1x doc2x', 'doc3x'];
    const { embeddings, warnings } = await embedder.doEmbed({ values });
    expect(warnings).toEqual([]);
    expect(embeddings.flat()).toEqual([...(await retriever.encode('document', values))]);
    expect(embedder).toMatchObject({ specificationVersion: 'v3', provider: 'undrift' });
    const aborted = AbortSignal.abort(new Error('gone'));
    await expect(embedder.doEmbed({ values, abortSignal: aborted })).rejects.toThrow('gone');
    expect((await start('ai-sdk-embedder.ts', model)).stdout).toMatch(
      /^cosine -?\d\.\d{3}, 16 dimensions\n$/,
    );
  });

  it('answer-with-passages.ts reads a passage that its retriever, or BM25, has found', {
    timeout: 240_000,
  }, async () => {
    const { createLanguageModel, saveLanguageModel, Tokenizer, trainVocabulary } = await import('undrift');
    const texts = Array.from({ length: 40 }, (_, i) => pair(i).positive);
    const tokenizer = Tokenizer.fromJson(trainVocabulary(texts, { model: 'bpe', vocabSize: 300 }));
    const model = createLanguageModel({ kind: 'gpt2', tokenizer, hidden: 16, layers: 1, heads: 2 });
    const reader = join(folder, 'reader');
    await saveLanguageModel(reader, model);
    for (const finder of [await trained, 'bm25']) {
      const question = pair(3).positive;
      const { stdout } = await start(
        'answer-with-passages.ts',
        join(folder, 'data'),
        finder,
        reader,
        question,
      );
      expect(stdout).toMatch(/^read \S+: doc\d+x doc\d+x doc\d+x\n\nanswer:/);
    }
  });

  it('langchain-retriever.ts finds the passages of a store, as does the embedder of the AI SDK over its model', async () => {
    const { UndriftRetriever } = await import('../examples/langchain-retriever.ts');
    const { undriftEmbedder } = await import('../examples/ai-sdk-embedder.ts');
    const { loadRetriever } = await import('undrift');
    const { indexPassages, Store, StoreSearcher } = await import('undrift/store');
    const location = join(folder, 'store');
    const passages = Array.from({ length: 40 }, (_, i) => {
      const text = pair(i).positive;
      return { id: `p${i}`, title: i === 3 ? 'Third' : '', text, metadata: { year: 2000 + i } };
    });
    const create = { language: 'any', stem: false, stopWords: false };
    const store = await Store.open(location, { create });
    await indexPassages(store, await loadRetriever(await trained), passages);
    const searcher = new StoreSearcher(store);

    const { embeddings } = await searcher.useModel(async (model) =>
      (await undriftEmbedder(model, 'query')).doEmbed({ values: ['doc1x'] }),
    );
    expect(embeddings[0]).toEqual([...(await searcher.embed(['doc1x']))]);

    const retriever = await UndriftRetriever.open(location, { topK: 2, mode: 'bm25', filter: ['year<2020'] });
    const queries = passages.slice(0, 8).map(({ text }) => text);
    const found = await retriever.batch(queries);
    expect(found.map(([best]) => best!.id)).toEqual(passages.slice(0, 8).map(({ id }) => id));
    expect(found[3]![0]).toMatchObject({
      pageContent: `Third\n${queries[3]}`,
      metadata: { year: 2003, score: expect.any(Number) },
    });
    expect((await retriever.invoke(passages[30]!.text)).map(({ id }) => id)).not.toContain('p30');
    await retriever.close();
    const dense = await UndriftRetriever.open(location, { topK: 3, mode: 'dense' });
    const expected = await searcher.search(queries[0]!, { topK: 3, mode: 'dense' });
    const answers = await dense.batch(queries);
    expect(answers[0]!.map(({ id }) => id)).toEqual(expected.map(({ id }) => id));
    await dense.close();
    await searcher.dispose();
    await store.close();
    const { stdout } = await start('langchain-retriever.ts', location, queries[5]!);
    expect(stdout).toMatch(/^\d\.\d{4} {2}p5 {2}doc/);
  });

  it('http-server.ts finds documents, and says what is wrong with a request', async () => {
    const argv = [scriptOf(folder, 'http-server.ts'), await trained, join(folder, 'data'), '0'];
    const server = spawn(process.execPath, argv, { stdio: ['ignore', 'pipe', 'inherit'] });
    try {
      const [printed] = (await once(server.stdout.setEncoding('utf8'), 'data')) as [string];
      const address = /^(\d+) documents on (http:\S+?)\/search/.exec(printed)!;
      expect(Number(address[1])).toBeLessThanOrEqual(documents);
      const get = async (path: string) => {
        const response = await fetch(`${address[2]}${path}`);
        return { status: response.status, ...((await response.json()) as object) };
      };
      const found = (await get('/search?q=ask1y+ask2y&k=3')) as unknown as { results: { score: number }[] };
      expect(found).toMatchObject({ status: 200, query: 'ask1y ask2y' });
      const scores = found.results.map(({ score }) => score);
      expect(scores).toHaveLength(3);
      expect(scores).toEqual(scores.toSorted((a, b) => b - a));
      expect(await get('/health')).toMatchObject({ status: 200 });
      for (const path of ['/search', '/search?q=', '/search?q=a&k=0', '/search?q=a&k=x', '/search?q=a&k=101'])
        expect(await get(path)).toMatchObject({ status: 400, error: expect.any(String) });
      expect(await get('/other')).toMatchObject({ status: 404 });
    } finally {
      server.kill();
    }
  });

  it('own-vector-store.ts migrates a database of its own', async () => {
    const { stdout } = await start(
      'own-vector-store.ts',
      await trained,
      await train('next-model', 1),
      join(folder, 'data'),
    );
    const [, rows, corrected, embedded] =
      /^\w+: (\d+) rows served, (\d+) by corrected vectors\n(\d+) embedded by the new model, 0 corrected left\n$/
        .exec(stdout)!
        .map(Number);
    expect(rows).toBeLessThanOrEqual(documents);
    expect(corrected).toBe(rows! - 200);
    expect(embedded).toBe(corrected);
  });

  it('pgvector.ts writes SQL in which texts are quoted and the embedding space is compared', async () => {
    const model = await trained;
    const file = join(folder, 'notes.txt');
    writeFileSync(file, "it's doc1x\nback\\slash\n");
    const { stdout } = await start('pgvector.ts', 'load', model, file);
    const { embeddingSpace } = JSON.parse(readFileSync(join(model, 'model', 'undrift.json'), 'utf8'));
    expect(stdout).toContain(`COMMENT ON TABLE passages IS '${embeddingSpace}';`);
    expect(stdout).toContain("('1', 'it''s doc1x', '[");
    expect(stdout).toContain("('2', 'back\\slash', '[");
    expect(stdout).toMatch(/^BEGIN;\n.*\nCOMMIT;\n$/s);
    for (const [, list] of stdout.matchAll(/'\[(.*?)\]'/g)) expect(list!.split(',')).toHaveLength(16);
    const search = (await start('pgvector.ts', 'search', model, 'ask1y')).stdout;
    expect(search).toContain(`obj_description('passages'::regclass) = '${embeddingSpace}'`);
    await expect(start('pgvector.ts', 'load')).rejects.toThrow('usage');
  });
});
