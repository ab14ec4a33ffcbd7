import { declareParameters, initialValue } from '../nn/parameters.ts';
import { elementCount } from '../onnx/dtypes.ts';
import { adamw } from '../optim/adamw.ts';
import { gradientsIn } from '../runtime/gradients.ts';
import { type HostTensor, hostTensor, scalarValue } from '../runtime/host-tensor.ts';
import { copyInto, Learner } from '../runtime/learner.ts';
import { ProgramCache } from '../runtime/program-cache.ts';
import { UndriftError, UsageError } from '../util/errors.ts';
import { addPrefix, takePrefix } from '../util/prefixes.ts';
import { checkPairs } from './check-pairs.ts';
import type { Corrector, CorrectorBatch, EmbeddingPairs } from './corrector.ts';
import type { CorrectorPlan } from './corrector-options.ts';
import { declareSkip, lossGraph, mlpParameters, residualNetwork, skipSizes } from './mlp-graphs.ts';
import { MomentProgram } from './moments.ts';
import { ridge } from './ridge.ts';
import { RowMap, type RowMapOptions } from './row-map.ts';

/** Corrector by a residual network, updated by one AdamW step for each batch that it learns from. */
export class MlpCorrector implements Corrector {
  readonly kind = 'mlp';
  readonly parameters: number;
  readonly flopsPerRow: number;
  readonly usesAges: boolean;
  private readonly plan: CorrectorPlan;
  private readonly learner: Learner;
  private readonly map: RowMap;
  private readonly losses: ProgramCache;
  /** Affine map between models of different dimension, fixed once it has been fitted; empty if D = D'. */
  private skip: Readonly<Record<string, HostTensor>> | undefined;

  private constructor(plan: CorrectorPlan, learner: Learner) {
    const { dimension, toDimension, hidden, ages, compute } = plan;
    const specs = mlpParameters(plan);
    const sizes = [...specs.map(({ shape }) => shape), ...Object.values(skipSizes(plan))];
    this.plan = plan;
    this.losses = new ProgramCache(compute);
    this.learner = learner;
    this.usesAges = ages !== undefined;
    this.parameters = sizes.reduce((sum, dims) => sum + elementCount(dims), 0);
    this.flopsPerRow = sizes.reduce((sum, dims) => sum + (dims.length === 2 ? 2 * elementCount(dims) : 0), 0);
    if (dimension === toDimension) this.skip = {};
    this.map = new RowMap(
      {
        name: 'mlp',
        dimension,
        toDimension,
        width: Math.max(dimension, toDimension, hidden),
        usesAges: this.usesAges,
        build: (graph) => {
          const { get } = declareParameters(graph, specs);
          const skip = declareSkip(graph, plan);
          return (rows, ages) => residualNetwork(plan, get, { rows, ages, skip });
        },
      },
      compute,
    );
  }

  /** Creates a corrector with initial weights, which is the identity if D = D'. */
  static async create(plan: CorrectorPlan): Promise<MlpCorrector> {
    const specs = mlpParameters(plan);
    const weights = Object.fromEntries(
      specs.map((spec) => {
        const value = initialValue({ ...spec, name: `corrector/${spec.name}` }, plan.seed);
        return [spec.name, hostTensor('f32', spec.shape, value)];
      }),
    );
    return new MlpCorrector(plan, await Learner.create(specs, weights, adamw(), plan.compute));
  }

  async correct(rows: HostTensor, options: RowMapOptions = {}): Promise<Float32Array<ArrayBuffer>> {
    if (!this.skip) {
      throw new UndriftError('corrector mlp: nothing has been fitted yet', {
        help: 'between models of different dimension there is no map to begin with: fit it to pairs first',
      });
    }
    return await this.map.run(rows, { ...this.learner.parameters, ...this.skip }, options);
  }

  async learn(batch: CorrectorBatch): Promise<Readonly<Record<string, number>>> {
    return await this.update(batch, this.plan.learningRate);
  }

