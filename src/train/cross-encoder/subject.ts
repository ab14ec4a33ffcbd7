import { join } from 'node:path';
import type { RetrievalData } from '../../data/retrieval-data.ts';
import { pearson, spearman } from '../../eval/correlation.ts';
import { evaluate } from '../../eval/metrics.ts';
import type { Run } from '../../eval/ranking.ts';
import type { TrainingBatch } from '../../methods/contract/method.ts';
import type { CrossEncoder } from '../../models/cross-encoder/cross-encoder.ts';
import type { CrossEncoderCard } from '../../models/cross-encoder/cross-encoder-card.ts';
import type { PairTokens } from '../../models/cross-encoder/pair-tokens.ts';
import { saveCrossEncoder } from '../../models/cross-encoder/save-cross-encoder.ts';
import { ledgerRows } from '../../objective/ledger-rows.ts';
import { defineObjective } from '../../objective/objective.ts';
import { BASELINE } from '../../retrieval/baseline.ts';
import { pairTokens, rerankRun } from '../../retrieval/rerank.ts';
import { type RetrievalTask, retrievalTask, retrieveLexical } from '../../retrieval/retrieve.ts';
import type { ComputeOptions, Precision } from '../../runtime/devices.ts';
import { BM25_OPTIONS } from '../../text/bm25-options.ts';
import { optionValues } from '../../util/option-table.ts';
import type { TrainCallbacks } from '../callbacks.ts';
import type { BatchSource } from '../loop.ts';
import { CROSS_ENCODER_METHOD } from '../options.ts';
import { baseModel } from '../pin-models.ts';
import { MODEL } from '../run-folder.ts';
import { FREE_SETTINGS } from '../settings.ts';
import type { Subject } from '../subject.ts';
import type { ListExamples } from './list-examples.ts';
import { ListStep } from './list-step.ts';
import type { CrossEncoderSettings } from './settings.ts';

/** Parts from which `trainCrossEncoder` makes the subject of a run. */
export interface CrossEncoderParts {
  readonly settings: CrossEncoderSettings;
  readonly crossEncoder: CrossEncoder;
  /** Data to train on. */
  readonly data: RetrievalData;
  readonly list: ListExamples;
  readonly batches: BatchSource<TrainingBatch>;
  /** Tokens of the texts to train on. */
  readonly tokens: PairTokens;
  /** Data to evaluate on; undefined for a run without evaluation. */
  readonly evaluation: RetrievalData | undefined;
  /** Whether the data are pairs with a score each. */
  readonly scored: boolean;
  readonly compute: ComputeOptions;
}

type Figures = Readonly<Record<string, number>>;

/** Metrics of every evaluation, besides the metric that decides. */
const METRICS = ['ndcg@10', 'mrr@10', 'recall@10'];

/** Makes the subject of a run from a cross-encoder. */
export function crossEncoderSubject(
  parts: CrossEncoderParts,
  callbacks: TrainCallbacks,
): Subject<TrainingBatch> {
  const { settings, crossEncoder, data, list, batches, tokens, evaluation, scored, compute } = parts;
  const { weights, specs } = crossEncoder;
  const stepsBefore = crossEncoder.trainedSteps;
  const metric = settings.evalMetric!;
  const measured =
    evaluation &&
    (scored ? scoredEvaluation(parts, evaluation) : rerankEvaluation(parts, evaluation, callbacks));
  return {
    specs,
    weights,
    batches,
    work: { unit: 'pairs', of: ({ spent }) => spent.pairs ?? 0 },
    async start(run) {
      const step = await ListStep.compile(
        {
          ...{ crossEncoder, tokens, compute },
          ...{ loss: list.loss, labelled: list.labelled, negatives: list.negatives },
          dropoutRatio: settings.dropout,
          seed: settings.seed,
          precision: settings.precision as Precision,
        },
        run,
      );
      return defineObjective({
        step: (batch: TrainingBatch, draw) => step.run(batch, draw),
        dispose: () => step.dispose(),
      });
    },
    logged: ({ metrics, spent }) => ({ ...metrics, pairs: spent.pairs ?? 0 }),
    evaluation: measured && { metric, ...measured },
    nothingToDiagnose: 'a cross-encoder keeps no embeddings',
    async keep(metrics, { step, ledger }) {
      crossEncoder.trainedSteps = stepsBefore + step;
      const baseline =
        Object.keys(metrics).length > 0 && settings.baseline
          ? await measured?.baseline?.measure()
          : undefined;
      const card = cardOf(settings, data, list, { metrics, baseline, ledger });
      await saveCrossEncoder(join(settings.out, MODEL), crossEncoder, card);
    },
  };
}

