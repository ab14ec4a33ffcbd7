import { CORRECTOR_KINDS, type Corrector, type CorrectorKind } from '../correctors/corrector.ts';
import { correctorPlan } from '../correctors/corrector-options.ts';
import { fitCorrector } from '../correctors/fit-corrector.ts';
import type { RetrievalData } from '../data/retrieval-data.ts';
import { embeddingSpaceId } from '../models/retriever/embedding-space.ts';
import type { Retriever, Side } from '../models/retriever/retriever.ts';
import { encodeCorpus } from '../retrieval/encode-corpus.ts';
import { idOrder } from '../retrieval/id-order.ts';
import { retrievalTask } from '../retrieval/retrieve.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { hostTensor } from '../runtime/host-tensor.ts';
import { ExactIndex } from '../search/exact-search.ts';
import type { SearchResult } from '../search/search-index.ts';
import { UsageError } from '../util/errors.ts';
import { option } from '../util/option-name.ts';
import { checkOptions, type GivenOptions, optionValues } from '../util/option-table.ts';
import type { Progress } from '../util/progress.ts';
import { pickRows } from '../util/vector-rows.ts';
import { CORRECTION_OPTIONS, type Direction } from './correction-options.ts';
import { type DocumentSample, sampleDocuments } from './sample-documents.ts';
import { type Gap, gaps, mapValues, type Quality, quality, recoveredShare, runOf } from './search-quality.ts';

/** Settings of {@link measureCorrection}. */
export interface CorrectionOptions extends GivenOptions<typeof CORRECTION_OPTIONS> {
  /** Called with notes on reduced samples and kinds left out. */
  onNote?: ((note: string) => void) | undefined;
  /** Called with progress in texts and queries. */
  onProgress?: ((progress: Progress) => void) | undefined;
}

/** Options that are no values. */
const CALLER_OPTIONS = ['onNote', 'onProgress'] as const satisfies readonly (keyof CorrectionOptions)[];

/** Measurement of one corrector in one direction. */
export interface Correction {
  /** Vectors that the corrector maps. */
  readonly direction: Direction;
  /** Kind of corrector. */
  readonly kind: CorrectorKind;
  /** Retrieval quality after the correction. */
  readonly quality: Quality;
  /**
   * (corrected − stale) / (full − stale) of each metric: 0 as without correction, 1 as after full
   * re-embedding. Null if the dimensions differ, or if full is not above stale beyond chance (p < 0.05).
   */
  readonly recovered: Readonly<Record<string, number | null>>;
  /** corrected / full of each metric. */
  readonly ratio: Readonly<Record<string, number>>;
  /** Mean ‖h(b) − g‖² over documents that were not fitted to, from 0 to 4. */
  readonly heldOutError: number;
  /** Number of parameters of the corrector. */
  readonly parameters: number;
  /** Time of the fit, in milliseconds. */
  readonly fitMs: number;
  /** Vectors corrected per second. */
  readonly rowsPerSecond: number;
  /** Fitted corrector, which the caller must dispose of. */
  readonly corrector: Corrector;
}

/** Facts about a model in a report. */
export interface ModelFacts {
  /** Id of the model's embedding space. */
  readonly embeddingSpace: string;
  /** Embedding size D. */
  readonly dimension: number;
  /** Number of training steps of the model. */
  readonly trainedSteps: number;
}

/** Result of {@link measureCorrection}. */
export interface CorrectionReport {
  /** Old model, which made the stored vectors. */
  readonly from: ModelFacts;
  /** New model. */
  readonly to: ModelFacts;
  /** Number of queries measured. */
  readonly queries: number;
  /** Number of documents in the corpus. */
  readonly documents: number;
  /** Number of documents fitted to. Only these need the new model, while a full re-embedding embeds all documents. */
  readonly sample: number;
  /** Quality of the old model alone: its queries against its documents. */
  readonly old: Quality;
  /**
   * Quality without correction: queries of the new model against documents of the old one. Null if the
   * dimensions differ.
   */
  readonly stale: Quality | null;
  /** Quality after full re-embedding: everything embedded by the new model. */
  readonly full: Quality;
  /** Gap to recover in each `recall@k`. Null if the dimensions differ. */
  readonly gap: Readonly<Record<string, Gap>> | null;
  /** Mean ‖b − g‖² over the documents that were not fitted to. Null if the dimensions differ. */
  readonly staleError: number | null;
  /** Measurements of each corrector in each direction. */
  readonly corrections: readonly Correction[];
}

/** Vectors f32[rows, D] of unit norm. */
type Vectors = Float32Array<ArrayBuffer>;

