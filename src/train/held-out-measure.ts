import { ANSWERS_HELP } from '../data/answers.ts';
import type { RetrievalData } from '../data/retrieval-data.ts';
import type { HeldOutMeasure, HeldOutQuery, Method } from '../methods/contract/method.ts';
import type { RetrieverEvaluation } from '../retrieval/evaluate-retriever.ts';
import { DataError, UsageError } from '../util/errors.ts';
import { evenlySpaced } from '../util/evenly-spaced.ts';
import { option } from '../util/option-name.ts';

/**
 * Lists the queries of an evaluation that have an answer in words, with the documents found for them: at most `queries`, evenly
 * spaced. Those for which nothing is found are left out.
 */
export const heldOutQueries = (
  data: RetrievalData,
  found: Pick<RetrieverEvaluation, 'run' | 'task'>,
  measure: Omit<HeldOutMeasure, 'measure'>,
): HeldOutQuery[] => answeredQueries(data, found, measure).filter(({ documents }) => documents.length > 0);

/** Lists queries as {@link heldOutQueries}, with those for which nothing is found. */
export function answeredQueries(
  data: RetrievalData,
  { run, task }: Pick<RetrieverEvaluation, 'run' | 'task'>,
  { queries: limit, depth, withoutPositives = false }: Omit<HeldOutMeasure, 'measure'>,
): HeldOutQuery[] {
  const answered = [...task.queryRows].filter((row) => (data.answers?.(row) ?? []).length > 0);
  return evenlySpaced(answered, limit).map((row) => {
    const id = data.queries.id(row);
    const rowOf = (docId: string) => data.corpus.row(docId)!;
    const textOf = (docId: string) => data.corpus.text(rowOf(docId));
    const known = (docId: string) => data.corpus.row(docId) !== undefined;
    const right = [...(task.qrels.get(id) ?? [])].filter(([docId, grade]) => grade > 0 && known(docId));
    // Copies of a right document are left out with it.
    const leftOut = new Set(withoutPositives ? right.map(([docId]) => textOf(docId)) : []);
    const found = (run.get(id) ?? []).map(({ docId, score }) => ({
      ...{ row: rowOf(docId), text: textOf(docId) },
      score,
    }));
    return {
      id,
      query: data.queries.text(row),
      answers: data.answers!(row),
      documents: found.filter(({ text }) => !leftOut.has(text)).slice(0, depth),
    };
  });
}

/** Returns the number of documents to find for each query of a split, so that enough are left. */
export function heldOutDepth(
  data: RetrievalData,
  split: string,
  { depth, withoutPositives = false }: Omit<HeldOutMeasure, 'measure'>,
): number {
  if (!withoutPositives) return depth;
  const counts = [...data.qrels(split).values()].map(
    (grades) => [...grades.values()].filter((grade) => grade > 0).length,
  );
  return depth + counts.reduce((most, each) => Math.max(most, each), 0);
}

/**
 * Checks that an evaluation gives the metric that decides, where it is one of the method's own.
 *
 * @throws UsageError where the method does not measure it
 * @throws DataError where no query of the split has an answer
 */
export function checkHeldOutMetric(
  metric: string,
  {
    method,
    measure,
    data,
    split,
  }: {
    readonly method: Pick<Method, 'heldOutMetrics'>;
    readonly measure: HeldOutMeasure | undefined;
    readonly data: RetrievalData;
    readonly split: string;
  },
): void {
  if (!method.heldOutMetrics?.includes(metric)) return;
  if (!measure) {
    throw new UsageError(`${option('evalMetric', metric)} is not measured`, {
      help: `take another metric, or ${option('readerEvalQueries')} of at least 1`,
    });
  }
  const isAnswered = (id: string) => (data.answers?.(data.queries.row(id)!) ?? []).length > 0;
  if (![...data.qrels(split).keys()].some(isAnswered)) {
    throw new DataError(`${option('evalMetric', metric)} needs answers to the queries of "${split}"`, {
      file: data.name,
      help: ANSWERS_HELP,
    });
  }
}
