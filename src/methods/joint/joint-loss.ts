import { gatherElements } from '../../graph/ops.ts';
import type { PromptTokens } from '../../models/language/reader-prompt.ts';
import { type HostTensor, hostTensor } from '../../runtime/host-tensor.ts';
import { UndriftError } from '../../util/errors.ts';
import { optionValues, pickOptions } from '../../util/option-table.ts';
import { NONE } from '../../util/vector-rows.ts';
import type { HeldOutMeasure, MethodContext, TrainingBatch } from '../contract/method.ts';
import type { ScoredBatch, ScoreLoss } from '../step/score-loss.ts';
import { READER_OPTIONS } from '../table/reader-options.ts';
import type { TableDocuments, TableLoss } from '../table/table-losses.ts';
import { type AnswerTokens, answerFeeds, answerTokens } from './answer-tokens.ts';
import { heldOutAnswers } from './held-out-answers.ts';
import type { JointBatch, JointForm, JointReading } from './joint-form.ts';
import { JointReader } from './joint-reader.ts';

const OWN_OPTIONS = pickOptions(READER_OPTIONS, 'leaveOutPositives');

/**
 * Loss over candidates from a table that trains the reader too: it reads the first answer to each query after the candidates, in the graph
 * of the step.
 *
 * The ledger counts the prompts as `readerPassages`, and their tokens as `readerTokens`.
 */
export class JointLoss implements TableLoss {
  readonly given = 'none';
  readonly purpose = 'candidate';
  readonly masksRightAnswers: boolean;
  readonly nullPassage: boolean;
  readonly loss: ScoreLoss;
  readonly heldOut: HeldOutMeasure | undefined;
  private readonly context: MethodContext;
  private readonly form: JointForm;
  private readonly reader: JointReader;

  private constructor(context: MethodContext, form: JointForm) {
    this.context = context;
    this.form = form;
    this.reader = JointReader.of(context);
    this.nullPassage = form.nullPassage;
    this.masksRightAnswers = optionValues(OWN_OPTIONS, context.options).leaveOutPositives;
    this.loss = (batch) => form.loss(this.batch(batch));
    this.heldOut = heldOutAnswers(context, this.reader, form);
  }

  /**
   * Makes the loss of a run, and checks that its reader can read every training query with its answer.
   *
   * @throws UndriftError where the data has no answers, and for a context without a reader
   * @throws UsageError for a query that does not fit without a passage
   */
  static create(context: MethodContext, form: JointForm): JointLoss {
    if (!context.answers) throw new UndriftError('the data has no answers for the reader to learn');
    const loss = new JointLoss(context, form);
    for (const row of context.examples.queryRows) loss.prompt(row, []);
    return loss;
  }

  inputs({ queryRows }: TrainingBatch, documents: TableDocuments): Record<string, HostTensor> {
    const { form, reader } = this;
    const B = queryRows.length;
    const K = documents.rows.length / B;
    const k = K + Number(form.nullPassage);
    const columns = new BigInt64Array(B * k).fill(BigInt(documents.documentRows.length));
    const drawn = new Uint8Array(B * k).fill(1);
    for (let b = 0; b < B; b++) {
      columns.set(documents.columns.subarray(b * K, (b + 1) * K), b * k);
      drawn.set(documents.drawn.subarray(b * K, (b + 1) * K), b * k);
    }
    const feeds: Record<string, HostTensor> = {
      candidates: hostTensor('i64', [B, k], columns),
      drawn: hostTensor('bool', [B, k], drawn),
    };
    for (const name of form.readings) {
      const prompts = Array.from(queryRows, (row, b) =>
        this.read(name, row, documents.rows.subarray(b * K, (b + 1) * K)),
      );
      this.count(prompts.flat());
      Object.assign(feeds, answerFeeds(reader, prompts.flat(), { name, prompts: prompts[0]!.length }));
    }
    return feeds;
  }

  finished(): void {
    this.form.finished?.();
  }

  /** Builds the parts of a batch that the losses of joint methods share. */
  private batch({ scores, input, part }: ScoredBatch): JointBatch {
    const own = ['queries', 'k'];
    const answers = this.form.readings.map((name) => {
      const prompts = name === 'together' ? 1 : 'k';
      return [name, answerTokens(this.reader, part!, input, { name, prompts })] as const;
    });
    return {
      scores: gatherElements(scores, input('candidates', 'i64', own), { axis: 1 }),
      drawn: input('drawn', 'bool', own),
      answers: Object.fromEntries(answers) as Record<JointReading, AnswerTokens>,
    };
  }

  /** Makes the prompts of a query: one for each candidate, or a single one. */
  private read(way: JointReading, queryRow: number, rows: Int32Array): (PromptTokens | undefined)[] {
    const { form, context } = this;
    const found = rows.filter((row) => row !== NONE);
    const texts = (of: Iterable<number>) => Array.from(of, (row) => context.texts.document(row));
    if (way === 'together') return [this.prompt(queryRow, texts(found.subarray(0, form.passages)))];
    const each = Array.from(rows, (row) => {
      if (row === NONE) return undefined;
      const read =
        way === 'alone' ? [row] : found.filter((other) => other !== row).subarray(0, form.passages);
      return this.prompt(queryRow, texts(read));
    });
    return form.nullPassage ? [...each, this.prompt(queryRow, [])] : each;
  }

  private prompt(queryRow: number, passages: readonly string[]): PromptTokens {
    const { context } = this;
    const [answer] = context.answers!(queryRow);
    if (answer === undefined) throw new UndriftError(`query row ${queryRow} has no answer for the reader`);
    return this.reader.prompted({ passages, query: context.texts.query(queryRow), answer });
  }

  private count(prompts: readonly (PromptTokens | undefined)[]): void {
    const { ledger } = this.context;
    const read = prompts.flatMap((prompt) => prompt ?? []);
    ledger.add('readerPassages', read.length);
    ledger.tokens(
      'reader',
      read.reduce((sum, { ids }) => sum + ids.length, 0),
    );
  }
}
