import { logSumExp } from '../../util/log-sum-exp.ts';

/** Figures of how well a retriever agrees with its reader, of which larger is better. */
export const AGREEMENT_METRICS = ['expectedScore', 'teacherAgreement'] as const;

/** Scores of the candidates of one query, in the same order: at least one. */
export interface CandidateScores {
  /** Scores of the retriever s, before the temperature. */
  readonly retriever: ArrayLike<number>;
  /** Scores of the reader g, in nats. */
  readonly reader: ArrayLike<number>;
}

/**
 * Compares P = softmax(s / τ) of a retriever with Q = softmax(g / β) of a reader, as means over queries:
 *
 * - `expectedScore`: Σ P g, in nats
 * - `teacherAgreement`: share of queries of which P and Q prefer the same candidate
 * - `teacherDivergence`: KL(Q ‖ P), in nats
 * - `teacherEntropy`: H(Q) as a share of log K; 0 where there is one candidate
 *
 * @param queries  at least one
 */
export function readerAgreement(
  queries: readonly CandidateScores[],
  { temperature, readerTemperature }: { readonly temperature: number; readonly readerTemperature: number },
): Readonly<Record<string, number>> {
  const each = queries.map(({ retriever, reader }) => {
    const logP = logSoftmax(retriever, temperature);
    const logQ = logSoftmax(reader, readerTemperature);
    const sum = (of: (j: number) => number) => logP.reduce((total, _, j) => total + of(j), 0);
    return {
      expectedScore: sum((j) => Math.exp(logP[j]!) * reader[j]!),
      teacherAgreement: Number(largest(logP) === largest(logQ)),
      teacherDivergence: sum((j) => Math.exp(logQ[j]!) * (logQ[j]! - logP[j]!)),
      teacherEntropy: -sum((j) => Math.exp(logQ[j]!) * logQ[j]!) / Math.log(Math.max(2, logQ.length)),
    };
  });
  const mean = (of: (figures: (typeof each)[number]) => number) =>
    each.reduce((sum, figures) => sum + of(figures), 0) / each.length;
  return {
    expectedScore: mean((figures) => figures.expectedScore),
    teacherAgreement: mean((figures) => figures.teacherAgreement),
    teacherDivergence: mean((figures) => figures.teacherDivergence),
    teacherEntropy: mean((figures) => figures.teacherEntropy),
  };
}

function logSoftmax(scores: ArrayLike<number>, temperature: number): number[] {
  const scaled = Array.from(scores, (score) => score / temperature);
  const total = logSumExp(scaled);
  return scaled.map((value) => value - total);
}

const largest = (values: readonly number[]): number => values.indexOf(Math.max(...values));
