import { join } from 'node:path';
import { Graph } from '../../graph/graph.ts';
import { and, cast, greaterOrEqual, max, mul, sum, where } from '../../graph/ops.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { saveRetriever } from '../../models/folder/model-folder.ts';
import { writePeftAdapter } from '../../models/folder/peft-adapter.ts';
import type { MaskedEncoder } from '../../models/retriever/masked-encoder.ts';
import type { Retriever } from '../../models/retriever/retriever.ts';
import { dropoutKeys, TokenFeeds } from '../../models/retriever/token-feeds.ts';
import { frozenHash } from '../../models/retriever/tuning.ts';
import { MASKED_SCORE } from '../../nn/masked-score.ts';
import { defineObjective } from '../../objective/objective.ts';
import { lossScaleFeeds, scaledLoss } from '../../objective/scaled-loss.ts';
import type { ComputeOptions } from '../../runtime/devices.ts';
import { gradientsIn, outputGradients } from '../../runtime/gradients.ts';
import { type HostTensor, scalarValue } from '../../runtime/host-tensor.ts';
import { Program } from '../../runtime/program.ts';
import { rngKey } from '../../util/rng.ts';
import { textRunCard } from '../language-model/text-run-card.ts';
import type { RunTexts } from '../language-model/texts.ts';
import type { WindowBatches } from '../language-model/window-batches.ts';
import { ADAPTER, MODEL } from '../run-folder.ts';
import type { Subject } from '../subject.ts';
import { NPM_NEW_MODEL } from './options.ts';
import type { NpmSettings } from './settings.ts';
import { type SpanBatch, type SpanLoss, spanLoss } from './span-batch.ts';

/** Parts from which `trainNpm` makes the subject of a run. */
export interface NpmParts {
  readonly settings: NpmSettings;
  readonly retriever: Retriever;
  readonly model: MaskedEncoder;
  readonly texts: RunTexts;
  readonly batches: WindowBatches<SpanBatch>;
  /** Batches to evaluate on; none for a run without evaluation. */
  readonly evaluation: readonly SpanBatch[];
  readonly compute: ComputeOptions;
}

type Figures = Readonly<Record<string, number>>;

/** Metric that decides which weights are the best: nats per span of both ends; a smaller value is better. */
export const PHRASE_LOSS = 'phraseLoss';
/** Words for the model card. */
const DESCRIPTION =
  'trained to find the phrase behind two masks among the tokens of other parts of the document (nonparametric masked language model)';

/** Makes the subject of a run from an encoder. */
export function npmSubject(parts: NpmParts): Subject<SpanBatch> {
  const { settings, retriever, model, texts, batches, evaluation, compute } = parts;
  const { specs, weights } = retriever;
  const { seed, dropout, precision, detachKeys: detached, temperature, out } = settings;
  const feeder = new TokenFeeds(model.encoder.vocabSize);
  const tokensOf = ({ masked, keys }: SpanBatch) => feeder.feeds({ masked, keys });
  const stepsBefore = retriever.trainedSteps;
  const measured = evaluation.length > 0 ? new PhraseMeasure(parts, tokensOf) : undefined;
  return {
    specs,
    weights,
    frozen: { source: settings.model, hash: frozenHash(retriever) },
    batches,
    work: { unit: 'tokens', of: ({ spent }) => spent.tokens ?? 0 },
    async start({ gradientBuffers, lossScale, gradientCheckpointing, ledger }) {
      const graph = new Graph('train-npm');
      const declared = retriever.declare(graph);
      const { loss } = spanLoss(graph, model, declared, { dropoutRatio: dropout, temperature, detached });
      graph.output('loss', loss);
      outputGradients(scaledLoss(loss, { lossScale }), { gradientCheckpointing }, declared.targets);
      const program = await Program.compile(graph, { ...compute, precision });
      return defineObjective({
        async step(batch: SpanBatch, draw) {
          ledger.tokens('training', countTokens(batch));
          const tokens = tokensOf(batch);
          const noise = (name: 'masked' | 'keys') => ({
            [`${name}/dropout`]: dropoutKeys(rngKey(seed, draw, `dropout/${name}`), batch[name].batch),
          });
          const outputs = await program.run(
            {
              ...{ ...weights, ...tokens, ...batch.feeds, ...lossScaleFeeds({ lossScale }) },
              ...(dropout > 0 && { ...noise('masked'), ...noise('keys') }),
            },
            { into: gradientBuffers },
          );
          const nats = scalarValue(outputs.loss, 'loss');
          return {
            gradients: gradientsIn(outputs, tokens),
            trainingLoss: nats,
            interpretableLoss: nats,
            // A random batch may have no span. It then counts as one, with a loss of 0.
            examples: Math.max(1, batch.spans),
            metrics: { spans: batch.spans },
          };
        },
        dispose: () => program.dispose(),
      });
    },
    logged: ({ metrics, spent }) => ({ ...metrics, tokens: spent.tokens ?? 0 }),
    evaluation: measured && {
      metric: PHRASE_LOSS,
      lowerIsBetter: true,
      measure: () => measured.measure(),
    },
    nothingToDiagnose: 'the tokens that are searched are those of the batch: none is stale',
    dispose: async () => await measured?.dispose(),
    async keep(metrics, { step, ledger }) {
      retriever.trainedSteps = stepsBefore + step;
      await writePeftAdapter(join(out, ADAPTER), retriever, { baseModel: settings.model });
      await saveRetriever(join(out, MODEL), retriever, {
        card: cardOf(settings, texts, { metrics, ledger }),
      });
    },
  };
}

