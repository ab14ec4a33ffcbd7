import { klDistillation } from '../losses/kl-distillation.ts';
import { marginMse } from '../losses/margin-mse.ts';
import { defineObjective } from '../objective/objective.ts';
import { type HostTensor, hostTensor } from '../runtime/host-tensor.ts';
import { UndriftError, UsageError } from '../util/errors.ts';
import { plural } from '../util/format.ts';
import { option } from '../util/option-name.ts';
import { type OptionTable, optionValues, withDefaults } from '../util/option-table.ts';
import { describeEncodes } from './contract/describe-run.ts';
import { DISTILLATION_LOSSES, type DistillationLossName, LOSS_OPTIONS } from './contract/loss-names.ts';
import type { Method, MethodContext, TrainingBatch } from './contract/method.ts';
import { ContrastiveStep } from './step/contrastive-step.ts';
import { ownColumns, ownNegatives } from './step/own-negatives.ts';
import { MATRYOSHKA_OPTIONS, type ScoreLoss } from './step/score-loss.ts';

/** Options for the teacher's scores. */
export const TEACHER_OPTIONS = {
  /**
   * Cross-encoder that scores each query's positives and negatives before training, in place of scores of the data: a folder, a run, or a
   * name on the hub. Default: the data's scores.
   */
  teacher: {
    type: 'text',
    value: 'model',
    nonEmpty: true,
    help: "cross-encoder that scores each query's positives and negatives, in place of scores of the data",
    group: 'Loss',
  },
  /** `kl`: temperature of the teacher's softmax. */
  teacherTemperature: {
    type: 'number',
    above: 0,
    default: 1,
    help: "kl: temperature of the softmax over the teacher's scores",
    group: 'Loss',
  },
} as const satisfies OptionTable;

const OPTIONS = {
  ...withDefaults(LOSS_OPTIONS, { loss: 'margin-mse' }),
  ...TEACHER_OPTIONS,
  ...MATRYOSHKA_OPTIONS,
};

/**
 * Distillation from a teacher's scores, such as those of a cross-encoder. Each query comes with its positive, with `--negatives`
 * N negatives of its own (default 4), and with the data's scores for them (`scores`: positives first).
 *
 *   s = q·d / τ,     t: the teacher's score
 *
 *   margin-mse:  L = (1/B) Σ_i (1/N) Σ_j ( (s⁺_i − s_ij) − (t⁺_i − t_ij) )²
 *   kl:          L = (1/B) Σ_i KL( softmax(t_i / T) ‖ softmax(s_i) )          T = `--teacher-temperature`
 *
 * `margin-mse` matches the size of the teacher's margins: cosines divided by τ = 0.05 span a range of 40, dot products
 * (`--no-normalize --temperature 1`) any range. `kl` matches only the softmax of the teacher's scores. Other documents of the
 * batch are not candidates, because the teacher has not scored them. Positives and negatives without a score are left out, and so
 * are queries that keep none. `--teacher` names a cross-encoder whose logits are the scores, for data without any; it scores all
 * positives and negatives once, before the first step.
 *
 * Cost per step: B queries, B positives and at most B N negatives, all fresh. `undrift mine` finds negatives; a teacher scores
 * them.
 */
export const distill: Method = {
  id: 'distill',
  aliases: ['MarginMSELoss', 'DistillKLDivLoss', 'distillation'],
  summary: "matches a teacher's scores of each query's positive and negatives",
  paper: {
    title: 'Improving Efficient Neural Ranking Models with Cross-Architecture Knowledge Distillation',
    year: 2020,
    url: 'https://arxiv.org/abs/2010.02666',
  },
  options: OPTIONS,
  losses: DISTILLATION_LOSSES,
  negatives: 4,
  distils: true,
  check({ negativesPerQuery }) {
    if (negativesPerQuery > 0) return;
    throw new UsageError('there are no negatives to compare with the positives', {
      help: `use ${option('negatives', 1)} or more, and data with negatives and a score for each`,
    });
  },
  describe: (plan) => [
    `each query's positive and ${plural(plan.negativesPerQuery, 'negative')} of its own, with a teacher's scores`,
    describeEncodes(plan, { perBatch: plan.batchSize * (1 + plan.negativesPerQuery), atMost: true }),
  ],
  async start(context) {
    const step = await ContrastiveStep.compile('distill', context, lossOf(context));
    return defineObjective({
      async step(batch, draw) {
        const { queryRows, positiveRows } = batch;
        const { documentRows, inputs } = inputsOf(batch);
        context.ledger.documents('positive', positiveRows.length);
        context.ledger.documents('negative', documentRows.length - positiveRows.length);
        return await step.run({ queryRows, documentRows, inputs, draw });
      },
      dispose: () => step.dispose(),
    });
  },
};

function lossOf({ options }: MethodContext): ScoreLoss {
  const { loss, teacherTemperature: temperature } = optionValues(OPTIONS, options);
  return (batch) => {
    const student = ownNegatives(batch);
    const teacher = {
      positive: batch.input('teacherPositive', 'f32', ['queries']),
      negatives: batch.input('teacherNegatives', 'f32', ['queries', 'k']),
    };
    const make = {
      'margin-mse': () => marginMse(student, teacher),
      kl: () => klDistillation(student, teacher, { temperature }),
    };
    return { trainingLoss: make[loss as DistillationLossName]() };
  };
}

function inputsOf({ queryRows, positiveRows, ownNegatives: own, scores }: TrainingBatch): {
  documentRows: Int32Array;
  inputs: Record<string, HostTensor>;
} {
  if (!own || !scores?.negatives) throw new UndriftError('a batch to distil from needs negatives and scores');
  const B = queryRows.length;
  const k = own.length / B;
  const { documentRows, columns, drawn } = ownColumns(positiveRows, own);
  const f32 = (dims: number[], data: Float32Array) =>
    hostTensor('f32', dims, data as Float32Array<ArrayBuffer>);
  return {
    documentRows,
    inputs: {
      negatives: hostTensor('i64', [B, k], columns),
      drawn: hostTensor('bool', [B, k], drawn),
      teacherPositive: f32([B], scores.positives),
      teacherNegatives: f32([B, k], scores.negatives),
    },
  };
}
