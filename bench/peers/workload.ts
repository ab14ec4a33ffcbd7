/**
 * Makes the workload of `bench/peers.ts`, in a folder that all sides read:
 *
 *     model/          an encoder with fresh weights, as Undrift saves one
 *     texts.json      documents of real lengths, to be embedded
 *     train.jsonl     pairs of query and document, all of them different
 *     batches.json    [batch][pair][query, document]: the batches that Undrift's run draws from train.jsonl, in their order
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildApiDocs } from '../../src/data/api-docs.ts';
import { loadData } from '../../src/data/load.ts';
import type { RetrievalData } from '../../src/data/retrieval-data.ts';
import { loadRetriever, saveRetriever } from '../../src/models/folder/model-folder.ts';
import { createRetriever } from '../../src/models/retriever/create-retriever.ts';
import { Tokenizer } from '../../src/text/tokenizer.ts';
import { trainVocabulary } from '../../src/text/train-vocabulary.ts';
import { Batches } from '../../src/train/pair-batches.ts';

/** Encoders, each under the name of a well-known model of its size. */
export const ENCODERS = {
  minilm: { title: 'MiniLM size (6 layers, D 384)', layers: 6, hidden: 384, heads: 12, texts: 768 },
  base: { title: 'BERT-base size (12 layers, D 768)', layers: 12, hidden: 768, heads: 12, texts: 192 },
} as const;
/** Name of an encoder. */
export type EncoderName = keyof typeof ENCODERS;

/** Number of rows of the embedding table, as in BERT. The tokenizer has fewer tokens. */
const TABLE_ROWS = 30_522;
/** Maximum number of tokens of a text. */
export const MAX_TOKENS = 128;

/** Training options of both trainers. */
export const TRAINING = {
  batchSize: 16,
  lr: 2e-5,
  temperature: 0.05,
  weightDecay: 0.01,
  maxGradNorm: 1,
  seed: 1,
};

/** Writes the workload for an encoder with fresh weights, and the first `steps` batches of a run on it. */
export async function writeWorkload(folder: string, name: EncoderName, steps: number): Promise<void> {
  const data = await writeTexts(folder, ENCODERS[name].texts);
  await writeEncoder(folder, name, data);
  await writeBatches(folder, steps);
}

/** Empties the folder and writes `texts.json` and `train.jsonl`. */
export async function writeTexts(folder: string, count: number): Promise<RetrievalData> {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const data = await loadData((await buildApiDocs({ out: join(folder, 'data') })).folder);
  const every = data.corpus.size / count;
  const picked = Array.from({ length: count }, (_, i) => data.corpus.text(Math.floor(i * every)));
  writeFileSync(join(folder, 'texts.json'), JSON.stringify(picked));
  writePairs(join(folder, 'train.jsonl'), data);
  return data;
}

async function writeEncoder(folder: string, name: EncoderName, data: RetrievalData): Promise<void> {
  const { hidden, layers, heads } = ENCODERS[name];
  const vocabulary = trainVocabulary(corpusTexts(data), { model: 'wordpiece', vocabSize: 8192 });
  const retriever = createRetriever({
    kind: 'transformer',
    tokenizer: Tokenizer.fromJson(vocabulary),
    hidden,
    layers,
    heads,
    vocabSize: TABLE_ROWS,
    maxQueryTokens: MAX_TOKENS,
    maxDocTokens: MAX_TOKENS,
  });
  await saveRetriever(join(folder, 'model'), retriever);
  await retriever.dispose();
}

function* corpusTexts({ corpus }: RetrievalData): Iterable<string> {
  for (let row = 0; row < corpus.size; row++) yield corpus.text(row);
}

/**
 * Writes one pair for each query, with no document in two pairs. Then nothing needs to be masked, which the
 * other trainers do not do.
 */
function writePairs(file: string, data: RetrievalData): void {
  const { queryRows, positives } = data.examples('train');
  const taken = new Set<number>();
  const lines: string[] = [];
  for (const [i, queryRow] of queryRows.entries()) {
    const row = positives.rows[positives.offsets[i]!]!;
    if (taken.has(row)) continue;
    taken.add(row);
    lines.push(JSON.stringify({ query: data.queries.text(queryRow), positive: data.corpus.text(row) }));
  }
  writeFileSync(file, `${lines.join('\n')}\n`);
}

/** Writes the batches that `undrift-train.ts` will draw. */
export async function writeBatches(folder: string, steps: number): Promise<void> {
  const data = await loadData(join(folder, 'train.jsonl'));
  const retriever = await loadRetriever(join(folder, 'model'));
  const documents = retriever.tokenize('document', data.corpus.size, (row) => data.corpus.text(row));
  const { batchSize, seed } = TRAINING;
  const batches = new Batches(data.examples('train'), documents, { batchSize, negativesPerQuery: 0, seed });
  const drawn = Array.from({ length: steps }, (_, number) => {
    const { queryRows, positiveRows } = batches.batch(number);
    return [...queryRows].map((row, i) => [data.queries.text(row), data.corpus.text(positiveRows[i]!)]);
  });
  writeFileSync(join(folder, 'batches.json'), JSON.stringify(drawn));
}
