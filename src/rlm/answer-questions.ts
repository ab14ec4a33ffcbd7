import { matchAnswer } from '../eval/answer-match.ts';
import { generateMany } from '../models/language/generate.ts';
import { generateFromEnsemble } from '../models/language/generate-ensemble.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import type { OptionTable } from '../util/option-table.ts';
import type { Progress } from '../util/progress.ts';
import {
  type AnsweredQuestion,
  countReading,
  type LanguageSystem,
  type Question,
  type Reading,
} from './language-system.ts';

/** Options of answering questions. */
export const ANSWER_OPTIONS = {
  answerTokens: {
    type: 'integer',
    value: 'n',
    min: 0,
    default: 24,
    help: 'longest answer that is generated, in tokens; 0 to measure the likelihood of the right answer only',
  },
} as const satisfies OptionTable;

/** Measures over questions. */
export interface AnswerResults {
  /** Mean of −log p(answer) over the questions, in nats. */
  readonly natsPerAnswer: number;
  /** Mean of −log p over the tokens of all answers, in nats. */
  readonly natsPerToken: number;
  /** Share of exact matches; absent where no answer is generated. */
  readonly exactMatch?: number;
  /** Mean F1; absent where no answer is generated. */
  readonly f1?: number;
  readonly questions: readonly AnsweredQuestion[];
}

/**
 * Answers questions by a language system: measures the likelihood of the preferred answer, generates an answer greedily, to the end of its
 * line, and compares it with all right ones.
 *
 * Systems that do not generate (see `LanguageSystem.read`) get the likelihood only.
 */
export async function answerQuestions(
  system: LanguageSystem,
  questions: readonly Question[],
  {
    answerTokens = ANSWER_OPTIONS.answerTokens.default,
    onProgress,
    ...compute
  }: {
    readonly answerTokens?: number | undefined;
    readonly onProgress?: ((progress: Progress) => void) | undefined;
  } & ComputeOptions = {},
): Promise<AnswerResults> {
  if (system.answer) {
    const answered = await system.answer(questions, { answerTokens, onProgress, ...compute });
    return { ...answerMeans(answered), questions: answered };
  }
  const segments = questions.map(({ segment }) => segment);
  const scores = await system.score(segments, { ...compute, onProgress });
  const readings = await system.read?.(segments, compute);
  const written =
    readings && answerTokens > 0
      ? await greedyAnswers(system, readings, answerTokens, { ...compute, onProgress })
      : undefined;
  const answered = questions.map(({ id, answers }, i): AnsweredQuestion => {
    const values = scores[i]!;
    const answer = written?.[i];
    return {
      id,
      nats: -values.reduce((sum, value) => sum + value, 0),
      tokens: values.length,
      ...(answer !== undefined && { answer, ...matchAnswer(answer, answers) }),
      ...(readings && { passages: [...readings[i]!.rows] }),
    };
  });
  return { ...answerMeans(answered), questions: answered };
}

/** Computes the means over questions. */
export function answerMeans(questions: readonly AnsweredQuestion[]): Omit<AnswerResults, 'questions'> {
  const sum = (of: (question: AnsweredQuestion) => number) =>
    questions.reduce((all, each) => all + of(each), 0);
  const nats = sum((each) => each.nats);
  const isGenerated = questions.every(({ f1 }) => f1 !== undefined);
  return {
    natsPerAnswer: nats / questions.length,
    natsPerToken: nats / sum(({ tokens }) => tokens),
    ...(isGenerated && {
      exactMatch: sum(({ exactMatch }) => exactMatch!) / questions.length,
      f1: sum(({ f1 }) => f1!) / questions.length,
    }),
  };
}

/** Continues readings greedily to the end of a line. */
async function greedyAnswers(
  { model, ledger }: LanguageSystem,
  readings: readonly Reading[],
  tokens: number,
  { onProgress, ...compute }: { onProgress?: ((progress: Progress) => void) | undefined } & ComputeOptions,
): Promise<string[]> {
  countReading(
    ledger,
    readings.flatMap(({ sequences }) => sequences.map((ids) => ({ ids }))),
  );
  const report = (done: number) =>
    onProgress?.({ stage: 'answer', done, total: readings.length, unit: 'questions' });
  const stop = ['\n'];
  const single = [...readings.keys()].filter((i) => readings[i]!.sequences.length === 1);
  const answers: string[] = new Array(readings.length);
  const alone = await generateMany(
    model,
    single.map((i) => readings[i]!.sequences[0]!),
    { tokens, stop, temperature: 0, ...compute, onDone: report },
  );
  for (const [place, i] of single.entries()) answers[i] = alone[place]!.text;
  let done = single.length;
  for (const [i, reading] of readings.entries()) {
    if (answers[i] !== undefined) continue;
    answers[i] = await generateFromEnsemble(model, reading, { tokens, stop, ...compute });
    report(++done);
  }
  ledger.tokens(
    'generated',
    answers.reduce((sum, text) => sum + model.tokenizer.encodeOrdinary(text).length, 0),
  );
  return answers.map((text) => text.trim());
}
