import { join } from 'node:path';
import { Graph } from '../../graph/graph.ts';
import { mean, neg } from '../../graph/ops.ts';
import { saveMaskedLanguageModel } from '../../models/masked/save-masked-language-model.ts';
import { type MaskedSequence, maskedFeeds, sequenceInputs } from '../../models/masked/score-masked.ts';
import type { TunedMaskedLanguageModel } from '../../models/masked/tuned-masked-language-model.ts';
import { frozenHash } from '../../models/retriever/tuning.ts';
import { defineObjective } from '../../objective/objective.ts';
import { lossScaleFeeds, scaledLoss } from '../../objective/scaled-loss.ts';
import type { ComputeOptions } from '../../runtime/devices.ts';
import { type GradientMemory, gradientsIn, outputGradients } from '../../runtime/gradients.ts';
import { scalarValue } from '../../runtime/host-tensor.ts';
import type { LossScale } from '../../runtime/loss-scale.ts';
import { Program } from '../../runtime/program.ts';
import { textRunCard } from '../language-model/text-run-card.ts';
import type { RunTexts } from '../language-model/texts.ts';
import type { WindowBatches } from '../language-model/window-batches.ts';
import { MODEL } from '../run-folder.ts';
import type { Subject } from '../subject.ts';
import { MASKED_NEW_MODEL } from './options.ts';
import type { MaskedSettings } from './settings.ts';

/** Pieces of texts with masks in a batch. */
export type MaskedBatch = readonly MaskedSequence[];

/** Parts from which `trainMasked` makes the subject of a run. */
export interface MaskedParts {
  readonly settings: MaskedSettings;
  readonly tuned: TunedMaskedLanguageModel;
  readonly texts: RunTexts;
  readonly batches: WindowBatches<MaskedBatch>;
  /** Batches to evaluate on; none for a run without evaluation. */
  readonly evaluation: readonly MaskedBatch[];
  readonly compute: ComputeOptions;
}

type Figures = Readonly<Record<string, number>>;

/** Metric that decides which weights are the best: nats per predicted token; a smaller value is better. */
export const MASKED_LOSS = 'maskedLoss';
/** Words for the model card. */
const DESCRIPTION = 'trained to predict tokens of a text from the others (masked language model)';

/** Makes the subject of a run from a masked language model. */
export function maskedSubject(parts: MaskedParts): Subject<MaskedBatch> {
  const { settings, tuned, texts, batches, evaluation } = parts;
  const { specs, weights } = tuned;
  const { network } = tuned.model;
  let measure: Promise<Program> | undefined;
  return {
    specs,
    weights,
    frozen: { source: settings.model, hash: frozenHash(tuned) },
    batches,
    work: { unit: 'tokens', of: ({ spent }) => spent.tokens ?? 0 },
    async start({ gradientBuffers, lossScale, gradientCheckpointing, ledger }) {
      const program = await lossProgram(parts, { use: 'train', lossScale, gradientCheckpointing });
      return defineObjective({
        async step(batch: MaskedBatch) {
          ledger.tokens('training', countOf(batch, 'ids'));
          const feeds = { ...maskedFeeds(batch, network), ...lossScaleFeeds({ lossScale }) };
          const outputs = await program.run({ ...weights, ...feeds }, { into: gradientBuffers });
          const nats = scalarValue(outputs.loss, 'loss');
          return {
            gradients: gradientsIn(outputs, feeds),
            trainingLoss: nats,
            interpretableLoss: nats,
            examples: countOf(batch, 'places'),
            metrics: {},
          };
        },
        dispose: () => program.dispose(),
      });
    },
    logged: ({ metrics, spent }) => ({ ...metrics, tokens: spent.tokens ?? 0 }),
    ...(evaluation.length > 0 && {
      evaluation: {
        metric: MASKED_LOSS,
        lowerIsBetter: true,
        async measure() {
          measure ??= lossProgram(parts, { use: 'measure' });
          const program = await measure;
          let [nats, predicted] = [0, 0];
          for (const batch of evaluation) {
            const outputs = await program.run({ ...weights, ...maskedFeeds(batch, network) });
            const places = countOf(batch, 'places');
            nats += scalarValue(outputs.loss, 'loss') * places;
            predicted += places;
          }
          return { [MASKED_LOSS]: nats / predicted };
        },
      },
    }),
    nothingToDiagnose: 'a masked language model keeps no embeddings',
    dispose: async () => await (await measure)?.dispose(),
    async keep(metrics, { step, ledger }) {
      await saveMaskedLanguageModel(join(settings.out, MODEL), tuned.merged(), {
        trainedSteps: step,
        card: cardOf(settings, texts, { metrics, ledger }),
      });
    },
  };
}

/** Compiles the mean of −log p over the chosen tokens of a batch and, to train with, its gradients for the learner. */
async function lossProgram(
  { tuned, compute, settings: { precision } }: MaskedParts,
  {
    use,
    lossScale,
    ...memory
  }: {
    readonly use: 'train' | 'measure';
    readonly lossScale?: LossScale | undefined;
  } & GradientMemory,
): Promise<Program> {
  const { network } = tuned.model;
  const graph = new Graph(`${use}-masked-language-model`);
  const declared = tuned.declare(graph);
  const { inputs, places } = sequenceInputs(tuned.model, declared);
  const ids = graph.input('answer', 'i64', ['rows']);
  const loss = neg(mean(network.scoreTokens(declared.get, inputs, { places, ids }).logProbabilities));
  graph.output('loss', loss);
  if (use === 'train') outputGradients(scaledLoss(loss, { lossScale }), memory, declared.targets);
  return await Program.compile(graph, { ...compute, precision });
}

const countOf = (batch: MaskedBatch, what: 'ids' | 'places'): number =>
  batch.reduce((sum, sequence) => sum + sequence[what].length, 0);

const cardOf = (
  settings: MaskedSettings,
  texts: RunTexts,
  { metrics, ledger }: { metrics: Figures; ledger: Figures },
) => {
  const fresh = settings.model === MASKED_NEW_MODEL;
  return textRunCard(settings, texts, {
    ...{ kind: `${fresh ? 'new' : 'fine-tuned'} masked language model`, fresh, metrics, ledger },
    method: { id: settings.method, description: DESCRIPTION },
  });
};
