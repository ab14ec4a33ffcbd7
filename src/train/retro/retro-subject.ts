import { Graph } from '../../graph/graph.ts';
import { wholeTableFeeds } from '../../models/retriever/token-feeds.ts';
import { tokenInputs } from '../../models/retriever/token-inputs.ts';
import { defineObjective } from '../../objective/objective.ts';
import { weightsDigest } from '../../rlm/added-parts.ts';
import type { ChunkDatabase } from '../../rlm/chunk-database.ts';
import { type NeighbourPart, neighbourFeeds } from '../../rlm/chunk-neighbours.ts';
import type { LanguageSystem, Segment } from '../../rlm/language-system.ts';
import type { RetroModel } from '../../rlm/retro.ts';
import type { ComputeOptions } from '../../runtime/devices.ts';
import { type GradientMemory, gradientsIn, outputGradients } from '../../runtime/gradients.ts';
import { scalarValue } from '../../runtime/host-tensor.ts';
import { Program } from '../../runtime/program.ts';
import type { Subject } from '../subject.ts';
import type { RetroBatch, RetroWindows } from './retro-windows.ts';

/** Parts from which `trainRetro` makes the subject of a run. */
export interface RetroParts {
  readonly retro: RetroModel;
  /** Source of the base, for messages. */
  readonly base: string;
  readonly windows: RetroWindows;
  /** Database of the neighbours. */
  readonly database: ChunkDatabase;
  /** Part of each neighbour that is read. */
  readonly part: NeighbourPart;
  /** Text to measure the perplexity of, and the system that scores it; undefined for a run without evaluation. */
  readonly evaluation:
    | {
        readonly segments: readonly Segment[];
        readonly system: LanguageSystem;
        readonly plain: LanguageSystem;
      }
    | undefined;
  readonly compute: ComputeOptions;
  /** Saves the current weights. */
  keep(metrics: Readonly<Record<string, number>>, at: { step: number }): Promise<void>;
}

/** Perplexity of segments under a system: exp of the mean negative log-probability of the scored tokens. */
export async function segmentPerplexity(
  system: LanguageSystem,
  segments: readonly Segment[],
  compute: ComputeOptions,
): Promise<number> {
  let [sum, tokens] = [0, 0];
  for (const scores of await system.score(segments, compute)) {
    for (const score of scores) sum += score;
    tokens += scores.length;
  }
  return Math.exp(-sum / Math.max(tokens, 1));
}

/**
 * Makes the subject of a run that trains the added parts of a RETRO model on next tokens. The base is frozen.
 */
export function retroSubject(parts: RetroParts): Subject<RetroBatch> {
  const { retro, windows, database, part, evaluation, compute } = parts;
  const { k } = windows;
  return {
    specs: retro.specs,
    weights: retro.weights,
    frozen: { source: parts.base, hash: weightsDigest(retro.base.weights) },
    batches: windows,
    work: { unit: 'tokens', of: ({ spent }) => spent.trainingTokens ?? 0 },
    async start({ gradientBuffers, gradientCheckpointing, ledger }) {
      const program = await Program.compile(trainingGraph(retro, { gradientCheckpointing }), compute);
      return defineObjective({
        async step({ ids, mask, batch, tokens, chunks, neighbours }: RetroBatch) {
          const read = neighbourFeeds(database, neighbours, { texts: batch, chunks, k }, part);
          const feeds = { ...wholeTableFeeds({ texts: { ids, mask, batch, tokens } }), ...read };
          ledger.tokens('training', countOf(mask));
          ledger.tokens('neighbour', countOf(read['neighbours/mask']!.data as Float32Array));
          const outputs = await program.run({ ...retro.weights, ...feeds }, { into: gradientBuffers });
          const loss = scalarValue(outputs.loss);
          return {
            gradients: gradientsIn(outputs, {}),
            trainingLoss: loss,
            interpretableLoss: loss,
            // Every token of a text but its first one is predicted.
            examples: countOf(mask) - batch,
            metrics: {},
          };
        },
        dispose: () => program.dispose(),
      });
    },
    logged: ({ spent }) => ({ tokens: spent.trainingTokens ?? 0 }),
    evaluation: evaluation && {
      metric: 'perplexity',
      lowerIsBetter: true,
      measure: async () => ({
        perplexity: await segmentPerplexity(evaluation.system, evaluation.segments, compute),
      }),
      baseline: {
        name: 'base',
        measure: async () => ({
          perplexity: await segmentPerplexity(evaluation.plain, evaluation.segments, compute),
        }),
      },
    },
    nothingToDiagnose: 'neighbours are data: RETRO keeps no embeddings that grow stale',
    keep: parts.keep,
  };
}

function trainingGraph(retro: RetroModel, gradient: GradientMemory): Graph {
  const graph = new Graph('train');
  const declared = retro.declare(graph);
  const inputs = tokenInputs(declared, 'texts');
  const memory = retro.memory(declared, inputs);
  const loss = retro.base.decoder.nextTokenLoss(declared.get, inputs, { memory });
  graph.output('loss', loss);
  outputGradients(loss, gradient, declared.targets);
  return graph;
}

const countOf = (mask: Float32Array): number => mask.reduce((sum, kept) => sum + kept, 0);
