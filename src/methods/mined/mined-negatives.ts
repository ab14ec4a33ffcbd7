import type { RowLists } from '../../data/examples.ts';
import { type CandidateSource, denseCandidates, lexicalCandidates } from '../../mining/candidate-source.ts';
import { mineNegatives } from '../../mining/mine-negatives.ts';
import { MiningStatistics } from '../../mining/mining-statistics.ts';
import { findModel } from '../../models/folder/find-model.ts';
import { loadRetriever } from '../../models/folder/model-folder.ts';
import { type HostTensor, hostTensor } from '../../runtime/host-tensor.ts';
import { BM25_OPTIONS } from '../../text/bm25-options.ts';
import {
  checkLexicalOptions,
  isLexical,
  LEXICAL_RANKERS,
  type LexicalOptions,
} from '../../text/lexical-rankers.ts';
import { UndriftError, UsageError } from '../../util/errors.ts';
import { option } from '../../util/option-name.ts';
import type { OptionValues } from '../../util/option-table.ts';
import { rngKey, uniform } from '../../util/rng.ts';
import { NONE } from '../../util/vector-rows.ts';
import type { MethodContext } from '../contract/method.ts';
import type { MINED_OPTIONS } from './mining-options.ts';

/** Options that choose negatives from ranked documents. A margin of 0 is no margin. */
export type MiningChoices = OptionValues<typeof MINED_OPTIONS>;

/** Name of the ranker that uses the weights in training. */
export const SELF = 'self';
/** Words that name a ranker. */
const WORDS = [...LEXICAL_RANKERS, SELF];

/** Ranker to mine with. */
export interface Miner {
  /** `bm25`, `tfidf`, `self` (the current weights), or the folder of a model. */
  readonly from: string;
  /** Options of a ranker by shared words. */
  readonly lexical?: LexicalOptions;
}

/**
 * Hard negatives of every training query, mined once with the weights of one moment. A step draws some of them. The choice of
 * documents grows stale between minings; the drawn documents are embedded anew.
 *
 * Memory: 4 bytes for each negative, at most `rankTo` − `rankFrom` for a query; during mining, the memory of the ranker.
 */
export class MinedNegatives {
  /** Updates made before the mining. */
  readonly step: number;
  /** Negatives by training example. */
  private readonly lists: RowLists;
  /** Training example of each query row, or `NONE`. */
  private readonly exampleOf: Int32Array;

  private constructor(context: MethodContext, step: number, lists: RowLists) {
    const { queryRows } = context.examples;
    this.step = step;
    this.lists = lists;
    this.exampleOf = new Int32Array(context.queries.rows).fill(NONE);
    for (const [example, row] of queryRows.entries()) this.exampleOf[row] = example;
  }

  /**
   * Mines negatives for all training queries, and adds the costs to the ledger.
   *
   * @param mining.from  ranker, with its options
   * @param mining.step  updates made so far
   */
  static async mine(
    context: MethodContext,
    choices: MiningChoices,
    { step, ...miner }: Miner & { step: number },
  ): Promise<MinedNegatives> {
    const { from } = miner;
    const { examples, positives, copies, ledger, onProgress, onNote } = context;
    const { samples, rankFrom, rankTo, absoluteMargin, relativeMargin } = choices;
    const statistics = new MiningStatistics(samples);
    const offsets = new Uint32Array(examples.queryRows.length + 1);
    const parts: Int32Array[] = [];
    await ledger.time('mine', async () => {
      const source = await openSource(context, { ...miner, step });
      try {
        const { offsets: starts, rows: own } = examples.positives;
        const task = {
          positives: (query: number) => own.subarray(starts[query], starts[query + 1]),
          rightAnswers: (query: number) => positives(examples.queryRows[query]!),
          copies,
        };
        for await (const block of mineNegatives(source, task, {
          negatives: samples,
          strategy: 'all',
          rankFrom,
          rankTo,
          ...(absoluteMargin > 0 && { absoluteMargin }),
          ...(relativeMargin > 0 && { relativeMargin }),
          statistics,
          onProgress,
        })) {
          const before = offsets[block.start]!;
          for (let i = 1; i < block.offsets.length; i++)
            offsets[block.start + i] = before + block.offsets[i]!;
          parts.push(block.rows);
        }
        ledger.cache(source.bytes + offsets.byteLength + 4 * offsets.at(-1)!);
      } finally {
        await source.dispose();
      }
    });
    const rows = new Int32Array(offsets.at(-1)!);
    for (let i = 0, at = 0; i < parts.length; at += parts[i++]!.length) rows.set(parts[i]!, at);
    const { short, queries, removed } = statistics;
    if (short.queries > 0) {
      const byMargin = removed.absoluteMargin + removed.relativeMargin;
      const why = byMargin > statistics.kept ? ': the margin to their lowest positive leaves little' : '';
      onNote?.(
        `mined by ${from}: ${short.queries} of ${queries} queries have fewer than ${samples} negatives, ` +
          `${short.withNone} none${why}`,
      );
    }
    return new MinedNegatives(context, step, { offsets, rows });
  }

