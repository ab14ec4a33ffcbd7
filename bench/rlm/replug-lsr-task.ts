import { join } from 'node:path';
import type { JudgedData } from '../../src/data/data-in-memory.ts';
import { loadData } from '../../src/data/load.ts';
import type { RetrievalData } from '../../src/data/retrieval-data.ts';
import type { PromptTexts } from '../../src/models/language/reader-prompt.ts';
import type { Retriever } from '../../src/models/retriever/retriever.ts';
import { encodeCorpus } from '../../src/retrieval/encode-corpus.ts';
import { permutation, rngKey } from '../../src/util/rng.ts';
import { answerPassages } from './answer-passages.ts';

/** Sizes of a task. */
export interface TaskSizes {
  readonly train: number;
  readonly dev: number;
  readonly test: number;
  /** Passages: the right ones of all these questions, and random others. */
  readonly corpus: number;
  /** Words to which a passage is cut. */
  readonly words: number;
}

/** Questions of a split, by their rows. */
export interface Question {
  readonly id: string;
  readonly row: number;
  readonly answer: string;
  /** Row of the right passage. */
  readonly gold: number;
}

/** Part of a question set: its data for training, and its questions by split. */
export interface LsrTask {
  readonly name: string;
  readonly memory: () => JudgedData;
  readonly data: RetrievalData;
  readonly questions: Readonly<Record<'train' | 'dev' | 'test', readonly Question[]>>;
}

const SPLITS = ['train', 'dev', 'test'] as const;

/**
 * Takes evenly spaced questions of each split, and a corpus in which each has its right passage.
 *
 * @param options.passages  `first` for documents cut to their first words; `answer` for passages of whole sentences, of which the right one
 *   has the answer (see `answerPassages`)
 */
export async function lsrTask(
  folder: string,
  name: string,
  sizes: TaskSizes,
  { passages = 'first' }: { passages?: 'first' | 'answer' } = {},
): Promise<LsrTask> {
  const given = await loadData(join(folder, name), { answers: true });
  const whole =
    passages === 'first' ? given : await loadData(answerPassages(given, sizes.words), { answers: true });
  const rows = new Set<number>();
  const picked = SPLITS.map((split) => {
    const { queryRows, positives } = whole.examples(split);
    const usable = [...queryRows.keys()].filter((i) => whole.answers!(queryRows[i]!).length > 0);
    const count = Math.min(sizes[split], usable.length);
    return Array.from({ length: count }, (_, j) => {
      const i = usable[Math.floor((j * usable.length) / count)]!;
      const gold = positives.rows[positives.offsets[i]!]!;
      rows.add(gold);
      return { query: queryRows[i]!, gold };
    });
  });
  for (const row of permutation(rngKey(1, 0, `corpus/${name}`), whole.corpus.size)) {
    if (rows.size >= sizes.corpus) break;
    rows.add(row);
  }
  const cut = (text: string) => text.split(/\s+/).slice(0, sizes.words).join(' ');
  const memory = (): JudgedData => ({
    name,
    documents: [...rows].map((row) => ({ id: whole.corpus.id(row), text: cut(whole.corpus.text(row)) })),
    queries: picked
      .flat()
      .map(({ query }) => ({ id: whole.queries.id(query), text: whole.queries.text(query) })),
    judgements: Object.fromEntries(
      SPLITS.map((split, s) => [
        split,
        picked[s]!.map(({ query, gold }) => ({
          queryId: whole.queries.id(query),
          docId: whole.corpus.id(gold),
        })),
      ]),
    ),
    answers: picked
      .flat()
      .map(({ query }) => ({ id: whole.queries.id(query), answers: whole.answers!(query) })),
  });
  const data = await loadData(memory(), { answers: true });
  const questions = Object.fromEntries(
    SPLITS.map((split, s) => [
      split,
      picked[s]!.map(({ query, gold }): Question => {
        const id = whole.queries.id(query);
        const row = data.queries.row(id)!;
        return { id, row, answer: data.answers!(row)[0]!, gold: data.corpus.row(whole.corpus.id(gold))! };
      }),
    ]),
  );
  return { name, memory, data, questions: questions as unknown as LsrTask['questions'] };
}

/** Text of a prompt; `document` undefined for none. */
export const promptOf = (
  { data }: LsrTask,
  question: Question,
  document: number | undefined,
): PromptTexts => ({
  passage: document === undefined ? undefined : data.corpus.text(document),
  query: data.queries.text(question.row),
  answer: question.answer,
});

/** Passages of a question with their similarities, the best first. */
export interface RankedPassages {
  readonly rows: readonly number[];
  readonly scores: readonly number[];
}

/** Ranks all passages for the questions of a split by a retriever, and keeps the best k. */
export async function rankPassages(
  retriever: Retriever,
  { data }: LsrTask,
  questions: readonly Question[],
  { k, documents, threads }: { k: number; documents: Float32Array; threads: number },
): Promise<RankedPassages[]> {
  const rows = Uint32Array.from(questions, ({ row }) => row);
  const queries = await encodeCorpus(retriever, 'query', data.queries, { rows, threads });
  const D = retriever.dimension;
  const N = data.corpus.size;
  return questions.map((_, q) => {
    const scores = Float64Array.from({ length: N }, (_, n) => {
      let product = 0;
      for (let i = 0; i < D; i++) product += queries[q * D + i]! * documents[n * D + i]!;
      return product;
    });
    const order = Array.from(scores.keys()).sort((a, b) => scores[b]! - scores[a]! || a - b);
    const best = order.slice(0, k);
    return { rows: best, scores: best.map((row) => scores[row]!) };
  });
}

/** Draws k random passages for each question, with equal scores. */
export const randomPassages = (
  { data }: LsrTask,
  questions: readonly Question[],
  k: number,
): RankedPassages[] =>
  questions.map(({ row }) => ({
    rows: [...permutation(rngKey(1, row, 'random'), data.corpus.size).subarray(0, k)],
    scores: new Array(k).fill(0),
  }));
