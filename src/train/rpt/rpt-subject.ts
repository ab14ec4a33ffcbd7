import { Graph } from '../../graph/graph.ts';
import { add, mul, reshape } from '../../graph/ops.ts';
import { lambdaRank } from '../../losses/lambda-rank.ts';
import { hiddenNextTokenLoss } from '../../losses/next-token.ts';
import { defineObjective } from '../../objective/objective.ts';
import { weightsDigest } from '../../rlm/added-parts.ts';
import type { LanguageSystem, Segment } from '../../rlm/language-system.ts';
import type { RptModel } from '../../rlm/rpt.ts';
import { RPT_PREFIX, type RptFound } from '../../rlm/rpt-wing.ts';
import type { ComputeOptions } from '../../runtime/devices.ts';
import { type GradientMemory, gradientsIn, outputGradients } from '../../runtime/gradients.ts';
import { scalarValue } from '../../runtime/host-tensor.ts';
import { Program } from '../../runtime/program.ts';
import { segmentPerplexity } from '../retro/retro-subject.ts';
import type { Subject } from '../subject.ts';
import type { RptBatch } from './rpt-batches.ts';

/** Parts of an RPT model that are trained. */
export interface TrainedParts {
  /** Whether the base keeps its weights. */
  readonly frozenBase: boolean;
  /** Whether the retriever keeps its weights. */
  readonly frozenRetriever: boolean;
}

/** Parts from which `trainRpt` makes the subject of a run. */
export interface RptParts extends TrainedParts {
  readonly rpt: RptModel;
  /** Source of the base, for messages. */
  readonly base: string;
  readonly batches: Subject<RptBatch>['batches'];
  /** Learning rate of the base relative to that of the added parts. */
  readonly baseRatio: number;
  /** Text to measure the perplexity of, the system that scores it, and the perplexity of the base; undefined for a run without evaluation. */
  readonly evaluation:
    | {
        readonly segments: readonly Segment[];
        readonly system: LanguageSystem;
        readonly base: number;
      }
    | undefined;
  readonly compute: ComputeOptions;
  readonly keep: Subject<RptBatch>['keep'];
}

/** Makes the subject of a run that trains an RPT model on next tokens and, where it learns to retrieve, on the grades of chunks. */
export function rptSubject(parts: RptParts): Subject<RptBatch> {
  const { rpt, evaluation, compute, batches, baseRatio, frozenBase } = parts;
  const specs = rpt.specs(parts);
  const learned = rpt.wing.config.retrieval === 'learned';
  return {
    specs,
    weights: rpt.weights,
    frozen: { source: parts.base, hash: frozenBase ? weightsDigest(rpt.base.weights) : null },
    groups: [
      { prefix: '', learningRateRatio: baseRatio },
      { prefix: `${RPT_PREFIX}.`, learningRateRatio: 1 },
    ],
    batches,
    work: { unit: 'tokens', of: ({ spent }) => spent.trainingTokens ?? 0 },
    async start({ gradientBuffers, gradientCheckpointing, ledger }) {
      const graph = rptTrainingGraph(rpt, parts, { gradientCheckpointing });
      const program = await Program.compile(graph, compute);
      return defineObjective({
        async step({ feeds, tokens, predictions }: RptBatch) {
          ledger.tokens('training', tokens);
          const outputs = await program.run({ ...rpt.weights, ...feeds }, { into: gradientBuffers });
          const loss = scalarValue(outputs.loss);
          return {
            gradients: gradientsIn(outputs, {}),
            trainingLoss: loss,
            interpretableLoss: learned ? scalarValue(outputs.languageLoss) : loss,
            examples: predictions,
            metrics: learned ? { rankLoss: scalarValue(outputs.rankLoss) } : {},
          };
        },
        dispose: () => program.dispose(),
      });
    },
    logged: ({ metrics, spent }) => ({ ...metrics, tokens: spent.trainingTokens ?? 0 }),
    evaluation: evaluation && {
      metric: 'perplexity',
      lowerIsBetter: true,
      measure: async () => ({
        perplexity: await segmentPerplexity(evaluation.system, evaluation.segments, compute),
      }),
      baseline: { name: 'base', measure: async () => ({ perplexity: evaluation.base }) },
    },
    nothingToDiagnose:
      'the keys of RPT are of the same text and step: it keeps no embeddings that grow stale',
    keep: parts.keep,
  };
}

/**
 * Builds the training program of an RPT model: outputs `loss` and its gradients and, with a learned retriever, the parts `languageLoss` and
 * `rankLoss`.
 */
export function rptTrainingGraph(rpt: RptModel, trained: TrainedParts, gradient: GradientMemory): Graph {
  const { wing, base } = rpt;
  const { retrieval } = wing.config;
  const learned = retrieval === 'learned';
  const graph = new Graph('train-rpt');
  const declared = rpt.declare(graph, trained);
  const inputs = wing.inputs(graph, { learned, given: true, past: false });
  const { ids } = inputs.tokens;
  let found: RptFound | undefined;
  const memory = wing.memory(declared.get, inputs, (results) => {
    found = results;
  });
  const hidden = base.decoder.hidden(declared.get, inputs.tokens, {
    ...(retrieval !== 'none' && { memory }),
  });
  const scored = graph.input('windows/scored', 'f32', ids.shape);
  const languageLoss = hiddenNextTokenLoss(hidden, base.decoder.matrix(declared.get), ids, scored);
  let loss = languageLoss;
  if (learned) {
    const lists = [inputs.places.shape[0]!, 'positives'];
    const rankLoss = lambdaRank(
      found!.scores!,
      {
        grades: graph.input('rank/grades', 'f32', inputs.allowed!.shape),
        allowed: inputs.allowed!,
        positives: graph.input('rank/positives', 'i64', lists),
        isPositive: graph.input('rank/isPositive', 'f32', lists),
      },
      { margin: graph.input('rank/margin', 'f32', [1]) },
    );
    const weight = graph.input('rank/weight', 'f32', [1]);
    graph.output('languageLoss', languageLoss);
    graph.output('rankLoss', rankLoss);
    if (!trained.frozenRetriever) loss = add(languageLoss, mul(reshape(weight, []), rankLoss));
  }
  graph.output('loss', loss);
  outputGradients(loss, gradient, declared.targets);
  return graph;
}