  /**
   * Checks that there is such a ranker, that it takes the options, and that the ranks hold as many documents as are to be drawn.
   *
   * @throws UsageError where not
   */
  static async check(
    { samples, rankFrom, rankTo }: MiningChoices,
    { from, lexical = {} }: Miner,
  ): Promise<void> {
    if (rankTo < rankFrom + samples) {
      throw new UsageError(`ranks from ${rankFrom} and before ${rankTo} do not hold ${samples} negatives`, {
        help: `use ${option('rankTo', rankFrom + samples)} or more`,
      });
    }
    if (isLexical(from)) return checkLexicalOptions(from, lexical);
    for (const [name, { default: usual }] of Object.entries(BM25_OPTIONS)) {
      const value = lexical[name as keyof typeof BM25_OPTIONS] ?? usual;
      if (value === usual) continue;
      throw new UsageError(`${option(name, value)} has no meaning with ${option('mineFrom', from)}`, {
        help: `it is for ${LEXICAL_RANKERS.map((ranker) => option('mineFrom', ranker)).join(' and ')}`,
      });
    }
    if (from !== SELF) await findModel(from, WORDS, { option: 'mineFrom' });
  }

  /** Mean number of negatives of a query. */
  get perQuery(): number {
    return this.lists.rows.length / (this.lists.offsets.length - 1);
  }

  /**
   * Draws k different negatives for each query. Every set of k is equally likely.
   *
   * @param queryRows  i32[B]: rows of the query corpus
   * @param key  seed of the run, and number of the batch
   * @returns  i32[B, k]: document rows; `NONE` at the end where a query has fewer
   */
  draw(queryRows: Int32Array, k: number, key: { seed: number; draw: number }): Int32Array {
    const { offsets, rows } = this.lists;
    const drawn = new Int32Array(queryRows.length * k).fill(NONE);
    const u = new Float32Array(drawn.length);
    uniform(rngKey(key.seed, key.draw, 'mined'), u);
    for (const [b, queryRow] of queryRows.entries()) {
      const example = this.exampleOf[queryRow]!;
      if (example === NONE) continue;
      const list = rows.subarray(offsets[example], offsets[example + 1]);
      const count = Math.min(k, list.length);
      // Floyd's algorithm for drawing a set: the j-th draw is one of the first n − count + j + 1 places, or else the last of
      // these.
      const places = new Set<number>();
      for (let j = 0; j < count; j++) {
        const last = list.length - count + j;
        const place = Math.floor(u[b * k + j]! * (last + 1));
        places.add(places.has(place) ? last : place);
      }
      for (const [j, place] of [...places].entries()) drawn[b * k + j] = list[place]!;
    }
    return drawn;
  }

  /** Returns the negatives for a checkpoint, by name. */
  state(): Readonly<Record<string, HostTensor>> {
    const { offsets, rows } = this.lists;
    return {
      'mined/offsets': hostTensor('u32', [offsets.length], offsets as Uint32Array<ArrayBuffer>),
      'mined/rows': hostTensor('i32', [rows.length], rows as Int32Array<ArrayBuffer>),
      'mined/step': hostTensor('u32', [1], Uint32Array.of(this.step)),
    };
  }

  /**
   * Restores the negatives of a checkpoint.
   *
   * @throws UndriftError where the checkpoint holds none, or those of other data
   */
  static restore(context: MethodContext, state: Readonly<Record<string, HostTensor>>): MinedNegatives {
    const offsets = state['mined/offsets']?.data;
    const rows = state['mined/rows']?.data;
    const step = state['mined/step']?.data[0];
    const examples = context.examples.queryRows.length;
    if (!(offsets instanceof Uint32Array && rows instanceof Int32Array && typeof step === 'number')) {
      throw new UndriftError('the checkpoint holds no mined negatives', {
        help: `start the run anew with ${option('overwrite', true)}`,
      });
    }
    const { rows: documents } = context.documents;
    const fits = offsets.length === examples + 1 && offsets.at(-1) === rows.length;
    if (!fits || rows.some((row) => row < 0 || row >= documents)) {
      throw new UndriftError('the negatives in the checkpoint were mined for other data', {
        help: `start the run anew with ${option('overwrite', true)}`,
      });
    }
    return new MinedNegatives(context, step, { offsets, rows });
  }
}

/** Creates the ranker, and adds its costs to the ledger. */
async function openSource(
  context: MethodContext,
  { from, lexical, step }: Miner & { step: number },
): Promise<CandidateSource> {
  const { compute, ledger, examples, texts, retriever, queries, documents, onNote, onProgress } = context;
  const rows = Uint32Array.from(examples.queryRows);
  const progress = onProgress && { onProgress };
  if (isLexical(from)) {
    return lexicalCandidates(
      from,
      {
        documents: documents.rows,
        document: texts.document,
        queries: rows.length,
        query: (query) => texts.query(rows[query]!),
      },
      { ...lexical, ...progress },
    );
  }
  // The current weights are those of the start in the first mining only.
  const stored = from === SELF && step === 0 ? context.stored : undefined;
  if (from !== SELF) ledger.documents('mining', documents.rows);
  ledger.queries(rows.length);
  ledger.scoring(2 * rows.length * documents.rows * retriever.dimension);
  if (from === SELF) {
    return await denseCandidates(retriever, { tokens: queries, rows }, documents, {
      ...compute,
      ...progress,
      stored,
      onEncodes: (count) => ledger.documents('mining', count),
    });
  }
  const folder = await findModel(from, WORDS, { option: 'mineFrom' });
  const other = await loadRetriever(folder, { ...(onNote && { onNote }) });
  const own = other.tokenize('document', documents.rows, texts.document, {
    onProgress: (progress) => onProgress?.({ ...progress, stage: 'read documents' }),
  });
  const asked = other.tokenize('query', rows.length, (query) => texts.query(rows[query]!));
  const source = await denseCandidates(other, { tokens: asked, rows: rows.map((_, query) => query) }, own, {
    ...compute,
    ...progress,
  });
  return {
    ...source,
    async dispose() {
      await source.dispose();
      await other.dispose();
    },
  };
}
