import { join } from 'node:path';
import {
  argMax,
  cast,
  div,
  equal,
  exp,
  gatherElements,
  log,
  maximum,
  mean,
  mul,
  neg,
  sum,
} from '../../graph/ops.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { type KlDirection, teacherDivergence } from '../../losses/teacher-divergence.ts';
import { findModel } from '../../models/folder/find-model.ts';
import { LanguageModel } from '../../models/language/language-model.ts';
import { LanguageTeacher } from '../../models/language/language-teacher.ts';
import { type HostTensor, hostTensor } from '../../runtime/host-tensor.ts';
import { UndriftError, UsageError } from '../../util/errors.ts';
import { option, tellNote } from '../../util/option-name.ts';
import { optionValues } from '../../util/option-table.ts';
import { permutation, rngKey } from '../../util/rng.ts';
import { NONE } from '../../util/vector-rows.ts';
import type { HeldOutMeasure, HeldOutQuery, MethodContext, TrainingBatch } from '../contract/method.ts';
import type { LossParts, ScoreLoss } from '../step/score-loss.ts';
import { readerAgreement } from './reader-agreement.ts';
import { READER_OPTIONS } from './reader-options.ts';
import type { TableDocuments, TableLoss } from './table-losses.ts';

/** Folder of the reader's scores in the folder of a run. */
export const SCORE_FOLDER = 'reader-scores';
/** Steps whose mean tells whether the reader's distribution is of use. */
const WATCHED_STEPS = 20;
/** Shares of the largest entropy, log K, from and up to which the reader's distribution is reported. */
const UNIFORM = 0.98;
const ONE_HOT = 0.02;

/**
 * Builds the loss of P = softmax(scores of a query's candidates) against Q = softmax(g / β) of a teacher. A step feeds
 * `candidates` i64[queries, k] (columns), `drawn` bool[queries, k] and `teacher` f32[queries, k].
 *
 * Figures: `teacherEntropy`, H(Q) as a share of log k; `teacherAgreement`, the share of queries of which P and Q prefer the same
 * candidate; `expectedScore`, Σ P g. The loss to plot is always KL(Q‖P).
 */
export const candidateDivergence =
  (temperature: number, direction: KlDirection): ScoreLoss =>
  ({ scores, input }) => {
    const own = ['queries', 'k'];
    const candidates = gatherElements(scores, input('candidates', 'i64', own), { axis: 1 });
    const allowed = input('drawn', 'bool', own);
    const teacher = input('teacher', 'f32', own);
    return divergenceParts({ candidates, allowed, teacher }, { temperature, direction });
  };

/**
 * Builds the loss of {@link candidateDivergence}, and its figures, from scores of retriever and teacher.
 *
 * @param of.candidates  f32[queries, k]: scores of the retriever
 * @param of.allowed  bool[queries, k]: candidates that take part
 * @param of.teacher  f32[queries, k]: scores g of the teacher, which get no gradient
 */
export function divergenceParts(
  { candidates, allowed, teacher }: { candidates: Tensor; allowed: Tensor; teacher: Tensor },
  { temperature, direction }: { temperature: number; direction: KlDirection },
): LossParts {
  const of = (way: KlDirection) =>
    teacherDivergence(candidates, teacher, { allowed, temperature, direction: way });
  const { loss, logP, logQ } = of(direction);
  const q = exp(logQ);
  const most = log(maximum(sum(cast(allowed, 'f32'), { axes: 1 }), 2));
  const same = equal(argMax(logP, { axis: 1 }), argMax(logQ, { axis: 1 }));
  return {
    trainingLoss: loss,
    interpretableLoss: direction === 'forward' ? loss : of('forward').loss,
    metrics: {
      teacherEntropy: mean(div(neg(sum(mul(q, logQ), { axes: 1 })), most)),
      teacherAgreement: mean(cast(same, 'f32')),
      expectedScore: mean(sum(mul(exp(logP), teacher), { axes: 1 })),
    },
  };
}

/**
 * Loss of candidates from a table whose teacher is a frozen language model, the reader. It scores the first answer to the query
 * given each candidate.
 *
 * The ledger counts each pair of query and document once, when a step first needs it, whatever a shared folder of scores holds:
 * `readerPassages`, and the tokens of their prompts as `readerTokens`. So costs can be compared between runs that share scores.
 */
export class ReaderLoss implements TableLoss {
  readonly given: TableLoss['given'];
  readonly masksRightAnswers: boolean;
  readonly purpose = 'candidate';
  readonly loss: ScoreLoss;
  readonly heldOut: HeldOutMeasure | undefined;
  private readonly context: MethodContext;
  private readonly teacher: LanguageTeacher;
  private readonly isShuffled: boolean;
  /** Pairs that the ledger has counted, as query row · N + document row. */
  private readonly counted = new Set<number>();
  private entropies: number[] = [];