/** Number of tokens that a step reads, with and without masks. */
const countTokens = ({ masked, keys }: SpanBatch): number =>
  [masked, keys].reduce((sum, { mask }) => sum + mask.reduce((total, each) => total + each, 0), 0);

/** Measures the loss and the share of phrases that are found, on the same spans each time. */
class PhraseMeasure {
  readonly #parts: NpmParts;
  readonly #tokensOf: (batch: SpanBatch) => Record<string, HostTensor>;
  #program: Promise<Program> | undefined;

  constructor(parts: NpmParts, tokensOf: (batch: SpanBatch) => Record<string, HostTensor>) {
    this.#parts = parts;
    this.#tokensOf = tokensOf;
  }

  /** Returns the loss in nats per span, and the share of the spans whose best tokens begin and end the right phrase. */
  async measure(): Promise<Figures> {
    this.#program ??= this.#compile();
    const program = await this.#program;
    const { retriever, evaluation } = this.#parts;
    let [nats, found, spans] = [0, 0, 0];
    for (const batch of evaluation) {
      const feeds = { ...retriever.weights, ...this.#tokensOf(batch), ...batch.feeds };
      const outputs = await program.run(feeds);
      nats += scalarValue(outputs.loss, 'loss') * batch.spans;
      found += scalarValue(outputs.found, 'found');
      spans += batch.spans;
    }
    return { [PHRASE_LOSS]: nats / spans, foundPhrases: found / spans };
  }

  async #compile(): Promise<Program> {
    const { retriever, model, compute, settings } = this.#parts;
    const graph = new Graph('measure-npm');
    const { temperature } = settings;
    const result = spanLoss(graph, model, retriever.declare(graph), { temperature });
    graph.output('loss', result.loss);
    graph.output('found', foundPhrases(result));
    return await Program.compile(graph, { ...compute, precision: settings.precision });
  }

  async dispose(): Promise<void> {
    await (await this.#program)?.dispose();
  }
}

/** Number of spans of which both best tokens are right, f32[]. */
function foundPhrases({ startScores, endScores, targets }: SpanLoss): Tensor {
  const { allowed, startsHere, endsHere } = targets;
  const best = (scores: Tensor, chosen: Tensor) => max(where(chosen, scores, MASKED_SCORE), { axes: 1 });
  const isRight = (scores: Tensor, right: Tensor) =>
    greaterOrEqual(best(scores, and(allowed, right)), best(scores, allowed));
  const hasAny = max(cast(and(allowed, startsHere), 'f32'), { axes: 1 });
  const both = and(isRight(startScores, startsHere), isRight(endScores, endsHere));
  return sum(mul(hasAny, cast(both, 'f32')));
}

const cardOf = (
  settings: NpmSettings,
  texts: RunTexts,
  { metrics, ledger }: { metrics: Figures; ledger: Figures },
) => {
  const fresh = settings.model === NPM_NEW_MODEL;
  return textRunCard(settings, texts, {
    ...{
      kind: `${fresh ? 'new' : 'fine-tuned'} nonparametric masked language model`,
      fresh,
      metrics,
      ledger,
    },
    method: { id: settings.method, description: DESCRIPTION },
  });
};