/**
 * Fits correctors between two models to a sample of documents, and measures how much of a full re-embedding's
 * retrieval quality they recover.
 *
 *     documents:  h(old) ≈ new    queries new · documents h(old)     against    queries new · documents new
 *     queries:    h(new) ≈ old    queries h(new) · documents old                (all searches are exact)
 *
 * Mapped queries search the old space. At best they find what the old model finds (`old` in the report),
 * without the improvements of the new model.
 *
 * Both directions are fitted to the same pairs of documents, so each needs `sample` texts embedded by the new
 * model. For the measurement, both models embed all documents. Documents of the sample are mapped by h like
 * all others, although their new vectors are known.
 *
 * @throws UsageError for an unknown option, a value out of range, when both models have one embedding space, vectors are not of unit norm, or a kind
 *   cannot serve the dimensions
 */
export async function measureCorrection(
  { from, to }: { from: Retriever; to: Retriever },
  data: RetrievalData,
  options: CorrectionOptions = {},
): Promise<CorrectionReport> {
  checkOptions(CORRECTION_OPTIONS, options, CALLER_OPTIONS);
  const values = optionValues(CORRECTION_OPTIONS, { ...options });
  const { split, limitQueries, topK, seed, sample, directions } = values;
  const { onNote, onProgress } = options;
  const compute: ComputeOptions = {
    ...(options.device && { device: options.device }),
    ...(options.threads && { threads: options.threads }),
  };
  checkModels(from, to);
  const kinds = usableKinds(options.correctors, { from, to, directions, ...(onNote && { onNote }) });
  const task = retrievalTask(data, split, { limitQueries });
  const rows = sampleDocuments(data, task, { sample, seed });
  if (rows.fitted.length < sample)
    onNote?.(`fitted to ${rows.fitted.length} documents: there are no more that answer no query`);

  const encode = async (side: Side, retriever: Retriever): Promise<Vectors> => {
    const made = await encodeCorpus(retriever, side, side === 'query' ? data.queries : data.corpus, {
      ...compute,
      ...(side === 'query' && { rows: task.queryRows }),
      onProgress: (progress) =>
        onProgress?.({
          ...progress,
          stage: `${progress.stage}, ${retriever === from ? 'old' : 'new'} model`,
        }),
    });
    return made as Vectors;
  };
  const old = { queries: await encode('query', from), documents: await encode('document', from) };
  const fresh = { queries: await encode('query', to), documents: await encode('document', to) };

  const depth = Math.max(...topK);
  const ties = idOrder(data.corpus);
  const search = async (
    queries: Vectors,
    documents: Vectors,
    report: (done: number) => void,
  ): Promise<SearchResult> => {
    const index = ExactIndex.create(documents, documents.length / data.corpus.size, compute);
    try {
      return await index.search(queries, depth, { ties, onProgress: ({ done }) => report(done) });
    } finally {
      await index.dispose();
    }
  };
  const searching = (what: string) => (done: number) =>
    onProgress?.({ stage: `search, ${what}`, done, total: task.queryRows.length, unit: 'queries' });
  const best = await search(fresh.queries, fresh.documents, searching('all re-embedded'));
  const qualityOf = (found: SearchResult): Quality => quality(data, task, { found, best, topK });
  const full = qualityOf(best);
  const oldQuality = qualityOf(await search(old.queries, old.documents, searching('old model')));
  const found =
    from.dimension === to.dimension
      ? await search(fresh.queries, old.documents, searching('nothing done'))
      : undefined;
  const stale = found ? qualityOf(found) : null;
  const gap = found ? gaps(task, runOf(data, task, best), runOf(data, task, found), { topK, seed }) : null;

  const corrections: Correction[] = [];
  const jobs = directions.flatMap((direction) => kinds.map((kind) => ({ direction, kind })));
  const total = jobs.length * task.queryRows.length;
  for (const [i, { direction, kind }] of jobs.entries()) {
    const [source, target] = direction === 'documents' ? [old, fresh] : [fresh, old];
    const { corrector, moved, ...measured } = await fit(kind, source.documents, target.documents, {
      rows,
      seed,
      compute,
      documents: data.corpus.size,
    });
    const queries =
      direction === 'documents' ? fresh.queries : await corrected(corrector, fresh.queries, to.dimension);
    const documents = direction === 'documents' ? moved : old.documents;
    const values = qualityOf(
      await search(queries, documents, (done) =>
        onProgress?.({
          stage: 'fit and search',
          done: i * task.queryRows.length + done,
          total,
          unit: 'queries',
        }),
      ),
    );
    corrections.push({
      direction,
      kind,
      quality: values,
      recovered: mapValues(values, (value, name) =>
        recoveredShare(value, stale?.[name], full[name]!, gap?.[name]),
      ),
      ratio: mapValues(values, (value, name) => value / full[name]!),
      ...measured,
      corrector,
    });
  }
  return {
    from: factsOf(from),
    to: factsOf(to),
    queries: task.queryRows.length,
    documents: data.corpus.size,
    sample: rows.fitted.length,
    old: oldQuality,
    stale,
    full,
    gap,
    staleError:
      from.dimension === to.dimension
        ? meanSquaredDistance(old.documents, fresh.documents, from.dimension, rows.heldOut)
        : null,
    corrections,
  };
}