  private constructor(context: MethodContext, teacher: LanguageTeacher) {
    const options = optionValues(READER_OPTIONS, context.options);
    this.context = context;
    this.teacher = teacher;
    this.isShuffled = options.teacherScores === 'shuffled';
    this.given = options.goldCandidate ? 'positives' : 'none';
    // The right document that is a candidate already is not chosen a second time.
    this.masksRightAnswers = options.goldCandidate || options.leaveOutPositives;
    this.loss = candidateDivergence(options.readerTemperature, options.kl);
    const { readerEvalQueries, candidates: depth, leaveOutPositives: withoutPositives } = options;
    this.heldOut =
      readerEvalQueries === 0
        ? undefined
        : {
            ...{ queries: readerEvalQueries, depth, withoutPositives },
            measure: (queries) => this.agreement(queries),
          };
  }

  /**
   * Loads the reader.
   *
   * @throws UsageError where there is no such model, or it is no language model, and for a training query that it cannot read
   * @throws UndriftError where the data has no answers
   */
  static async load(context: MethodContext): Promise<ReaderLoss> {
    const { onNote, onProgress } = context;
    const options = optionValues(READER_OPTIONS, context.options);
    const { reader, readerCache = join(context.folder, SCORE_FOLDER) } = options;
    if (reader === undefined) throw noReader();
    if (!context.answers) throw new UndriftError('the data has no answers for the reader to score');
    const folder = await findModel(reader, [], { option: 'reader', onProgress });
    const model = await LanguageModel.load(folder, {
      ...(onNote && { onNote: (note: string) => onNote(`reader: ${note}`) }),
    });
    const teacher = await LanguageTeacher.create(model, {
      prompt: options.readerPrompt,
      score: options.readerScore,
      maxTokens: options.readerTokens,
      cache: readerCache,
    });
    const loss = new ReaderLoss(context, teacher);
    try {
      teacher.check(loss.questions());
    } catch (error) {
      await teacher.dispose();
      throw error;
    }
    return loss;
  }

  async inputs(
    batch: TrainingBatch,
    documents: TableDocuments,
    draw: number,
  ): Promise<Record<string, HostTensor>> {
    const { columns, drawn, rows } = this.withGold(batch, documents);
    const B = batch.queryRows.length;
    const k = rows.length / B;
    const scores = await this.context.ledger.time('reader', () => this.scores(batch.queryRows, rows));
    if (this.isShuffled) this.shuffle(scores, drawn, { k, draw });
    return {
      candidates: hostTensor('i64', [B, k], columns),
      drawn: hostTensor('bool', [B, k], drawn),
      teacher: hostTensor('f32', [B, k], scores),
    };
  }

  observe({ teacherEntropy }: Readonly<Record<string, number>>): void {
    if (teacherEntropy === undefined || this.entropies.length >= WATCHED_STEPS) return;
    this.entropies.push(teacherEntropy);
    if (this.entropies.length < WATCHED_STEPS) return;
    const share = this.entropies.reduce((sum, value) => sum + value, 0) / WATCHED_STEPS;
    const advice = entropyAdvice(share, Number(this.context.options.readerTemperature));
    if (advice) tellNote(this.context.onNote, advice);
  }

  state(): Record<string, HostTensor> {
    const { counted, context } = this;
    const N = context.documents.rows;
    const pairs = Int32Array.from([...counted].flatMap((pair) => [Math.floor(pair / N), pair % N]));
    const id = Uint8Array.from(Buffer.from(this.teacher.id));
    return {
      'reader/id': hostTensor('u8', [id.length], id),
      ...(counted.size > 0 && { 'reader/pairs': hostTensor('i32', [counted.size, 2], pairs) }),
    };
  }

  /** @throws UndriftError where the run had another reader */
  restore(state: Readonly<Record<string, HostTensor>>): void {
    const id = state['reader/id'];
    if (!id || Buffer.from(id.data as Uint8Array).toString() !== this.teacher.id) {
      throw new UndriftError('the reader is not the one that the run was started with', {
        help: `put the same model into the folder of ${option('reader')}, or start the run anew with ${option('overwrite', true)}`,
      });
    }
    const pairs = state['reader/pairs']?.data as Int32Array | undefined;
    this.counted.clear();
    for (let i = 0; i < (pairs?.length ?? 0); i += 2)
      this.counted.add(this.pairOf(pairs![i]!, pairs![i + 1]!));
  }

  async dispose(): Promise<void> {
    await this.teacher.dispose();
  }

  private pairOf = (query: number, document: number): number =>
    query * this.context.documents.rows + document;