type Evaluation = Pick<NonNullable<Subject<TrainingBatch>['evaluation']>, 'measure' | 'baseline'>;

/** Evaluation that reranks the best documents of BM25 for each query. */
function rerankEvaluation(
  { settings, crossEncoder, compute }: CrossEncoderParts,
  data: RetrievalData,
  { onProgress }: TrainCallbacks,
): Evaluation {
  const metrics = [...new Set([settings.evalMetric!, ...METRICS])];
  const tokens = pairTokens(crossEncoder, data);
  let found: Promise<{ task: RetrievalTask; run: Run }> | undefined;
  // The documents of BM25 are the same in every evaluation.
  const candidates = () => {
    found ??= (async () => {
      const task = retrievalTask(data, settings.evalSplit, { limitQueries: settings.evalQueries });
      const lexical = optionValues(BM25_OPTIONS, settings);
      const run = await retrieveLexical('bm25', data, task, {
        ...lexical,
        topK: settings.rerankDepth,
        onProgress,
      });
      return { task, run };
    })();
    return found;
  };
  const measure = async (rank: (run: Run) => Promise<Run> | Run): Promise<Figures> => {
    const { task, run } = await candidates();
    return evaluate(task.qrels, await rank(run), { metrics }).metrics;
  };
  return {
    measure: () =>
      measure((run) =>
        rerankRun(crossEncoder, data, run, { depth: settings.rerankDepth, tokens, onProgress, ...compute }),
      ),
    baseline: {
      name: BASELINE,
      measure: async () => (settings.baseline ? await measure((run) => run) : undefined),
    },
  };
}

/** Evaluation by the correlation of scores with those of the data. */
function scoredEvaluation(
  { settings, crossEncoder, compute }: CrossEncoderParts,
  data: RetrievalData,
): Evaluation {
  const { queryRows, positives } = data.examples(settings.evalSplit);
  const count = Math.min(queryRows.length, settings.evalQueries);
  const picked = Uint32Array.from({ length: count }, (_, i) => Math.floor((i * queryRows.length) / count));
  const wanted = Float64Array.from(picked, (i) => positives.scores![i]!);
  const tokens = pairTokens(crossEncoder, data);
  return {
    async measure() {
      const logits = await crossEncoder.scoreTokens(
        count,
        (i) => tokens.pair(queryRows[picked[i]!]!, positives.rows[picked[i]!]!),
        compute,
      );
      const found = Float64Array.from(logits);
      return { spearman: spearman(found, wanted), pearson: pearson(found, wanted) };
    },
  };
}

function cardOf(
  settings: CrossEncoderSettings,
  data: RetrievalData,
  { examples, loss }: ListExamples,
  { metrics, baseline, ledger }: { metrics: Figures; baseline: Figures | undefined; ledger: Figures },
): CrossEncoderCard {
  return {
    name: `${data.name}, cross-encoder`,
    ...baseModel(settings.model),
    datasets: [{ name: data.name, documents: data.corpus.size, queries: new Set(examples.queryRows).size }],
    method: { id: CROSS_ENCODER_METHOD, description: `trained by the loss ${loss}` },
    // Options that do not change the model are left out: the same training gives the same card.
    options: Object.fromEntries(Object.entries(settings).filter(([name]) => !FREE_SETTINGS.has(name))),
    cost: ledgerRows(ledger, { reproducible: true }),
    results:
      Object.keys(metrics).length > 0
        ? [
            {
              dataset: data.name,
              split: settings.evalSplit,
              metrics,
              ...(baseline && { baselines: { [BASELINE]: baseline } }),
            },
          ]
        : [],
  };
}
