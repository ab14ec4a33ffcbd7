import { IN_MEMORY } from '../../data/data-in-memory.ts';
import { parseMetric } from '../../eval/metric-spec.ts';
import { CROSS_ENCODER_LOSSES, type CrossEncoderLoss } from '../../methods/contract/loss-names.ts';
import { checkPairMetrics } from '../../retrieval/evaluate-scored-pairs.ts';
import { TRAIN_COMPUTE_NAMES } from '../../runtime/compute-options.ts';
import { UsageError } from '../../util/errors.ts';
import { didYouMean } from '../../util/nearest.ts';
import { option } from '../../util/option-name.ts';
import { checkOption, checkOptions, optionValues } from '../../util/option-table.ts';
import { inOrder } from '../../util/option-text.ts';
import { CROSS_ENCODER_METHOD, TRAIN_OPTIONS } from '../options.ts';
import { type AnySettings, checkRunChoices, isNewModel } from '../settings.ts';
import {
  CROSS_ENCODER_TRAIN_OPTIONS,
  type CrossEncoderTrainOptions,
  type NegativeSource,
} from './options.ts';

/** Options of a run with every default filled in, as stored in its `settings.json`. */
export interface CrossEncoderSettings extends AnySettings {
  readonly method: typeof CROSS_ENCODER_METHOD;
  readonly evalData: string | null;
  readonly model: string;
  readonly lr: number;
  readonly epochs: number;
  readonly steps: number | null;
  readonly batchSize: number;
  readonly accumulate: number;
  readonly negatives: number;
  readonly dropout: number;
  readonly seed: number;
  /** Null until the data is known. */
  readonly loss: CrossEncoderLoss | null;
  readonly negativesFrom: NegativeSource | null;
  readonly maxTokens: number | null;
  readonly rerankDepth: number;
  readonly evalSplit: string;
  readonly evalMetric: string | null;
  readonly evalQueries: number;
  readonly baseline: boolean;
  /** Values of all other options; null where there is none. */
  readonly [name: string]: unknown;
}

/** Names of the losses in sentence-transformers. */
const ALIASES: Readonly<Partial<Record<CrossEncoderLoss, string>>> = {
  bce: 'BinaryCrossEntropyLoss',
  mse: 'MSELoss',
  'margin-mse': 'MarginMSELoss',
};

/**
 * Checks the options of a run and fills in defaults. Options of the machine and of the folder (`threads`, `resume`, …) are checked,
 * but are not part of the result.
 *
 * @throws UsageError for an option that is unknown, missing, of another type, out of range or not for a cross-encoder
 */
export function resolveCrossEncoderSettings(given: CrossEncoderTrainOptions): CrossEncoderSettings {
  const { data, evalData, ...others } = given;
  for (const [name, value] of Object.entries(others)) {
    const isOther = Object.hasOwn(TRAIN_OPTIONS, name) && !Object.hasOwn(CROSS_ENCODER_TRAIN_OPTIONS, name);
    if (value === undefined || value === null || !isOther) continue;
    throw new UsageError(`the method ${CROSS_ENCODER_METHOD} takes no ${option(name)}`, {
      help: 'that option is for retrievers',
    });
  }
  checkOptions(CROSS_ENCODER_TRAIN_OPTIONS, others);
  if (data === undefined || data === null) throw new UsageError(`${option('data')} is missing`);
  if (typeof data === 'string') checkOption('data', CROSS_ENCODER_TRAIN_OPTIONS.data, data);
  if ((given.out ?? null) === null) throw new UsageError(`${option('out')} is missing`);
  const { model } = given;
  if ((model ?? null) === null || isNewModel(model)) {
    throw new UsageError(
      `${option('model')} is missing: a cross-encoder starts from a model that is trained already`,
      {
        help: 'give an encoder (BERT, MiniLM, RoBERTa, …) or a cross-encoder: a folder, a run, or a name on the hub',
      },
    );
  }
  const values = optionValues(CROSS_ENCODER_TRAIN_OPTIONS, { ...others, data: IN_MEMORY });
  const { resume, overwrite, device: _, threads: __, loss, columns, ...kept } = values;
  checkRunChoices({ resume, overwrite, steps: given.steps, epochs: given.epochs });
  if (kept.rankTo - kept.rankFrom < kept.negatives && given.negativesFrom === 'bm25') {
    throw new UsageError(
      `the ranks from ${kept.rankFrom} and before ${kept.rankTo} do not hold ${kept.negatives} negatives`,
      {
        help: `use ${option('rankTo', kept.rankFrom + kept.negatives)} or more`,
      },
    );
  }
  return {
    ...Object.fromEntries(
      Object.keys(CROSS_ENCODER_TRAIN_OPTIONS)
        .filter(isStored)
        .map((name) => [name, null]),
    ),
    ...Object.fromEntries(Object.entries(kept).filter(([, value]) => value !== undefined)),
    ...kept,
    columns: columns ? inOrder(CROSS_ENCODER_TRAIN_OPTIONS.columns, columns) : null,
    method: CROSS_ENCODER_METHOD,
    data: typeof data === 'string' ? data : IN_MEMORY,
    evalData: typeof evalData === 'string' ? evalData : evalData ? IN_MEMORY : null,
    out: given.out,
    model,
    steps: kept.steps ?? null,
    loss: loss === undefined ? null : findCrossEncoderLoss(loss),
    negativesFrom: kept.negativesFrom ?? null,
    maxTokens: kept.maxTokens ?? null,
    evalSplit: kept.evalSplit ?? 'dev',
    evalMetric: kept.evalMetric ?? null,
    evalEvery: kept.evalEvery ?? null,
    saveEvery: kept.saveEvery ?? null,
  };
}

const NOT_STORED = new Set<string>(['resume', 'overwrite', ...TRAIN_COMPUTE_NAMES]);
const isStored = (name: string): boolean => !NOT_STORED.has(name);

/** Finds a loss by its id, or by its name in sentence-transformers. @throws UsageError for another one */
function findCrossEncoderLoss(name: string): CrossEncoderLoss {
  const lower = name.toLowerCase();
  const found = CROSS_ENCODER_LOSSES.find((id) => id === lower || ALIASES[id]?.toLowerCase() === lower);
  if (found) return found;
  throw new UsageError(
    `the method ${CROSS_ENCODER_METHOD} has no loss "${name}".${didYouMean(name, CROSS_ENCODER_LOSSES)}`,
    {
      help: `it takes ${CROSS_ENCODER_LOSSES.join(', ')}`,
    },
  );
}

/** Returns the metric that decides which model is the best, for the kind of data. @throws UsageError for one that it does not have */
export function metricFor(settings: CrossEncoderSettings, scored: boolean): string {
  const metric = settings.evalMetric ?? (scored ? 'spearman' : 'ndcg@10');
  if (scored) checkPairMetrics([metric]);
  else parseMetric(metric);
  return metric;
}
