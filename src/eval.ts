/**
 * Metrics, comparison of runs, and run and qrels files, for programs that search by other means. Loads no native code.
 *
 *     import { compareRuns, evaluate, readQrels, readRunFile } from 'undrift/eval';
 *
 * @module undrift/eval
 */
export { readQrels } from './data/qrels.ts';
export {
  type EvaluateOptions,
  type Evaluation,
  evaluate,
  type Qrels as EvaluationQrels,
} from './eval/metrics.ts';
export { writeQrelsFile } from './eval/qrels-file.ts';
export type { Run, ScoredDocument } from './eval/ranking.ts';
export { formatComparison, formatMetrics } from './eval/report.ts';
export { readRunFile, writeRunFile } from './eval/run-file.ts';
export { type CompareOptions, compareRuns, type RunComparison } from './eval/significance.ts';