  /**
   * Makes one update.
   *
   * @returns distance and divergence before the update
   * @throws UsageError when the loss is `kl` and the batch has no queries
   */
  async update(batch: CorrectorBatch, learningRate: number): Promise<Readonly<Record<string, number>>> {
    const { plan, usesAges, learner } = this;
    const { dimension, toDimension, loss } = plan;
    const pairs = checkPairs(batch, { name: 'mlp', dimension, toDimension, usesAges });
    const hasQueries = batch.queries !== undefined && loss !== 'regression';
    if (loss === 'kl' && !hasQueries) {
      throw new UsageError('corrector mlp: a divergence needs queries', {
        help: 'give queries, or learn by regression',
      });
    }
    if (!this.skip) await this.fitSkip(batch);
    const f32 = (values: Float32Array, width: number) =>
      hostTensor('f32', [values.length / width, width], values as Float32Array<ArrayBuffer>);
    const feeds = {
      ...learner.parameters,
      ...this.skip,
      stale: f32(batch.stale, dimension),
      fresh: f32(batch.fresh, toDimension),
      ...(usesAges && { ages: hostTensor('i32', [pairs], batch.ages as Int32Array<ArrayBuffer>) }),
      ...(hasQueries && { queries: f32(batch.queries!, toDimension) }),
    };
    const program = await this.losses.get(`loss queries ${hasQueries}`, () =>
      lossGraph(this.plan, { hasQueries }),
    );
    const results = await program.run(feeds, { into: learner.gradientBuffers });
    const options = { learningRate, weightDecay: 0, maxGradientNorm: 0 };
    await learner.apply(gradientsIn(results, feeds), options);
    return {
      correctorError: scalarValue(results.regression),
      ...(hasQueries && { correctorKl: scalarValue(results.kl) }),
    };
  }

  /** Fits the affine map between different dimensions; does nothing if they are equal. */
  async fitSkip(pairs: EmbeddingPairs): Promise<void> {
    const { plan } = this;
    const { dimension, toDimension, compute } = plan;
    if (dimension === toDimension) return;
    const moments = new MomentProgram({ dimension, toDimension }, compute);
    const f32 = (values: Float32Array, width: number) =>
      hostTensor('f32', [values.length / width, width], values as Float32Array<ArrayBuffer>);
    try {
      const { weight, shift } = await ridge(plan).fit(
        await moments.run({ stale: f32(pairs.stale, dimension), fresh: f32(pairs.fresh, toDimension) }),
      );
      this.skip = {
        'skip.weight': hostTensor('f32', [toDimension, dimension], weight!),
        'skip.bias': hostTensor('f32', [toDimension], shift!),
      };
    } finally {
      await moments.dispose();
    }
  }

  state(): Readonly<Record<string, HostTensor>> {
    const { step, tensors } = this.learner.state();
    return {
      ...addPrefix('parameter/', this.learner.parameters),
      ...addPrefix('optimizer/', tensors),
      ...this.skip,
      step: hostTensor('i32', [1], Int32Array.of(step)),
    };
  }

  async restore(state: Readonly<Record<string, HostTensor>>): Promise<void> {
    const step = Number(state.step?.data[0] ?? 0);
    this.learner.restore(step, takePrefix('parameter/', state), takePrefix('optimizer/', state));
    const sizes = Object.entries(skipSizes(this.plan));
    if (sizes.length === 0) return;
    const isFitted = sizes.every(([name]) => state[name] !== undefined);
    this.skip = isFitted
      ? Object.fromEntries(
          sizes.map(([name, dims]) => {
            const target = hostTensor('f32', dims, new Float32Array(elementCount(dims)));
            copyInto(target, state[name], name);
            return [name, target];
          }),
        )
      : undefined;
  }

  async dispose(): Promise<void> {
    await this.learner.dispose();
    await this.map.dispose();
    await this.losses.dispose();
  }
}
