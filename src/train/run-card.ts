import type { TrainingExamples } from '../data/examples.ts';
import type { RetrievalData } from '../data/retrieval-data.ts';
import type { Method } from '../methods/contract/method.ts';
import type { ModelCard } from '../models/folder/model-card.ts';
import { ledgerRows } from '../objective/ledger-rows.ts';
import { baseModel } from './pin-models.ts';
import { FREE_SETTINGS, isNewModel, type TrainSettings } from './settings.ts';

type Figures = Readonly<Record<string, number>>;

/** Figures of a model card. */
export interface CardFigures {
  readonly metrics: Figures;
  readonly baselines?: Readonly<Record<string, Figures>>;
  readonly ledger: Figures;
}

/**
 * Makes the model card of a run.
 *
 * @param examples  examples that were trained on
 * @param results.metrics  evaluation of the model; empty where there is none
 * @param results.baselines  the same metrics of other rankers, by their names
 * @param results.ledger  costs of the run, by name
 */
export function runCard(
  settings: TrainSettings,
  data: RetrievalData,
  examples: TrainingExamples,
  { id, summary, paper }: Method,
  { metrics, baselines = {}, ledger }: CardFigures,
): ModelCard {
  // Options that do not change the model are left out: the same training gives the same card.
  const shown = Object.fromEntries(Object.entries(settings).filter(([name]) => !FREE_SETTINGS.has(name)));
  return {
    name: `${data.name}, ${isNewModel(settings.model) ? settings.model : 'fine-tuned'} retriever`,
    ...(!isNewModel(settings.model) && baseModel(settings.model)),
    datasets: [
      {
        name: data.name,
        documents: data.corpus.size,
        // Documents that are their own queries are no queries of the data.
        queries: data.queries === data.corpus ? 0 : new Set(examples.queryRows).size,
      },
    ],
    method: {
      id,
      description: summary,
      ...(paper && { citation: `${paper.title} (${paper.year}), ${paper.url}` }),
    },
    options: shown,
    cost: ledgerRows(ledger, { reproducible: true }),
    results:
      Object.keys(metrics).length > 0
        ? [{ dataset: data.name, split: settings.evalSplit, metrics, baselines }]
        : [],
  };
}
