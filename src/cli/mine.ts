import { createHash } from 'node:crypto';
import { createReadStream, existsSync, statSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { loadData } from '../data/load.ts';
import { DATA_HELP, FAULT_OPTIONS, READ_OPTIONS } from '../data/load-options.ts';
import { DEV_NAMES, type RetrievalData } from '../data/retrieval-data.ts';
import { readRunFile } from '../eval/run-file.ts';
import {
  type CandidateSource,
  denseCandidates,
  lexicalCandidates,
  runCandidates,
} from '../mining/candidate-source.ts';
import { checkMiningOptions, mineNegatives } from '../mining/mine-negatives.ts';
import { keptLines, type MinableQueries, minableQueries, pairLines } from '../mining/mined-pairs.ts';
import { CHECK_OPTIONS, MINABLE_OPTIONS, MINING_OPTIONS, PAIR_OPTIONS } from '../mining/mining-options.ts';
import { MiningStatistics } from '../mining/mining-statistics.ts';
import { crossEncoderCheck } from '../mining/negative-check.ts';
import { embeddingSpaceId } from '../models/retriever/embedding-space.ts';
import { COMPUTE_OPTIONS } from '../runtime/compute-options.ts';
import { DocumentStore } from '../store/document-store.ts';
import { STORE_OPTION } from '../store/store-options.ts';
import { BM25_OPTIONS } from '../text/bm25-options.ts';
import { ownLexicalOptions } from '../text/lexical-rankers.ts';
import { commandLine } from '../util/command-line.ts';
import { DataError, UsageError } from '../util/errors.ts';
import { openFileAtomic, writeFileAtomic } from '../util/files.ts';
import { lockBeside, withLock } from '../util/lock.ts';
import { type OptionValues, optionValues } from '../util/option-table.ts';
import { type CommandResult, defineCommand } from './command.ts';
import type { Io } from './io.ts';
import { LEXICAL_HELP, LEXICAL_WORDS, lexicalOptions, lexicalRanker } from './lexical-model.ts';
import { nothingMined, type Ranker, report } from './mine-report.ts';
import { loadCrossEncoderModel, loadModel, MODEL_HELP, readOptions, showProgress } from './model-source.ts';
import { checkNotOfData, checkOutputName } from './output-file.ts';
import { computeOptions, givenOptions, PROMPT_OPTIONS } from './shared-options.ts';

const { negatives, strategy: _, ...RULES } = MINING_OPTIONS;

const OPTIONS = {
  model: {
    type: 'text',
    value: 'model',
    required: true,
    help: `ranker: ${LEXICAL_HELP}, ${MODEL_HELP}, or a TREC run file`,
  },
  data: { type: 'text', value: 'folder', required: true, help: DATA_HELP },
  store: {
    ...STORE_OPTION.store,
    help: 'store whose passages are the documents, in place of those of --data; its vectors are used where --model has made them',
  },
  out: {
    type: 'text',
    value: 'file.jsonl',
    required: true,
    help: 'file to write: one query per line, with its positives and negatives; the other splits are kept in it, by name',
  },
  split: { type: 'text', value: 'name', default: 'train', help: 'queries of this split' },
  negatives,
  ...PAIR_OPTIONS,
  // With `all`, the number of negatives would differ between queries.
  strategy: { ...MINING_OPTIONS.strategy, choices: ['top', 'random'] },
  ...RULES,
  ...CHECK_OPTIONS,
  ...MINABLE_OPTIONS,
  ...READ_OPTIONS,
  ...PROMPT_OPTIONS,
  ...BM25_OPTIONS,
  ...COMPUTE_OPTIONS,
} as const;

/** The command `undrift mine`: finds hard negatives for the queries of a split. */
export const mineCommand = defineCommand({
  description:
    'Ranks all documents for each query and writes highly ranked documents that are no right answers, as pairs that train --data ' +
    'reads. Known positives and documents with the same text are never taken. The highest ranks of a trained model are mostly right ' +
    'answers without a judgement: begin with --rank-from 10 and --relative-margin 0.05. ' +
    'Beside the file, FILE.mining.json says what it was made of.',
  options: OPTIONS,
  examples: [
    '--data data/api-docs --model bm25 --out mined.jsonl',
    '--data data/api-docs --model runs/first --rank-from 10 --relative-margin 0.05 --strategy random --out mined.jsonl',
    '--data data/api-docs --model bm25 --check-with runs/reranker --out mined.jsonl',
    '--data data/api-docs --model first.run --negatives 1 --out mined.jsonl --json',
  ],
  async run(options, io) {
    const { out } = options;
    checkOutputName(out, '.jsonl');
    const rules = optionValues(MINING_OPTIONS, options);
    checkMiningOptions(rules);
    checkNotOfData(out, options.data);
    if (options.checkWith === undefined && options.checkMargin !== CHECK_OPTIONS.checkMargin.default)
      throw new UsageError('--check-margin is about --check-with, which is missing');
    return await withLock(lockBeside(out), () => mine(options, rules, io));
  },
});

async function mine(
  options: OptionValues<typeof OPTIONS>,
  rules: OptionValues<typeof MINING_OPTIONS>,
  io: Io,
): Promise<CommandResult> {
  const { out } = options;
  // The file is opened once before hours of ranking, to find out whether it can be written.
  await (await openFileAtomic(out)).discard();

  const startMs = performance.now();
  const store =
    options.store === undefined
      ? undefined
      : await DocumentStore.open(options.store, dirname(resolve(out)), {
          onNote: (note) => io.log(`note: ${note}`),
          onProgress: showProgress(io),
        });
  try {
    return await mineFrom(options, rules, { io, store, startMs });
  } finally {
    await store?.close();
  }
}

async function mineFrom(
  options: OptionValues<typeof OPTIONS>,
  rules: OptionValues<typeof MINING_OPTIONS>,
  { io, store, startMs }: { io: Io; store: DocumentStore | undefined; startMs: number },
): Promise<CommandResult> {
  const { out, model, split, dropSameId, positives } = options;
  const data = await loadData(options.data, {
    neededSplits: [split],
    documents: store?.documents,
    ...readOptions(io, options),
  });
  io.finishProgress();
  for (const note of data.notes) io.log(`note: ${note}`);
  const queries = minableQueries(data, split, { dropSameId });
  const kept = keptSplits(data, split);
  const { source, ranker } = await openRanker(options, data, queries, { io, store });
  const statistics = new MiningStatistics(rules.negatives);
  const hash = createHash('sha256');
  const record = recordFile(out);
  const { checkWith, checkMargin } = options;
  const checker =
    checkWith === undefined ? undefined : await loadCrossEncoderModel(checkWith, io, 'checkWith');
  try {
    const blocks = mineNegatives(source, queries, {
      ...rules,
      check:
        checker &&
        crossEncoderCheck(checker, queries.texts, { margin: checkMargin, ...computeOptions(options) }),
      statistics,
      onProgress: showProgress(io),
    });
    const mined = pairLines(queries, blocks, { positives }, named(split, kept));
    await writeFileAtomic(
      out,
      hashed(allLines(data, kept, mined), hash, async () => {
        if (statistics.negatives === 0) throw nothingMined(statistics);
        // A record that describes the previous file would be worse than none.
        await rm(record, { force: true });
      }),
    );
  } finally {
    await checker?.dispose();
    await source.dispose();
  }
  io.finishProgress();
  const facts = {
    model,
    ranker,
    embeddingSpace: 'embeddingSpace' in ranker ? ranker.embeddingSpace : null,
    data: data.name,
    store: options.store ?? null,
    fingerprint: data.fingerprint,
    split,
    documents: data.corpus.size,
    queries: statistics.queries,
    skippedQueries: queries.skipped,
    keptSplits: kept,
    rules: { ...nulls(rules), positives, dropSameId },
    check: checkWith === undefined ? null : { model: checkWith, margin: checkMargin },
    candidates: statistics.candidates,
    removed: statistics.removed,
    kept: statistics.kept,
    negatives: statistics.negatives,
    short: { ...statistics.short, counts: statistics.shortCounts },
    sha256: hash.digest('hex'),
  };
  await writeFileAtomic(record, `${JSON.stringify(facts, null, 2)}\n`);
  const seconds = (performance.now() - startMs) / 1000;
  return {
    json: { out, record, ...facts, seconds: Number(seconds.toFixed(3)) },
    text: report({ ...facts, out, seconds, statistics, next: nextCommand(options, kept) }),
  };
}

/** Splits of the data besides the one to mine for that have usable queries. They are written without mined negatives. */
function keptSplits(data: RetrievalData, mined: string): string[] {
  return data.splits.filter((split) => {
    if (split === mined || (mined !== 'dev' && DEV_NAMES.includes(mined) && split === 'dev')) return false;
    try {
      return data.examples(split).queryRows.length > 0;
    } catch (error) {
      // A faulty split, and one without a positive, were noted.
      if (error instanceof DataError) return false;
      throw error;
    }
  });
}

/** Name of the mined split in the file; none where it is the only one, so that dev and test are held out of it. */
const named = (split: string, kept: readonly string[]): string | undefined =>
  kept.length === 0 ? undefined : DEV_NAMES.includes(split) ? 'dev' : split;

/** Lines of the mined split, then those of the splits that are kept. */
async function* allLines(
  data: RetrievalData,
  kept: readonly string[],
  mined: AsyncIterable<string>,
): AsyncGenerator<string> {
  yield* mined;
  for (const split of kept) yield* keptLines(data, split);
}

/**
 * Suggests what to do with the file. The data set stays the one to evaluate on, since the file has only those of its documents that
 * are positives or negatives.
 */
function nextCommand(options: OptionValues<typeof OPTIONS>, kept: readonly string[]): string {
  const { out, split, store, negatives: wanted } = options;
  if (split !== 'train' && kept.length > 0)
    return `see what it holds: ${commandLine('data stats', {}, [out])}\n`;
  // The data may have no documents of its own beside a store; the other splits are in the file too.
  const evaluated =
    split === 'train' && kept.includes('dev') && options.columns === undefined && store === undefined;
  const evalData = evaluated ? options.data : undefined;
  const { missingDocuments, skipBadRows } =
    evalData === undefined ? {} : givenOptions(FAULT_OPTIONS, options);
  const train = {
    data: out,
    store,
    evalData,
    negatives: wanted,
    missingDocuments,
    skipBadRows,
    out: 'runs/mined',
  };
  return `train on them: ${commandLine('train', train)}\n`;
}

async function openRanker(
  options: OptionValues<typeof OPTIONS>,
  data: RetrievalData,
  queries: MinableQueries,
  { io, store }: { io: Io; store: DocumentStore | undefined },
): Promise<{ source: CandidateSource; ranker: Ranker }> {
  const { model } = options;
  const { texts, queryRows } = queries;
  const onProgress = showProgress(io);
  const lexical = lexicalRanker(options);
  if (lexical) {
    const source = lexicalCandidates(lexical, texts, { ...lexicalOptions(options), onProgress });
    return { source, ranker: { kind: lexical, ...ownLexicalOptions(lexical, options) } };
  }
  if (existsSync(model) && statSync(model).isFile()) {
    const hash = createHash('sha256');
    await pipeline(createReadStream(model), hash);
    const source = runCandidates(await readRunFile(model), data, queryRows, { file: model });
    return { source, ranker: { kind: 'run', sha256: hash.digest('hex') } };
  }
  const retriever = await loadModel(model, io, LEXICAL_WORDS, options);
  const { trainedSteps } = retriever;
  const ranker = { kind: 'retriever', embeddingSpace: embeddingSpaceId(retriever), trainedSteps } as const;
  const documents = retriever.tokenize('document', texts.documents, texts.document, {
    spill: store?.spill,
    onProgress: (progress) => onProgress({ ...progress, stage: 'read documents' }),
  });
  const asked = retriever.tokenize('query', texts.queries, texts.query);
  const rows = Uint32Array.from({ length: texts.queries }, (_, query) => query);
  const source = await denseCandidates(retriever, { tokens: asked, rows }, documents, {
    ...computeOptions(options),
    onProgress,
    stored: await store?.embeddings(retriever),
  });
  return {
    source: {
      ...source,
      async dispose() {
        await source.dispose();
        await retriever.dispose();
      },
    },
    ranker,
  };
}

/** Passes text on and updates its hash. Calls `last` after all text was passed on. */
async function* hashed(
  chunks: AsyncIterable<string>,
  hash: ReturnType<typeof createHash>,
  last: () => Promise<void>,
): AsyncGenerator<string> {
  for await (const chunk of chunks) {
    hash.update(chunk);
    yield chunk;
  }
  await last();
}

const recordFile = (out: string): string => out.replace(/\.jsonl$/, '.mining.json');

/**
 * Replaces undefined by null. JSON drops undefined values, but the absence of a rule is part of the record.
 */
const nulls = (values: Readonly<Record<string, unknown>>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [name, value ?? null]));
