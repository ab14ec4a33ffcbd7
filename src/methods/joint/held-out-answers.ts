import { matchAnswer } from '../../eval/answer-match.ts';
import type { Marginal } from '../../losses/candidate-marginal.ts';
import { logSumExp } from '../../util/log-sum-exp.ts';
import { optionValues, pickOptions } from '../../util/option-table.ts';
import type { HeldOutMeasure, HeldOutQuery, MethodContext } from '../contract/method.ts';
import { READER_OPTIONS } from '../table/reader-options.ts';
import type { JointReadings } from './joint-form.ts';
import { JOINT_READER_OPTIONS } from './joint-options.ts';
import type { AskedPrompt, CurrentReader, JointReader, ReadPrompt, WritingOptions } from './joint-reader.ts';

/** Figures of how well reader and retriever answer together, of which larger is better. */
export const ANSWER_METRICS = ['answerLogLikelihood', 'exactMatch'] as const;

/** Parts of a run that measurements of answers need. */
export type AnswerContext = Pick<MethodContext, 'retriever' | 'temperature' | 'compute' | 'options'>;

/** Query with the documents that were found for it. */
export type FoundFor = Pick<HeldOutQuery, 'query'> & {
  /** Best documents, by descending score, with the scores of the retriever before the temperature. */
  readonly documents: readonly Pick<HeldOutQuery['documents'][number], 'text' | 'score'>[];
};

/** Prompts of a query, with the log-probability that it is answered by each. */
interface Asked {
  readonly prompts: readonly Omit<ReadPrompt, 'answer'>[];
  readonly logP: readonly number[];
}

/**
 * Makes the measurement of answers to queries that are not trained on, by the documents that the current retriever ranks highest:
 *
 * - `answerLogLikelihood`: mean log p(preferred answer), in nats, summed over the candidates (for the whole answer or for each token) or given
 *   all of them, as in training
 * - `exactMatch`: share of right greedy answers, written as in training: given all documents, or by the mixture of what the reader predicts
 *   given each; absent where no answer is generated. A masked language model fills in the answer given its likeliest candidate.
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
  const asked = await ask(context, queries, form);
  const whole = asked.map(({ prompts }, i) =>
    prompts.map((prompt): ReadPrompt => ({ ...prompt, answer: queries[i]!.answers[0]! })),
  );
  const scores = await model.scoreAnswers(whole.flat(), context.compute);
  const prompts = asked.map(({ logP }, i) => ({ prompts: whole[i]!, logP }));
  const settings = { tokens, ...context.compute };
  const written = tokens > 0 ? await writeAnswers({ model, form }, prompts, settings) : undefined;
  let at = 0;
  return prompts.map(({ prompts: own, logP }, i): HeldOutAnswer => {
    const answer = written && written[i]!.trim();
    const read = scores.slice(at, at + own.length);
    at += own.length;
    return {
      logLikelihood: marginalLikelihood(logP, read, form.marginal),
      tokens: read[0]!.length,
      ...(answer !== undefined && { answer, ...matchAnswer(answer, queries[i]!.answers) }),
    };
  });
}

/**
 * Computes log p(answer) where the retriever chooses one of several prompts (see `candidateMarginal`).
 *
 * @param logP  log-probability of each prompt
 * @param tokens  log p of each token of the answer, given each prompt
 */
export function marginalLikelihood(
  logP: readonly number[],
  tokens: readonly Float32Array[],
  marginal: Marginal = 'sequence',
): number {
  const total = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0);
  if (marginal === 'sequence') return logSumExp(logP.map((each, k) => each + total([...tokens[k]!])));
  const mixed = (t: number) => logSumExp(logP.map((each, k) => each + tokens[k]![t]!));
  return total(Array.from(tokens[0]!, (_, t) => mixed(t)));
}

/** Writes the answer to a query by the documents that were found for it. Where there is none, the reader reads the query alone. */
export async function writeAnswer(
  context: AnswerContext,
  found: FoundFor,
  {
    model,
    form,
    ...options
  }: { readonly model: CurrentReader; readonly form: JointReadings } & WritingOptions,
): Promise<string> {
  const [answer] = await writeAnswers({ model, form }, await ask(context, [found], form), options);
  return answer!;
}

/** Writes the answer to each query: given all documents together, or by the mixture of what the reader predicts given each. */
async function writeAnswers(
  { model, form }: { readonly model: CurrentReader; readonly form: JointReadings },
  asked: readonly { readonly prompts: readonly AskedPrompt[]; readonly logP: readonly number[] }[],
  options: WritingOptions,
): Promise<string[]> {
  const { marginal } = form;
  if (marginal === undefined || !model.writeMixed) {
    const likeliest = asked.map(({ prompts, logP }) => prompts[logP.indexOf(Math.max(...logP))]!);
    return await model.write(likeliest, options);
  }
  const weights = marginal === 'token' ? 'fixed' : 'posterior';
  const answers: string[] = [];
  for (const { prompts, logP } of asked)
    answers.push(await model.writeMixed(prompts, { ...options, logWeights: logP, weights }));
  return answers;
}

/** Makes the prompts of queries. */
async function ask(
  context: AnswerContext,
  queries: readonly FoundFor[],
  { readings, passages, nullPassage }: JointReadings,
): Promise<Asked[]> {
  if (!readings.includes('together')) return await askEach(context, { queries, nullPassage });
  return queries.map(({ query, documents }) => ({
    prompts: [{ query, passages: documents.slice(0, passages).map(({ text }) => text) }],
    logP: [0],
  }));
}

/** Asks each query once for each document, and without one, weighted as the retriever weights them. */
async function askEach(
  { retriever, temperature, compute }: AnswerContext,
  { queries, nullPassage }: { queries: readonly FoundFor[]; nullPassage: boolean },
): Promise<Asked[]> {
  const D = retriever.dimension;
  const texts = queries.map(({ query }) => query);
  const vectors = nullPassage ? await retriever.encode('query', texts, compute) : undefined;
  const nothing = nullPassage ? await retriever.encode('document', [''], compute) : undefined;
  return queries.map(({ query, documents }, i) => {
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
      prompts: read.map((passages) => ({ passages, query })),
      logP: scores.map((score) => score - all),
    };
  });
}
