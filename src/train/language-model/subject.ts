import { join } from 'node:path';
import { Graph } from '../../graph/graph.ts';
import { writeLanguageModelAdapter } from '../../models/language/language-model-adapter.ts';
import { saveLanguageModel } from '../../models/language/save-language-model.ts';
import type { TunedLanguageModel } from '../../models/language/tuned-language-model.ts';
import { dropoutKeys, wholeTableFeeds } from '../../models/retriever/token-feeds.ts';
import { tokenInputs } from '../../models/retriever/token-inputs.ts';
import { frozenHash } from '../../models/retriever/tuning.ts';
import { defineObjective } from '../../objective/objective.ts';
import { lossScaleFeeds, scaledLoss } from '../../objective/scaled-loss.ts';
import type { ComputeOptions, Precision } from '../../runtime/devices.ts';
import { type GradientMemory, gradientsIn, outputGradients } from '../../runtime/gradients.ts';
import { scalarValue } from '../../runtime/host-tensor.ts';
import type { LossScale } from '../../runtime/loss-scale.ts';
import { Program } from '../../runtime/program.ts';
import type { PackedWindows, WindowBatch } from '../../text/packed-windows.ts';
import { rngKey } from '../../util/rng.ts';
import { ADAPTER, MODEL } from '../run-folder.ts';
import type { Subject } from '../subject.ts';
import { isNewLanguageModel, type LanguageModelSettings } from './settings.ts';
import { textRunCard } from './text-run-card.ts';
import type { RunTexts } from './texts.ts';
import type { WindowBatches } from './window-batches.ts';
import type { LossUse, WindowLoss, WindowTraining } from './window-training.ts';

/** Parts from which `trainLanguageModel` makes the subject of a run. */
export interface LanguageModelParts {
  readonly settings: LanguageModelSettings;
  readonly tuned: TunedLanguageModel;
  readonly texts: RunTexts;
  readonly batches: WindowBatches;
  readonly training: WindowTraining;
  readonly loss: WindowLoss;
  /** Windows to evaluate on; undefined for a run without evaluation. */
  readonly evaluation: PackedWindows | undefined;
  readonly compute: ComputeOptions;
}

type Figures = Readonly<Record<string, number>>;

/** Metric that decides which weights are the best; a smaller value is better. */
export const PERPLEXITY = 'perplexity';

/** Makes the subject of a run from a language model. */
export function languageModelSubject(parts: LanguageModelParts): Subject<WindowBatch> {
  const { settings, tuned, texts, batches, training, loss, evaluation, compute } = parts;
  const { specs, weights } = tuned;
  const { seed, dropout, precision, out } = settings;
  const measured = evaluation && new PerplexityMeasure(tuned, evaluation, { settings, loss, compute });
  return {
    specs,
    weights,
    frozen: { source: settings.model, hash: frozenHash(tuned) },
    batches,
    work: { unit: 'tokens', of: ({ spent }) => spent.tokens ?? 0 },
    async start({ gradientBuffers, lossScale, gradientCheckpointing, ledger }) {
      const program = await lossProgram(tuned, {
        ...{ loss, use: 'train', dropout, lossScale, gradientCheckpointing, compute, precision },
      });
      return defineObjective({
        async step(batch: WindowBatch, draw) {
          ledger.tokens(
            'training',
            batch.mask.reduce((sum, each) => sum + each, 0),
          );
          const feeds = {
            ...wholeTableFeeds({ windows: batch }),
            ...loss.feeds(batch, draw),
            ...(dropout > 0 && {
              'windows/dropout': dropoutKeys(rngKey(seed, draw, 'dropout/windows'), batch.batch),
            }),
          };
          const outputs = await program.run(
            { ...weights, ...feeds, ...lossScaleFeeds({ lossScale }) },
            { into: gradientBuffers },
          );
          const nats = scalarValue(outputs.loss, 'loss');
          return {
            gradients: gradientsIn(outputs, feeds),
            trainingLoss: nats,
            interpretableLoss: nats,
            examples: batch.predictions,
            metrics: {},
          };
        },
        dispose: () => program.dispose(),
      });
    },
    logged: ({ metrics, spent }) => ({ ...metrics, tokens: spent.tokens ?? 0 }),
    evaluation: measured && {
      metric: PERPLEXITY,
      lowerIsBetter: true,
      measure: () => measured.measure(),
    },
    nothingToDiagnose: 'a language model keeps no embeddings',
    dispose: async () => await measured?.dispose(),
    async keep(metrics, { step, ledger }) {
      const merged = tuned.merged();
      await writeLanguageModelAdapter(join(out, ADAPTER), tuned, { baseModel: settings.model });
      await saveLanguageModel(join(out, MODEL), merged, {
        trainedSteps: step,
        card: cardOf(settings, texts, { training, metrics, ledger }),
      });
    },
  };
}

