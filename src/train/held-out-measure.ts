import { ANSWERS_HELP } from '../data/answers.ts';
import type { RetrievalData } from '../data/retrieval-data.ts';
import type { HeldOutMeasure, HeldOutQuery, Method } from '../methods/contract/method.ts';
import type { RetrieverEvaluation } from '../retrieval/evaluate-retriever.ts';
import { DataError, UsageError } from '../util/errors.ts';
import { evenlySpaced } from '../util/evenly-spaced.ts';
import { option } from '../util/option-name.ts';

/**
 * Lists the queries of an evaluation that have an answer in words, with the documents found for them: at most `queries`, evenly
 * spaced.
 */
export function heldOutQueries(
  data: RetrievalData,
  { run, task }: Pick<RetrieverEvaluation, 'run' | 'task'>,
  { queries: limit, depth }: Pick<HeldOutMeasure, 'queries' | 'depth'>,
): HeldOutQuery[] {
  const answered = [...task.queryRows].filter((row) => (data.answers?.(row) ?? []).length > 0);
  return evenlySpaced(answered, limit).map((row) => {
    const found = run.get(data.queries.id(row)) ?? [];
    return {
      query: data.queries.text(row),
      answers: data.answers!(row),
      documents: found.slice(0, depth).map(({ docId, score }) => ({
        text: data.corpus.text(data.corpus.row(docId)!),
        score,
      })),
    };
  });
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
