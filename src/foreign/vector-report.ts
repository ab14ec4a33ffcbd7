import type { RetrievalData } from '../data/retrieval-data.ts';
import { evaluate } from '../eval/metrics.ts';
import { type Run, rankDocuments, sharedBest } from '../eval/ranking.ts';
import type { MetricValues, MigrationReport, MigrationReportOptions } from '../migration/migration-report.ts';
import { embeddingSpaceId } from '../models/retriever/embedding-space.ts';
import type { Retriever } from '../models/retriever/retriever.ts';
import { searchDepth } from '../retrieval/evaluate-retriever.ts';
import { retrievalTask } from '../retrieval/retrieve.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { bestRowsOf } from '../search/best-rows.ts';
import { ExactIndex } from '../search/exact-search.ts';
import type { StoredSpace } from '../store/store-head.ts';
import { UsageError } from '../util/errors.ts';
import { migrationIn, pages, placeOf, spaceIn, stateOf, unitVectors } from './store-state.ts';
import type { VectorMigration, VectorRow, VectorStore } from './vector-store.ts';

/** Comparison of a database in migration with what it was. */
export type VectorMigrationReport = Pick<MigrationReport, 'queries' | 'share' | 'mixed' | 'new'> & {
  /** The migration. */
  readonly migration: VectorMigration;
  /** Former model: its queries over its vectors; null if it is not at hand. */
  readonly old: MetricValues | null;
  /** Mean share of the 10 best rows of the former model that are among the 10 best as it is now; null if it is not at hand. */
  readonly overlap: number | null;
};

/** Settings of {@link vectorMigrationReport}. */
export type VectorReportOptions = ComputeOptions &
  Pick<MigrationReportOptions, 'metrics' | 'limitQueries' | 'onProgress'>;

const METRICS = ['ndcg@10', 'recall@100'];
const OVERLAP_DEPTH = 10;
/** Rows that are searched at once. */
const BLOCK_ROWS = 4096;

/**
 * Measures a migration that is under way on labelled queries. The ids of the rows are those of the data's documents.
 *
 * @param models.to  the new model
 * @param models.from  the former model, if it is at hand
 * @throws UsageError if no migration is under way, a model is of another space, or no judged document is in the database
 */
export async function vectorMigrationReport(
  store: VectorStore,
  models: { readonly to: Retriever; readonly from?: Retriever | undefined },
  data: RetrievalData,
  split: string,
  { metrics = METRICS, limitQueries, onProgress, ...compute }: VectorReportOptions = {},
): Promise<VectorMigrationReport> {
  const state = await stateOf(store);
  const migration = migrationIn(state, store);
  const task = retrievalTask(data, split, { limitQueries });
  const texts = Array.from(task.queryRows, (row) => data.queries.text(row));
  const queryIds = Array.from(task.queryRows, (row) => data.queries.id(row));
  const topK = searchDepth(metrics);
  const facts = await store.describe();
  const judged = new Set([...task.qrels.values()].flatMap((grades) => [...grades.keys()]));
  const measure = async (
    stage: string,
    retriever: Retriever,
    id: string,
    keep?: (row: VectorRow) => boolean,
  ) => {
    const found = embeddingSpaceId(retriever);
    if (found !== id) throw new UsageError(`the model gives vectors of the space ${found}, not of ${id}`);
    const queries = await retriever.encode('query', texts, compute);
    const space = spaceIn(state, id)!;
    const report = (done: number) =>
      onProgress?.({ stage: `search, ${stage}`, done, total: facts.rows, unit: 'passages' });
    const search = { place: placeOf(state, id), space, queries, queryIds, topK, keep, report, judged };
    const run = await searchRows(store, search, compute);
    return { run, metrics: evaluate(task.qrels, run, { metrics }).metrics };
  };
  const old = models.from ? await measure('former model', models.from, migration.from) : undefined;
  const mixed = await measure('mixed', models.to, migration.to);
  const isTrue = (row: VectorRow) => row.vector?.corrected === false;
  const alone = await measure('new model alone', models.to, migration.to, isTrue);
  const written = facts.spaces.find(({ id }) => id === migration.to);
  return {
    migration,
    queries: texts.length,
    share: written ? (written.rows - written.corrected) / facts.rows : 0,
    old: old?.metrics ?? null,
    mixed: mixed.metrics,
    new: alone.metrics,
    overlap: old ? sharedBest(old.run, mixed.run, OVERLAP_DEPTH) : null,
  };
}

/** Search over all rows of a space. */
interface RowSearch {
  /** Name by which the vectors are read. */
  readonly place: string;
  readonly space: StoredSpace;
  /** f32[B, D] */
  readonly queries: Float32Array;
  readonly queryIds: readonly string[];
  readonly topK: number;
  /** Keeps the rows that may be found. Default all. */
  readonly keep?: ((row: VectorRow) => boolean) | undefined;
  readonly report: (done: number) => void;
  /** Ids of documents that are judged, one of which at least must be a row. */
  readonly judged: ReadonlySet<string>;
}

/** Finds the best rows of each query, exactly: block by block, in bounded memory but for the ids. */
async function searchRows(
  store: VectorStore,
  { place, space, queries, queryIds, topK, keep, report, judged }: RowSearch,
  compute: ComputeOptions,
): Promise<Run> {
  const B = queryIds.length;
  const rows = new Int32Array(B * topK).fill(-1);
  const scores = new Float32Array(B * topK);
  const best = bestRowsOf({ rows, scores, k: topK });
  const ids: string[] = [];
  let anyJudged = false;
  for await (const page of pages(store, { space: place, texts: false }, BLOCK_ROWS)) {
    const found = unitVectors(keep ? page.filter(keep) : page, space, store);
    anyJudged ||= page.some(({ id }) => judged.has(id));
    const first = ids.length;
    for (const { id } of found.rows) ids.push(id);
    if (found.rows.length > 0) {
      const index = ExactIndex.create(found.vectors, space.dimension, compute);
      const result = await index.search(queries, topK);
      await index.dispose();
      for (const [b, rowsOfQuery] of best.entries()) {
        const start = b * result.k;
        const block = result.scores.subarray(start, start + result.k);
        rowsOfQuery.merge(block, (i) => first + result.rows[start + i]!);
      }
    }
    report(ids.length);
  }
  if (!anyJudged) {
    throw new UsageError(`${store.name} has none of the documents that the split judges`, {
      help: 'the ids of its rows have to be those of the documents of the data',
    });
  }
  return new Map(
    queryIds.map((id, b) => {
      const found = Array.from(rows.subarray(b * topK, (b + 1) * topK), (row, rank) => ({ row, rank }));
      const scored = found
        .filter(({ row }) => row >= 0)
        .map(({ row, rank }) => ({ docId: ids[row]!, score: scores[b * topK + rank]! }));
      return [id, rankDocuments(scored)];
    }),
  );
}
