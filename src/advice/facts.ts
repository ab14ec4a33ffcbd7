import { existsSync, statSync } from 'node:fs';
import { type AnyData, loadAnyData } from '../data/any-data.ts';
import type { Corpus } from '../data/corpus.ts';
import type { LoadOptions } from '../data/load-options.ts';
import { countPieces } from '../data/pieces.ts';
import { type DataStatistics, dataStatistics, lengthStatistics, sampleOf } from '../data/statistics.ts';
import type { Retriever, Side } from '../models/retriever/retriever.ts';
import { isNewModel, resolveSettings } from '../train/settings.ts';
import type { CommandOptions } from '../util/command-line.ts';

/** Model that is to be trained: how it reads texts, and the batches it is trained in. */
export interface ModelPlan {
  /** `static`, `transformer`, or the path or name of a given model. */
  readonly name: string;
  /** Whether the model starts from random weights. */
  readonly isNew: boolean;
  /** Longest query and document, in tokens. */
  readonly maxTokens: Readonly<Record<Side, number>>;
  /** Positions of the encoder, to which lengths can be raised; undefined for no limit. */
  readonly positions: number | undefined;
  /** Queries in a batch. */
  readonly batchSize: number;
}

/** Lengths of the texts of a side, against what the model reads. */
export interface SideLengths {
  /** Share of the texts that are longer than what the model reads. */
  readonly cutRatio: number;
  /** 95th percentile of the lengths, in tokens. */
  readonly p95: number;
}

/** Facts about data and model that advice is given from. */
export interface Facts {
  /** Path or name of the data, as given. */
  readonly path: string;
  /** Whether the data is one file, of which dev and test are held out. */
  readonly isFile: boolean;
  /** Options of reading that were given; suggested commands repeat them. */
  readonly reading: CommandOptions;
  readonly statistics: DataStatistics;
  readonly model: ModelPlan;
  /** Lengths by side; null where there are no queries. */
  readonly lengths: { readonly document: SideLengths; readonly query: SideLengths | null };
  /** Whether lengths are counted by the tokenizer of the model. Otherwise they are a lower bound; see `countPieces`. */
  readonly exactLengths: boolean;
  /** Share of the documents in which the tokenizer of the model knows fewer than half of the tokens; null without a tokenizer. */
  readonly unknownRatio: number | null;
}

/** Texts that are tokenised to measure a side, at most. */
const SAMPLE = 2000;

/**
 * Reads a data set, and measures it against a model.
 *
 * @param options.model  `static`, `transformer`, or the name of a given model. Default `static`, and `transformer` without training queries
 * @param options.retriever  the given model
 * @throws DataError where the data cannot be read
 */
export async function collectFacts(
  path: string,
  {
    model,
    retriever,
    reading = {},
    ...loading
  }: {
    model?: string | undefined;
    retriever?: Retriever | undefined;
    reading?: Facts['reading'];
  } & LoadOptions,
): Promise<Facts> {
  const read = await loadAnyData(path, loading);
  const statistics = dataStatistics(read);
  const plan = planOf(model ?? defaultModel(statistics), retriever);
  const queries = read.data?.queries;
  const measured = (side: Side, corpus: Corpus) => sideLengths(side, corpus, { plan, retriever });
  return {
    path,
    isFile: existsSync(path) && statSync(path).isFile(),
    reading,
    statistics,
    model: plan,
    lengths: {
      document: measured('document', read.corpus),
      query: queries ? measured('query', queries) : null,
    },
    exactLengths: retriever !== undefined,
    unknownRatio: retriever ? unknownRatio(read, retriever) : null,
  };
}

/** Returns the model that is meant where none is named. `crop` trains a transformer: a bag of words learns little from crops. */
const defaultModel = ({ training }: DataStatistics): string => (training ? 'static' : 'transformer');

function planOf(model: string, retriever: Retriever | undefined): ModelPlan {
  const { maxQueryTokens, maxDocTokens, batchSize } = resolveSettings({ data: '-', out: '-', model });
  const own = retriever?.config.maxTokens;
  return {
    name: model,
    isNew: isNewModel(model),
    maxTokens: { query: own?.query ?? maxQueryTokens!, document: own?.document ?? maxDocTokens! },
    positions: retriever?.encoder.maxTokens,
    batchSize,
  };
}

function sideLengths(
  side: Side,
  corpus: Corpus,
  { plan, retriever }: { plan: ModelPlan; retriever: Retriever | undefined },
): SideLengths {
  const texts = [...sampleOf(corpus, SAMPLE)];
  const store = retriever?.tokenizeWhole(texts.length, (row) => texts[row]!);
  const frame = retriever?.frame(side);
  const special = frame ? frame.before.length + frame.after.length : 0;
  const lengths = Uint32Array.from(
    texts,
    (text, row) => (store ? store.length(row) : countPieces(text)) + special,
  );
  const cut = lengths.filter((length) => length > plan.maxTokens[side]).length;
  return { cutRatio: cut / lengths.length, p95: lengthStatistics(lengths).p95 };
}

function unknownRatio({ corpus }: AnyData, retriever: Retriever): number | null {
  const { unk } = retriever.tokenizer.specialIds;
  if (unk === undefined) return 0;
  const texts = [...sampleOf(corpus, SAMPLE)];
  const store = retriever.tokenizeWhole(texts.length, (row) => texts[row]!);
  const unknown = texts.filter((_, row) => {
    const tokens = [...store.tokens(row)];
    return tokens.length > 0 && 2 * tokens.filter((id) => id === unk).length > tokens.length;
  });
  return unknown.length / texts.length;
}
