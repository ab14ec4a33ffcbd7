import type { StepResult } from '../../objective/objective.ts';
import type { HostTensor } from '../../runtime/host-tensor.ts';
import { UndriftError } from '../../util/errors.ts';
import { option } from '../../util/option-name.ts';
import { NONE } from '../../util/vector-rows.ts';
import type { MethodContext, RunningMethod, TrainingBatch } from '../contract/method.ts';
import { candidateSoftmax } from '../step/candidate-softmax.ts';
import { ContrastiveStep } from '../step/contrastive-step.ts';
import { allowedCandidates } from '../step/known-positives.ts';
import { MinedNegatives, type Miner, type MiningChoices, SELF } from './mined-negatives.ts';

/** Plan of mining: which ranker, how often, and which negatives. */
export interface MiningPlan extends MiningChoices {
  /** Ranker before the first step. */
  readonly miner: Miner;
  /** Re-mine with the current weights every n updates; 0 for never. */
  readonly mineEvery: number;
}

/**
 * Training on mined negatives: softmax cross-entropy over the batch's positives and, for each of its queries, h of the negatives
 * that were mined for it. All of these documents are candidates for all queries, except their right answers.
 *
 * Cost of a step: B queries, B positives and at most B h negatives embedded, all fresh. Each mining costs what its ranker does.
 */
export class MinedMethod implements RunningMethod {
  private readonly context: MethodContext;
  private readonly plan: MiningPlan;
  private readonly contrastive: ContrastiveStep;
  private mined: MinedNegatives | undefined;
  /** Updates made, by the last call of `updated`. */
  private updates = 0;

  private constructor(context: MethodContext, plan: MiningPlan, contrastive: ContrastiveStep) {
    this.context = context;
    this.plan = plan;
    this.contrastive = contrastive;
  }

  /**
   * Checks the ranker, and compiles the program of a step.
   *
   * @param name  id of the method
   * @throws UsageError where there is no such ranker, or where the ranks hold fewer documents than are to be drawn
   */
  static async start(name: string, context: MethodContext, plan: MiningPlan): Promise<MinedMethod> {
    await MinedNegatives.check(plan, plan.miner);
    return new MinedMethod(context, plan, await ContrastiveStep.compile(name, context, candidateSoftmax));
  }

  async begin(): Promise<void> {
    await this.mine(this.plan.miner, 0);
  }

  async step(batch: TrainingBatch, draw: number): Promise<StepResult> {
    const { context, contrastive } = this;
    const { ledger, positives, copies: duplicates, seed } = context;
    const { queryRows } = batch;
    const B = queryRows.length;
    const drawn = this.negatives.draw(queryRows, this.plan.samples, { seed, draw });
    const documentRows = candidates(batch, drawn);
    ledger.documents('positive', B);
    ledger.documents('negative', documentRows.length - B);
    const allowed = allowedCandidates(queryRows, documentRows, { positives, duplicates });
    const result = await contrastive.run({ queryRows, documentRows, inputs: { allowed }, draw });
    const found = drawn.reduce((sum, row) => sum + Number(row !== NONE), 0);
    return {
      ...result,
      metrics: { ...result.metrics, drawnRatio: found / drawn.length },
    };
  }

  async updated(step: number): Promise<Readonly<Record<string, number>>> {
    const { mineEvery } = this.plan;
    this.updates = step;
    if (mineEvery > 0 && step % mineEvery === 0) await this.mine({ from: SELF }, step);
    return {};
  }

  inspect(): Readonly<Record<string, number>> {
    const { perQuery, step } = this.negatives;
    return { minedPerQuery: perQuery, miningAgeSteps: this.updates - step };
  }

  state(): Readonly<Record<string, HostTensor>> {
    return this.negatives.state();
  }

  async restore(state: Readonly<Record<string, HostTensor>>): Promise<void> {
    this.mined = MinedNegatives.restore(this.context, state);
    this.updates = this.mined.step;
  }

  async dispose(): Promise<void> {
    await this.contrastive.dispose();
  }

  private get negatives(): MinedNegatives {
    if (!this.mined) throw new UndriftError('begin() or restore() comes before the first step');
    return this.mined;
  }

  private async mine(miner: Miner, step: number): Promise<void> {
    this.mined = await MinedNegatives.mine(this.context, this.plan, { ...miner, step });
    if (this.mined.perQuery === 0) {
      throw new UndriftError(`mining by ${miner.from} found no negative for any query`, {
        help:
          `lower ${option('relativeMargin')} and ${option('absoluteMargin')}, ` +
          `or widen the ranks (${option('rankFrom')}, ${option('rankTo')})`,
      });
    }
  }
}

/** Lists the documents of a step: positives, negatives of the data, then each mined document once, however many queries drew it. */
function candidates({ positiveRows, negativeRows }: TrainingBatch, drawn: Int32Array): Int32Array {
  const documents = [...positiveRows, ...negativeRows];
  const seen = new Set(documents);
  for (const row of drawn) {
    if (row === NONE || seen.has(row)) continue;
    seen.add(row);
    documents.push(row);
  }
  return Int32Array.from(documents);
}
