import type { JudgedData } from '../../src/data/data-in-memory.ts';
import { loadRetriever } from '../../src/models/folder/open-retriever.ts';
import type { LanguageModel } from '../../src/models/language/language-model.ts';
import { ReaderPrompt } from '../../src/models/language/reader-prompt.ts';
import { encodeCorpus } from '../../src/retrieval/encode-corpus.ts';
import { Bm25 } from '../../src/text/bm25.ts';
import { logSumExp } from '../../src/util/log-sum-exp.ts';
import { type LsrTask, promptOf, type Question, rankPassages } from './replug-lsr-task.ts';

/** Ranks at which the recall of the right passage is measured. */
export const RECALL_AT = [1, 4, 20] as const;
const DEPTH = Math.max(...RECALL_AT);
/** Text between passages in one prompt, as the reader of a joint run reads them. */
const BETWEEN = '\n\n';

/** Passages of a question, the best first, and what reading none of them scores. */
export interface Ranking {
  readonly rows: readonly number[];
  readonly scores: readonly number[];
  /** Score of the null passage; absent where it is not read. */
  readonly nothing?: number;
}

/** Question with its nats. */
export interface QuestionNats {
  readonly id: string;
  readonly nats: number;
}

const dot = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  let product = 0;
  for (let i = 0; i < a.length; i++) product += a[i]! * b[i]!;
  return product;
};

/** Ranks all passages for questions by a retriever, divided by the temperature, with the null passage. */
export async function denseRanking(
  folder: string,
  task: LsrTask,
  asked: readonly Question[],
  { temperature, threads }: { temperature: number; threads: number },
): Promise<Ranking[]> {
  const retriever = await loadRetriever(folder);
  try {
    const documents = await encodeCorpus(retriever, 'document', task.data.corpus, { threads });
    const ranked = await rankPassages(retriever, task, asked, { k: DEPTH, documents, threads });
    const [nothing, queries] = [
      await retriever.encode('document', [''], { threads }),
      await retriever.encode(
        'query',
        asked.map(({ row }) => task.data.queries.text(row)),
        { threads },
      ),
    ];
    const D = retriever.dimension;
    return ranked.map(({ rows, scores }, q) => ({
      rows,
      scores: scores.map((score) => score / temperature),
      nothing: dot(queries.subarray(q * D, (q + 1) * D), nothing) / temperature,
    }));
  } finally {
    await retriever.dispose();
  }
}

/** Ranks all passages for questions by BM25. */
export function lexicalRanking(
  { data }: LsrTask,
  asked: readonly Question[],
  temperature: number,
): Ranking[] {
  const index = Bm25.build(data.corpus.size, (row) => data.corpus.text(row));
  return asked.map(({ row }) => {
    const { rows, scores } = index.search(data.queries.text(row), DEPTH);
    return { rows: [...rows], scores: Array.from(scores, (score) => score / temperature) };
  });
}

/** Shares of the questions whose right passage is among the best k. */
export const recalls = (asked: readonly Question[], ranked: readonly Ranking[]): Record<string, number> =>
  Object.fromEntries(
    RECALL_AT.map((k) => {
      const found = asked.filter(({ gold }, q) => ranked[q]!.rows.slice(0, k).includes(gold));
      return [`recall@${k}`, found.length / asked.length];
    }),
  );

/**
 * Computes −log p of the answers to questions, in nats: the sum over the best passages and the null passage, each weighted by
 * softmax of the scores and read alone, or given the best passages in one prompt. A ranking without rows is read without a passage.
 *
 * @param of.passages  best passages that are read
 */
export async function answerNats(
  model: LanguageModel,
  task: LsrTask,
  questions: readonly Question[],
  ranked: readonly Ranking[],
  of: { passages: number; together: boolean; prompt: string; threads: number },
): Promise<QuestionNats[]> {
  const prompt = new ReaderPrompt(of.prompt);
  const read = questions.map((question, q) => readings(task, question, ranked[q]!, of));
  const prompts = read.flatMap((each) =>
    each.map(({ texts }) => prompt.tokens(model.tokenizer, texts, { maxTokens: model.decoder.maxTokens })),
  );
  const likelihoods = await model.logLikelihoods(prompts, { threads: of.threads });
  let at = 0;
  return questions.map(({ id }, q) => {
    const all = logSumExp(read[q]!.map(({ score }) => score));
    const terms = read[q]!.map(({ score }) => score - all + likelihoods[at++]!);
    return { id, nats: -logSumExp(terms) };
  });
}

/** Prompts of a question, with their scores. */
function readings(
  task: LsrTask,
  question: Question,
  { rows, scores, nothing }: Ranking,
  { passages, together }: { passages: number; together: boolean },
) {
  const best = rows.slice(0, passages);
  const bare = promptOf(task, question, undefined);
  if (best.length === 0) return [{ texts: bare, score: 0 }];
  if (together) {
    const passage = best.map((row) => task.data.corpus.text(row)).join(BETWEEN);
    return [{ texts: { ...bare, passage }, score: 0 }];
  }
  return [
    ...best.map((row, k) => ({ texts: promptOf(task, question, row), score: scores[k]! })),
    ...(nothing === undefined ? [] : [{ texts: bare, score: nothing }]),
  ];
}

/** Returns data in which each question has two documents to read that say nothing. */
export function withoutPassages(data: JudgedData): JudgedData {
  const documents = ['-', '--'].map((text) => ({ id: text, text }));
  const judgements = Object.fromEntries(
    Object.entries(data.judgements).map(([split, records]) => [
      split,
      [...(records as Iterable<{ queryId: string }>)].map(({ queryId }) => ({ queryId, docId: '-' })),
    ]),
  );
  return { ...data, documents, judgements };
}