/** Compiles the mean loss of the predicted tokens of a batch and, to train with, the gradients for the learner. */
async function lossProgram(
  model: TunedLanguageModel,
  {
    loss: windowLoss,
    use,
    dropout = 0,
    lossScale,
    gradientCheckpointing,
    compute,
    precision,
  }: {
    loss: WindowLoss;
    use: LossUse;
    dropout?: number;
    lossScale?: LossScale | undefined;
    compute: ComputeOptions;
    precision: Precision;
  } & GradientMemory,
): Promise<Program> {
  const graph = new Graph(use === 'train' ? 'train-language-model' : 'perplexity');
  const declared = model.declare(graph);
  const inputs = tokenInputs(declared, 'windows', { documents: true, dropout: dropout > 0 });
  const { decoder } = model.model;
  const loss = windowLoss.build(graph, { decoder, declared, inputs, dropoutRatio: dropout }, use);
  graph.output('loss', loss);
  if (use === 'train')
    outputGradients(scaledLoss(loss, { lossScale }), { gradientCheckpointing }, declared.targets);
  return await Program.compile(graph, { ...compute, precision });
}

interface MeasureOptions {
  readonly settings: LanguageModelSettings;
  readonly loss: WindowLoss;
  readonly compute: ComputeOptions;
}

/** Measures the perplexity of the current weights, on the same windows each time. */
class PerplexityMeasure {
  readonly #model: TunedLanguageModel;
  readonly #windows: PackedWindows;
  /** Windows of each batch. */
  readonly #batches: readonly number[][];
  readonly #options: MeasureOptions;
  #program: Promise<Program> | undefined;

  constructor(model: TunedLanguageModel, windows: PackedWindows, options: MeasureOptions) {
    this.#model = model;
    this.#windows = windows;
    this.#options = options;
    const { evalTokens, batchSize } = options.settings;
    const share = Math.min(1, evalTokens / windows.predictions);
    const picked = Math.max(1, Math.floor(share * windows.count));
    const numbers = Array.from({ length: picked }, (_, i) => Math.floor((i * windows.count) / picked));
    this.#batches = Array.from({ length: Math.ceil(picked / batchSize) }, (_, i) =>
      numbers.slice(i * batchSize, (i + 1) * batchSize),
    );
  }

  /** Returns the perplexity, and the mean loss in nats per token. */
  async measure(): Promise<Figures> {
    const { compute, settings, loss: windowLoss } = this.#options;
    const { precision } = settings;
    this.#program ??= lossProgram(this.#model, { loss: windowLoss, use: 'measure', compute, precision });
    const program = await this.#program;
    let [total, tokens] = [0, 0];
    for (const picked of this.#batches) {
      const batch = this.#windows.batch(picked);
      const feeds = { ...wholeTableFeeds({ windows: batch }), ...windowLoss.feeds(batch, undefined) };
      const { loss } = await program.run({ ...this.#model.weights, ...feeds });
      total += scalarValue(loss, 'loss') * batch.predictions;
      tokens += batch.predictions;
    }
    return { [PERPLEXITY]: Math.exp(total / tokens), loss: total / tokens };
  }

  async dispose(): Promise<void> {
    await (await this.#program)?.dispose();
  }
}

const cardOf = (
  settings: LanguageModelSettings,
  texts: RunTexts,
  { training, metrics, ledger }: { training: WindowTraining; metrics: Figures; ledger: Figures },
) => {
  const fresh = isNewLanguageModel(settings.model);
  return textRunCard(settings, texts, {
    ...{ kind: `${fresh ? settings.model : 'fine-tuned'} language model`, fresh, metrics, ledger },
    method: { id: training.id, description: training.description },
  });
};