  /** Adds the positive of each query to its candidates, where the options say so. */
  private withGold(
    { queryRows, positiveRows }: TrainingBatch,
    { columns, drawn, rows }: TableDocuments,
  ): Pick<TableDocuments, 'columns' | 'drawn' | 'rows'> {
    if (this.given === 'none') return { columns, drawn, rows };
    const B = queryRows.length;
    const k = rows.length / B;
    const all = {
      columns: new BigInt64Array(B * (k + 1)),
      drawn: new Uint8Array(B * (k + 1)).fill(1),
      rows: new Int32Array(B * (k + 1)),
    };
    for (let i = 0; i < B; i++) {
      const at = i * (k + 1);
      all.columns[at] = BigInt(i);
      all.rows[at] = positiveRows[i]!;
      all.columns.set(columns.subarray(i * k, (i + 1) * k), at + 1);
      all.drawn.set(drawn.subarray(i * k, (i + 1) * k), at + 1);
      all.rows.set(rows.subarray(i * k, (i + 1) * k), at + 1);
    }
    return all;
  }

  /** Scores the candidates of each query, f32[B, k]; 0 where there is none. */
  private async scores(queryRows: Int32Array, rows: Int32Array): Promise<Float32Array<ArrayBuffer>> {
    const { context, teacher } = this;
    const { texts, ledger, compute, onProgress } = context;
    const k = rows.length / queryRows.length;
    const places = [...rows.keys()].filter((at) => rows[at] !== NONE);
    const queryOf = (at: number) => queryRows[Math.floor(at / k)]!;
    const found = await teacher.scores(
      places.map((at) => ({
        passage: texts.document(rows[at]!),
        query: texts.query(queryOf(at)),
        answer: this.answer(queryOf(at)),
      })),
      { ...compute, onProgress },
    );
    const scores = new Float32Array(rows.length);
    for (const [i, at] of places.entries()) {
      scores[at] = found.scores[i]!;
      const pair = this.pairOf(queryOf(at), rows[at]!);
      if (this.counted.has(pair)) continue;
      this.counted.add(pair);
      ledger.add('readerPassages', 1);
      ledger.tokens('reader', found.promptTokens[i]!);
    }
    return scores;
  }

  /** Compares retriever and reader on queries that are not trained on. */
  private async agreement(queries: readonly HeldOutQuery[]): Promise<Readonly<Record<string, number>>> {
    const { compute, onProgress, temperature, options } = this.context;
    const { scores } = await this.teacher.scores(
      queries.flatMap(({ query, answers, documents }) =>
        documents.map(({ text }) => ({ passage: text, query, answer: answers[0]! })),
      ),
      { ...compute, onProgress },
    );
    let at = 0;
    const each = queries.map(({ documents }) => {
      at += documents.length;
      return {
        retriever: documents.map(({ score }) => score),
        reader: scores.subarray(at - documents.length, at),
      };
    });
    const { readerTemperature } = optionValues(READER_OPTIONS, options);
    return readerAgreement(each, { temperature: temperature.value, readerTemperature });
  }

  /** Lists the training queries with their answers. */
  private *questions(): Generator<{ query: string; answer: string }> {
    const { examples, texts } = this.context;
    for (const row of examples.queryRows) yield { query: texts.query(row), answer: this.answer(row) };
  }

  private answer(queryRow: number): string {
    const [answer] = this.context.answers!(queryRow);
    if (answer !== undefined) return answer;
    throw new UndriftError(`query row ${queryRow} has no answer for the reader to score`);
  }

  /** Permutes the scores of each query among its candidates. */
  private shuffle(scores: Float32Array, drawn: Uint8Array, { k, draw }: { k: number; draw: number }): void {
    for (let start = 0; start < scores.length; start += k) {
      const places = Array.from({ length: k }, (_, j) => start + j).filter((at) => drawn[at] === 1);
      const before = places.map((at) => scores[at]!);
      const order = permutation(rngKey(this.context.seed, draw, `shuffled/${start / k}`), places.length);
      for (const [i, at] of places.entries()) scores[at] = before[order[i]!]!;
    }
  }
}

/**
 * Says what to do about a reader whose distribution is of no use.
 *
 * @param share  entropy of Q as a share of log K
 * @param temperature  β
 * @returns  a note; undefined where the distribution tells candidates apart without picking one
 */
export function entropyAdvice(share: number, temperature: number): string | undefined {
  if (share >= ONE_HOT && share <= UNIFORM) return undefined;
  const isUniform = share > UNIFORM;
  const [fault, remedy, value] = isUniform
    ? ['hardly tells them apart', 'lower', temperature / 4]
    : ['all but picks a single one', 'higher', temperature * 4];
  return (
    `the reader's distribution over the candidates has ${share.toFixed(3)} of the largest entropy: it ${fault}; ` +
    `try a ${remedy} temperature, such as ${option('readerTemperature', value)} in place of ${temperature}`
  );
}

/** Makes the error of a method without a reader. */
export const noReader = (): UsageError =>
  new UsageError(`${option('reader')} is missing: the language model that teaches the retriever`, {
    help: `name a folder, a run or a model on the hub, such as ${option('reader', 'HuggingFaceTB/SmolLM2-135M-Instruct')}`,
  });
