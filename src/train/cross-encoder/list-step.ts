import { Graph } from '../../graph/graph.ts';
import { gather, reshape } from '../../graph/ops.ts';
import type { Tensor } from '../../graph/tensor.ts';
import type { CrossEncoderLoss } from '../../methods/contract/loss-names.ts';
import type { TrainingBatch } from '../../methods/contract/method.ts';
import type { CrossEncoder, TokenPair } from '../../models/cross-encoder/cross-encoder.ts';
import type { PairTokens } from '../../models/cross-encoder/pair-tokens.ts';
import { dropoutKeys } from '../../models/retriever/token-feeds.ts';
import type { StepResult } from '../../objective/objective.ts';
import { lossScaleFeeds, scaledLoss } from '../../objective/scaled-loss.ts';
import type { ComputeOptions, Precision } from '../../runtime/devices.ts';
import { gradientsIn, outputGradients } from '../../runtime/gradients.ts';
import { type HostTensor, hostTensor, scalarValue } from '../../runtime/host-tensor.ts';
import { Program } from '../../runtime/program.ts';
import { rngKey } from '../../util/rng.ts';
import { NONE } from '../../util/vector-rows.ts';
import type { RunParts } from '../subject.ts';
import { listLoss } from './list-loss.ts';

/** Parts of a run that a step works with. */
export interface ListStepParts {
  readonly crossEncoder: CrossEncoder;
  readonly tokens: PairTokens;
  readonly loss: CrossEncoderLoss;
  /** Whether batches have scores of the data, which the loss follows. */
  readonly labelled: boolean;
  /** Negatives of each query at most; 0 for none. */
  readonly negatives: number;
  readonly dropoutRatio: number;
  readonly seed: number;
  readonly compute: ComputeOptions;
  readonly precision: Precision;
}

/** Step of a cross-encoder: scores the pairs of a batch, applies a loss over lists, and differentiates it. */
export class ListStep {
  private readonly parts: ListStepParts;
  private readonly context: RunParts;
  private readonly program: Program;

  private constructor(parts: ListStepParts, run: RunParts, program: Program) {
    this.parts = parts;
    this.context = run;
    this.program = program;
  }

  /** Compiles the program of a step. */
  static async compile(parts: ListStepParts, run: RunParts): Promise<ListStep> {
    const { crossEncoder, loss, labelled, negatives, dropoutRatio, compute, precision } = parts;
    const graph = new Graph('train-cross-encoder');
    const declared = crossEncoder.declare(graph);
    const logits = reshape(crossEncoder.logits(declared, { dropoutRatio }), ['pairs', 1]);
    const chosen = (name: string, shape: string[]): Tensor =>
      reshape(gather(logits, graph.input(name, 'i64', shape)), shape);
    const list = ['queries', 'k'];
    const scores = {
      positive: chosen('positive', ['queries']),
      ...(negatives > 0 && {
        negatives: chosen('negatives', list),
        allowed: graph.input('allowed', 'bool', list),
      }),
    };
    const labels = labelled
      ? {
          positive: graph.input('positiveLabel', 'f32', ['queries']),
          ...(negatives > 0 && { negatives: graph.input('negativeLabels', 'f32', list) }),
        }
      : undefined;
    const value = listLoss(loss, scores, labels);
    graph.output('loss', value);
    outputGradients(scaledLoss(value, run), run, declared.targets);
    return new ListStep(parts, run, await Program.compile(graph, { ...compute, precision }));
  }

  /**
   * Computes loss and gradients of one batch.
   *
   * @param draw  number of the batch in the run; together with the seed, it keys dropout
   */
  async run(batch: TrainingBatch, draw: number): Promise<StepResult> {
    const { crossEncoder, tokens, labelled, negatives: k, dropoutRatio, seed } = this.parts;
    const { gradientBuffers, ledger } = this.context;
    const { queryRows, positiveRows, ownNegatives, scores } = batch;
    const B = queryRows.length;
    const pairs: TokenPair[] = Array.from(queryRows, (query, i) => tokens.pair(query, positiveRows[i]!));
    const feeds: Record<string, HostTensor> = {
      positive: hostTensor('i64', [B], BigInt64Array.from(pairs.keys(), BigInt)),
    };
    if (k > 0) {
      const places = new BigInt64Array(B * k);
      const allowed = new Uint8Array(B * k);
      for (const [at, document] of (ownNegatives ?? new Int32Array(B * k).fill(NONE)).entries()) {
        if (document === NONE) continue;
        places[at] = BigInt(pairs.push(tokens.pair(queryRows[Math.floor(at / k)]!, document)) - 1);
        allowed[at] = 1;
      }
      feeds.negatives = hostTensor('i64', [B, k], places);
      feeds.allowed = hostTensor('bool', [B, k], allowed);
    }
    if (labelled) {
      const f32 = (data: Float32Array) => data as Float32Array<ArrayBuffer>;
      feeds.positiveLabel = hostTensor('f32', [B], f32(scores!.positives));
      if (k > 0) {
        // Entries without a negative may hold anything but NaN.
        const labels = (scores!.negatives ?? new Float32Array(B * k)).map((label) =>
          Number.isNaN(label) ? 0 : label,
        );
        feeds.negativeLabels = hostTensor('f32', [B, k], f32(labels));
      }
    }
    if (dropoutRatio > 0) {
      feeds['pairs/dropout'] = dropoutKeys(rngKey(seed, draw, 'dropout/pairs'), pairs.length);
    }
    ledger.add('trainingPairs', pairs.length, { of: 'pairs' });
    const inputs = crossEncoder.feeds(pairs);
    const outputs = await this.program.run(
      { ...crossEncoder.weights, ...inputs, ...feeds, ...lossScaleFeeds(this.context) },
      { into: gradientBuffers },
    );
    const loss = scalarValue(outputs.loss, 'loss');
    return {
      gradients: gradientsIn(outputs, inputs),
      trainingLoss: loss,
      interpretableLoss: loss,
      metrics: {},
    };
  }

  /** Frees the program. */
  async dispose(): Promise<void> {
    await this.program.dispose();
  }
}