/** Fits one corrector and corrects all documents with it. */
async function fit(
  kind: CorrectorKind,
  stale: Vectors,
  fresh: Vectors,
  {
    rows,
    seed,
    compute,
    documents,
  }: { rows: DocumentSample; seed: number; compute: ComputeOptions; documents: number },
) {
  const [dimension, toDimension] = [stale.length / documents, fresh.length / documents];
  const pairs = {
    stale: pickRows(stale, dimension, rows.fitted),
    fresh: pickRows(fresh, toDimension, rows.fitted),
  };
  let startMs = performance.now();
  const corrector = await fitCorrector(kind, pairs, { dimension, toDimension, seed, compute });
  const fitMs = performance.now() - startMs;
  // The first call compiles the programs, which is not part of the rate.
  await corrected(corrector, stale.subarray(0, dimension), dimension);
  startMs = performance.now();
  const moved = await corrected(corrector, stale, dimension);
  const rowsPerSecond = documents / ((performance.now() - startMs) / 1000);
  const heldOutError = meanSquaredDistance(moved, fresh, toDimension, rows.heldOut);
  return { corrector, moved, fitMs, rowsPerSecond, heldOutError, parameters: corrector.parameters };
}

const corrected = (corrector: Corrector, vectors: Vectors, dimension: number): Promise<Vectors> =>
  corrector.correct(hostTensor('f32', [vectors.length / dimension, dimension], vectors));

/** Computes mean ‖a − b‖² over some rows. */
function meanSquaredDistance(a: Vectors, b: Vectors, dimension: number, rows: Uint32Array): number {
  let total = 0;
  for (const row of rows) {
    for (let i = row * dimension; i < (row + 1) * dimension; i++) total += (a[i]! - b[i]!) ** 2;
  }
  return total / rows.length;
}

function checkModels(from: Retriever, to: Retriever): void {
  if (embeddingSpaceId(from) === embeddingSpaceId(to)) {
    throw new UsageError('both models have one embedding space: there is nothing to correct', {
      help: `name the model that made the stored vectors as ${option('from')}, and the one that shall embed queries from now on as ${option('to')}`,
    });
  }
  for (const [name, retriever] of [
    ['from', from],
    ['to', to],
  ] as const) {
    if (retriever.config.encoder.normalize) continue;
    throw new UsageError(
      `the model ${option(name)} does not normalise its vectors, and correctors give vectors of unit norm`,
      {
        help: 'train it with normalisation, or compare models that have it',
      },
    );
  }
}

/**
 * Returns the kinds asked for, or all that the dimensions allow.
 *
 * @throws UsageError when a kind asked for cannot serve the dimensions
 */
function usableKinds(
  asked: readonly CorrectorKind[] | undefined,
  {
    from,
    to,
    directions,
    onNote,
  }: { from: Retriever; to: Retriever; directions: readonly Direction[]; onNote?: (note: string) => void },
): readonly CorrectorKind[] {
  const check = (kind: CorrectorKind) => {
    for (const direction of directions) {
      const [source, target] = direction === 'documents' ? [from, to] : [to, from];
      correctorPlan(kind, { dimension: source.dimension, toDimension: target.dimension });
    }
  };
  for (const kind of asked ?? []) check(kind);
  if (asked) return asked;
  const usable = CORRECTOR_KINDS.filter((kind) => {
    try {
      check(kind);
      return true;
    } catch (error) {
      if (error instanceof UsageError) return false;
      throw error;
    }
  });
  const left = CORRECTOR_KINDS.filter((kind) => !usable.includes(kind));
  if (left.length > 0)
    onNote?.(
      `left out: ${left.join(', ')}, which cannot turn ${from.dimension} dimensions into ${to.dimension}`,
    );
  return usable;
}

const factsOf = (retriever: Retriever): ModelFacts => ({
  embeddingSpace: embeddingSpaceId(retriever),
  dimension: retriever.dimension,
  trainedSteps: retriever.trainedSteps,
});
