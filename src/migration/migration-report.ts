import type { RetrievalData } from '../data/retrieval-data.ts';
import { type Run, sharedBest } from '../eval/ranking.ts';
import { searchDepth } from '../retrieval/evaluate-retriever.ts';
import { retrievalTask } from '../retrieval/retrieve.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { evaluateStore, type StoreEvaluation } from '../store/evaluate-store.ts';
import { stalePassages } from '../store/staleness.ts';
import type { Store } from '../store/store.ts';
import type { StoredMigration } from '../store/store-head.ts';
import type { Progress } from '../util/progress.ts';
import { permutation, rngKey } from '../util/rng.ts';
import { type Compared, ComparedRankers } from './compared-rankers.ts';
import { underWay } from './migrate-store.ts';
import { type RefittedThreshold, refitThreshold, type ScoredResults } from './score-threshold.ts';

/** Settings of {@link migrationReport}. */
export interface MigrationReportOptions extends ComputeOptions {
  /** Metrics to compute. Default `ndcg@10`, `recall@100`. */
  readonly metrics?: readonly string[] | undefined;
  /** Number of best passages whose overlap is computed, and of results that thresholds are fitted to. Default 10. */
  readonly topK?: number | undefined;
  /** Largest number of queries. Default all. */
  readonly limitQueries?: number | undefined;
  /**
   * Passages to embed by the new model for a comparison with full re-embedding on a part of the store: the relevant ones first, then others
   * at random. Nothing is stored. Default 0: no such comparison.
   */
  readonly sample?: number | undefined;
  /** Threshold of scores in use with the former model, to be mapped to the new one. Default none. */
  readonly threshold?: number | undefined;
  /** Seed of the sample and of the intervals of thresholds. Default 0. */
  readonly seed?: number | undefined;
  /** Called with progress in queries. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

/**
 * Metrics by name. `overlapOld@k`: mean share of the k best passages of the former model that are among the k best of this search.
 * `overlapNew@k`: the same with full re-embedding, where that could be measured.
 */
export type MetricValues = Readonly<Record<string, number>>;

/** Searches that a report compares, each measured on the same queries and passages. */
export interface ComparedSearches {
  /** Former model: its queries over its vectors. */
  readonly old: MetricValues;
  /** New model over its own vectors alone. */
  readonly new: MetricValues;
  /** Store with `--adapter documents`: queries of the new model over its vectors and moved ones. */
  readonly mixed: MetricValues;
  /** Mixed versions without a corrector: new queries over new vectors and old ones as they are. Null if the dimensions differ. */
  readonly unmoved: MetricValues | null;
  /** Store with `--adapter queries`: queries of the new model, moved, over old vectors. Null if there is no corrector for them. */
  readonly movedQueries: MetricValues | null;
}

/** Thresholds of scores with the present property, for each search; `unmoved` has none, since its scores cannot be compared. */
export type ReportedThresholds = Readonly<Partial<Record<Compared, ThresholdPair>>>;

/** Threshold by each property that it may keep. */
export interface ThresholdPair {
  /** As many of the k best results pass. */
  readonly share: RefittedThreshold;
  /** As large a share of those that pass is relevant. */
  readonly precision: RefittedThreshold;
}

/** Comparison of a store in migration with what it was and what it will be. */
export interface MigrationReport extends ComparedSearches {
  /** The migration. */
  readonly migration: StoredMigration;
  /** Number of queries. */
  readonly queries: number;
  /** Number of passages. */
  readonly passages: number;
  /** Share of the passages that the new model has embedded. */
  readonly share: number;
  /** Whether this is all of them. Otherwise `new` finds only the passages embedded so far, and says little. */
  readonly isComplete: boolean;
  /** Comparison on a part of the passages, all of which the new model has embedded; null without a sample. */
  readonly part: (ComparedSearches & { readonly passages: number; readonly relevant: number }) | null;
  /** Thresholds for the new scores; null without a threshold. */
  readonly thresholds: ReportedThresholds | null;
}

const METRICS = ['ndcg@10', 'recall@100'];

/**
 * Measures a migration that is under way on labelled queries: the former model, the store with moved documents and with moved queries,
 * the store without a corrector, and the new model alone.
 *
 * @throws UsageError if no migration is under way, or the store holds none of the judged documents
 */
export async function migrationReport(
  store: Store,
  data: RetrievalData,
  split: string,
  options: MigrationReportOptions = {},
): Promise<MigrationReport> {
  const { sample = 0, threshold, topK = 10, seed = 0, device, threads } = options;
  const migration = underWay(store);
  const snapshot = await store.snapshot();
  const passages = await snapshot.passages.count();
  const missing = (await stalePassages(snapshot, migration.to)).length;
  const compute = { ...(device && { device }), ...(threads && { threads }) };
  const rankers = new ComparedRankers(store, snapshot, { migration, compute });
  try {
    const whole = await compare(rankers, { store, data, split, options });
    const isComplete = missing === 0;
    const part =
      sample > 0 && !isComplete ? await choosePart(store, data, split, { ...options, sample, seed }) : null;
    const parts = part && (await compare(rankers, { store, data, split, options, pids: part.pids }));
    return {
      migration,
      queries: whole.get('old')!.queries,
      passages,
      share: passages === 0 ? 0 : 1 - missing / passages,
      isComplete,
      ...metricsOf(whole, topK, isComplete),
      part: part && { passages: part.pids.length, relevant: part.relevant, ...metricsOf(parts!, topK, true) },
      thresholds: threshold === undefined ? null : thresholdsOf(whole, { threshold, topK, seed, isComplete }),
    };
  } finally {
    await rankers.dispose();
  }
}

type Evaluations = ReadonlyMap<Compared, StoreEvaluation>;

interface Comparison {
  readonly store: Store;
  readonly data: RetrievalData;
  readonly split: string;
  readonly options: MigrationReportOptions;
  /** Passages to search among, all embedded by the new model for `new`. Default all of the store, as they are. */
  readonly pids?: readonly number[];
}

/** Names of the searches, for progress. */
const STAGES: Readonly<Record<Compared, string>> = {
  old: 'former model',
  new: 'new model alone',
  mixed: 'documents moved',
  unmoved: 'without corrector',
  movedQueries: 'queries moved',
};

async function compare(
  rankers: ComparedRankers,
  { store, data, split, options, pids }: Comparison,
): Promise<Evaluations> {
  const { metrics = METRICS, topK = 10, limitQueries, onProgress } = options;
  const among = pids && new Set(pids);
  const found = new Map<Compared, StoreEvaluation>();
  for (const name of rankers.possible) {
    const measure = (ranker: Parameters<typeof evaluateStore>[1]) =>
      evaluateStore(store, ranker, data, split, {
        mode: 'dense',
        metrics,
        topK: Math.max(topK, searchDepth(metrics)),
        limitQueries,
        onProgress: (progress) =>
          onProgress?.({ ...progress, stage: `${progress.stage}, ${STAGES[name]}${pids ? ', part' : ''}` }),
      });
    const embedded = (done: number) =>
      onProgress?.({ stage: 'embed sample', done, total: pids!.length, unit: 'passages' });
    found.set(
      name,
      await (pids && name === 'new'
        ? rankers.useEmbedded(pids, measure, embedded)
        : rankers.use(name, measure, among)),
    );
  }
  return found;
}

/** Chooses the relevant passages of the queries, and others at random. */
async function choosePart(
  store: Store,
  data: RetrievalData,
  split: string,
  { limitQueries, sample, seed }: MigrationReportOptions & { sample: number; seed: number },
): Promise<{ pids: number[]; relevant: number }> {
  const { qrels } = retrievalTask(data, split, { limitQueries });
  const wanted = new Set<string>();
  for (const grades of qrels.values()) for (const [id, grade] of grades) if (grade > 0) wanted.add(id);
  const [relevant, others]: [number[], number[]] = [[], []];
  for await (const { pid, id } of (await store.snapshot()).passages.ids()) {
    (wanted.has(id) ? relevant : others).push(pid);
  }
  others.sort((a, b) => a - b);
  const order = permutation(rngKey(seed, 0, 'migration/report'), others.length);
  const more = Array.from(order.subarray(0, Math.max(0, sample - relevant.length)), (i) => others[i]!);
  return { pids: [...relevant, ...more].sort((a, b) => a - b), relevant: relevant.length };
}

function metricsOf(found: Evaluations, topK: number, isComplete: boolean): ComparedSearches {
  const of = (name: Compared): MetricValues | null => {
    const evaluation = found.get(name);
    if (!evaluation) return null;
    const overlap = (other: Compared) => sharedBest(found.get(other)!.run, evaluation.run, topK);
    return {
      ...evaluation.metrics,
      [`overlapOld@${topK}`]: overlap('old'),
      ...(isComplete && { [`overlapNew@${topK}`]: overlap('new') }),
    };
  };
  return {
    old: of('old')!,
    new: of('new')!,
    mixed: of('mixed')!,
    unmoved: of('unmoved'),
    movedQueries: of('movedQueries'),
  };
}

function thresholdsOf(
  found: Evaluations,
  {
    threshold,
    topK,
    seed,
    isComplete,
  }: { threshold: number; topK: number; seed: number; isComplete: boolean },
): ReportedThresholds {
  const results = (name: Compared): ScoredResults[] => {
    const { run, task } = found.get(name)!;
    return [...task.qrels].map(([query, grades]) => {
      const best = bestOf(run, query, topK);
      return {
        scores: best.map(({ score }) => score),
        relevant: best.map(({ docId }) => (grades.get(docId) ?? 0) > 0),
      };
    });
  };
  const present = results('old');
  const names = (['mixed', 'movedQueries', 'new'] as const).filter(
    (name) => found.has(name) && (name !== 'new' || isComplete),
  );
  return Object.fromEntries(
    names.map((name) => {
      const next = results(name);
      return [
        name,
        {
          share: refitThreshold(present, next, threshold, { seed }),
          precision: refitThreshold(present, next, threshold, { seed, keep: 'precision' }),
        },
      ];
    }),
  );
}

const bestOf = (run: Run, query: string, topK: number) => (run.get(query) ?? []).slice(0, topK);
