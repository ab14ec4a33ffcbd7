import { gatherElements } from '../../graph/ops.ts';
import { type HostTensor, hostTensor } from '../../runtime/host-tensor.ts';
import { UndriftError } from '../../util/errors.ts';
import { optionValues, pickOptions } from '../../util/option-table.ts';
import { NONE } from '../../util/vector-rows.ts';
import type { HeldOutMeasure, MethodContext, TrainingBatch } from '../contract/method.ts';
import type { ScoredBatch, ScoreLoss } from '../step/score-loss.ts';
import { READER_OPTIONS } from '../table/reader-options.ts';
import type { TableDocuments, TableLoss } from '../table/table-losses.ts';
import { heldOutAnswers } from './held-out-answers.ts';
import type { AskedQuery, JointBatch, JointForm, JointReading } from './joint-form.ts';
import { JointReader } from './joint-reader.ts';

const OWN_OPTIONS = pickOptions(READER_OPTIONS, 'leaveOutPositives');

/**
 * Loss over candidates from a table that trains the reader too: it reads the first answer to each query after the candidates, in the graph
 * of the step.
 *
 * The ledger counts queries as `readerQueries`, prompts as `readerPassages`, their tokens as `readerTokens`, and the operations of the
 * reader as `readerFlops`.
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
    for (const row of context.examples.queryRows) loss.reader.check({ ...loss.asked(row), passages: [] });
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
    const feeds = {
      candidates: hostTensor('i64', [B, k], columns),
      drawn: hostTensor('bool', [B, k], drawn),
    };
    const rowsOf = (b: number) => documents.rows.subarray(b * K, (b + 1) * K);
    const queries = Array.from(queryRows, (row, b): AskedQuery => {
      const found = Array.from(rowsOf(b), (each) =>
        each === NONE ? undefined : this.context.texts.document(each),
      );
      return { ...this.asked(row), candidates: form.nullPassage ? [...found, null] : found };
    });
    const readings = form.readings.map((name) => {
      const places = queries.map(({ candidates }) => promptPlaces(name, candidates, form.passages));
      return [name, places] as const;
    });
    const read = reader.feeds(queries, Object.fromEntries(readings), form.learnt);
    const { ledger } = this.context;
    ledger.add('readerQueries', B);
    ledger.add('readerPassages', read.prompts);
    ledger.add('readerFlops', read.flops);
    ledger.tokens('reader', read.tokens);
    return { ...feeds, ...read.feeds };
  }

  finished(): void {
    this.form.finished?.();
  }

  /** Builds the parts of a batch that the losses of joint methods share. */
  private batch({ scores, input, part }: ScoredBatch): JointBatch {
    const own = ['queries', 'k'];
    return {
      scores: gatherElements(scores, input('candidates', 'i64', own), { axis: 1 }),
      drawn: input('drawn', 'bool', own),
      ...this.reader.answers(part!, input, this.form),
    };
  }

  /** Returns a query with the answer that is read. */
  private asked(queryRow: number): Pick<AskedQuery, 'query' | 'answer'> {
    const { context } = this;
    const [answer] = context.answers!(queryRow);
    if (answer === undefined) throw new UndriftError(`query row ${queryRow} has no answer for the reader`);
    return { query: context.texts.query(queryRow), answer };
  }
}

/**
 * Lists the places of the candidates in each prompt of a query: one prompt for each candidate, or a single one.
 *
 * @param passages  largest number of candidates in a prompt with several
 */
function promptPlaces(
  way: JointReading,
  candidates: AskedQuery['candidates'],
  passages: number,
): (number[] | undefined)[] {
  const found = [...candidates.keys()].filter((place) => typeof candidates[place] === 'string');
  if (way === 'together') return [found.slice(0, passages)];
  return candidates.map((candidate, place) => {
    if (candidate === undefined) return undefined;
    return way === 'alone' ? [place] : found.filter((other) => other !== place).slice(0, passages);
  });
}
