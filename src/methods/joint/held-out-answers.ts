import { matchAnswer } from '../../eval/answer-match.ts';
import { logSumExp } from '../../util/log-sum-exp.ts';
import { optionValues, pickOptions } from '../../util/option-table.ts';
import type { HeldOutMeasure, HeldOutQuery, MethodContext } from '../contract/method.ts';
import { READER_OPTIONS } from '../table/reader-options.ts';
import type { JointReadings } from './joint-form.ts';
import { JOINT_READER_OPTIONS } from './joint-options.ts';
import type { CurrentReader, JointReader, ReadPrompt } from './joint-reader.ts';

/** Figures of how well reader and retriever answer together, of which larger is better. */
export const ANSWER_METRICS = ['answerLogLikelihood', 'exactMatch'] as const;

/** Parts of a run that measurements of answers need. */
export type AnswerContext = Pick<MethodContext, 'retriever' | 'temperature' | 'compute' | 'options'>;

/** Prompts of a query, with the log-probability that it is answered by each. */
interface Asked {
  readonly prompts: readonly ReadPrompt[];
  readonly logP: readonly number[];
}

/**
 * Makes the measurement of answers to queries that are not trained on, by the documents that the current retriever ranks highest:
 *
 * - `answerLogLikelihood`: mean log p(preferred answer), in nats, summed over the candidates or given all of them, as in training
 * - `exactMatch`: share of right greedy answers, given the best candidate or all; absent where no answer is generated
 */
export function heldOutAnswers(
  context: AnswerContext,
  reader: JointReader,
  form: JointReadings,
): HeldOutMeasure | undefined {
  const options = optionValues(
    { ...pickOptions(READER_OPTIONS, 'readerEvalQueries', 'leaveOutPositives'), ...JOINT_READER_OPTIONS },
    context.options,
  );
  const { readerEvalQueries, readerAnswerTokens: tokens } = options;
  if (readerEvalQueries === 0) return undefined;
  return {
    queries: readerEvalQueries,
    depth: form.candidates,
    withoutPositives: options.leaveOutPositives,
    async measure(queries) {
      const model = await reader.current();
      try {
        const answers = await answerQueries(context, { queries, model, form, tokens });
        const mean = (of: (answer: HeldOutAnswer) => number) =>
          answers.reduce((sum, each) => sum + of(each), 0) / answers.length;
        return {
          answerLogLikelihood: mean(({ logLikelihood }) => logLikelihood),
          ...(tokens > 0 && { exactMatch: mean(({ exactMatch }) => exactMatch!) }),
        };
      } finally {
        await model.dispose();
      }
    },
  };
}

/** Answer of a reader to one query. */
export interface HeldOutAnswer {
  /** log p(preferred answer), in nats. */
  readonly logLikelihood: number;
  /** Number of tokens of the preferred answer. */
  readonly tokens: number;
  /** Greedy answer; absent where none is generated. */
  readonly answer?: string;
  /** 1 if the greedy answer is right, else 0. */
  readonly exactMatch?: number;
  /** F1 of the words of the greedy answer. */
  readonly f1?: number;
}

/**
 * Answers queries by the documents that were found for them. Where there is none, the reader reads the query alone.
 *
 * @param of.tokens  longest answer that is generated; 0 for none
 */
export async function answerQueries(
  context: AnswerContext,
  of: {
    readonly queries: readonly HeldOutQuery[];
    readonly model: CurrentReader;
    readonly form: JointReadings;
    readonly tokens: number;
  },
): Promise<HeldOutAnswer[]> {
  const { queries, model, form, tokens } = of;
  const { compute } = context;
  const asked = form.readings.includes('together')
    ? queries.map((query) => askTogether(query, form.passages))
    : await askEach(context, { queries, nullPassage: form.nullPassage });
  const likelihoods = await model.logLikelihoods(
    asked.flatMap(({ prompts }) => prompts),
    compute,
  );
  // Answers are generated from the likeliest prompt.
  const best = asked.map(({ prompts, logP }) => prompts[logP.indexOf(Math.max(...logP))]!);
  const written = tokens > 0 ? await model.write(best, { tokens, ...compute }) : undefined;
  let at = 0;
  return asked.map(({ prompts, logP }, i): HeldOutAnswer => {
    const answer = written && written[i]!.trim();
    return {
      logLikelihood: logSumExp(logP.map((own) => own + likelihoods[at++]!)),
      tokens: model.answerTokens(prompts[0]!),
      ...(answer !== undefined && { answer, ...matchAnswer(answer, queries[i]!.answers) }),
    };
  });
}

const askTogether = (query: HeldOutQuery, passages: number): Asked => ({
  prompts: [
    {
      ...{ query: query.query, answer: query.answers[0]! },
      passages: query.documents.slice(0, passages).map(({ text }) => text),
    },
  ],
  logP: [0],
});

/** Asks each query once for each document, and without one, weighted as the retriever weights them. */
async function askEach(
  { retriever, temperature, compute }: AnswerContext,
  { queries, nullPassage }: { queries: readonly HeldOutQuery[]; nullPassage: boolean },
): Promise<Asked[]> {
  const D = retriever.dimension;
  const texts = queries.map(({ query }) => query);
  const vectors = nullPassage ? await retriever.encode('query', texts, compute) : undefined;
  const nothing = nullPassage ? await retriever.encode('document', [''], compute) : undefined;
  return queries.map(({ query, answers, documents }, i) => {
    const scores = documents.map(({ score }) => score / temperature.value);
    const read = documents.map(({ text }) => [text]);
    if (vectors && nothing) {
      const own = vectors.subarray(i * D, (i + 1) * D);
      scores.push(own.reduce((sum, value, d) => sum + value * nothing[d]!, 0) / temperature.value);
      read.push([]);
    }
    if (read.length === 0) {
      scores.push(0);
      read.push([]);
    }
    const all = logSumExp(scores);
    return {
      prompts: read.map((passages) => ({ passages, query, answer: answers[0]! })),
      logP: scores.map((score) => score - all),
    };
  });
}
