import type { Graph } from '../graph/graph.ts';
import { add, matmul } from '../graph/ops.ts';
import { elementCount } from '../onnx/dtypes.ts';
import { type HostTensor, hostTensor } from '../runtime/host-tensor.ts';
import { UndriftError } from '../util/errors.ts';
import { addPrefix, takePrefix } from '../util/prefixes.ts';
import { squaredDistance } from '../util/vector-rows.ts';
import { checkPairs } from './check-pairs.ts';
import type { Corrector, CorrectorBatch, CorrectorKind } from './corrector.ts';
import type { CorrectorPlan } from './corrector-options.ts';
import type { ClosedForm } from './linear-map.ts';
import { MomentProgram } from './moments.ts';
import { PairReservoir } from './pair-reservoir.ts';
import { type RowFunction, RowMap, type RowMapOptions } from './row-map.ts';

/**
 * Corrector by a linear map in closed form, refitted to the latest pairs at the first update and at every
 * n-th. Before the first fit it is the identity.
 *
 * The pairs of the reservoir are of different ages: "fresh" was fresh when the pair arrived. A small
 * reservoir lags less, but its fit is noisier.
 */
export class LinearCorrector implements Corrector {
  readonly kind: CorrectorKind;
  readonly parameters: number;
  readonly flopsPerRow: number;
  readonly usesAges = false;
  private readonly plan: CorrectorPlan;
  private readonly form: ClosedForm;
  private readonly map: RowMap;
  /** Map used until the first fit; absent if D ≠ D'. */
  private readonly identity: RowMap | undefined;
  private readonly moments: MomentProgram;
  private readonly reservoir: PairReservoir;
  private fitted: Readonly<Record<string, HostTensor>> | undefined;

  constructor(kind: CorrectorKind, plan: CorrectorPlan, form: ClosedForm) {
    const { dimension, toDimension, rank, compute } = plan;
    this.kind = kind;
    this.plan = plan;
    this.form = form;
    this.parameters = Object.values(form.parts).reduce((sum, dims) => sum + elementCount(dims), 0);
    this.flopsPerRow =
      'weight' in form.parts
        ? 2 * dimension * toDimension
        : 'up' in form.parts
          ? 4 * dimension * rank
          : dimension;
    const sizes = { dimension, toDimension, width: Math.max(dimension, toDimension), usesAges: false };
    this.map = new RowMap({ ...sizes, name: kind, build: (graph) => linear(form, graph) }, compute);
    this.identity =
      dimension === toDimension
        ? new RowMap({ ...sizes, name: `${kind}/identity`, build: () => (rows) => rows }, compute)
        : undefined;
    this.moments = new MomentProgram({ dimension, toDimension }, compute);
    this.reservoir = new PairReservoir(plan.reservoir, dimension, toDimension);
  }

  async correct(rows: HostTensor, options: RowMapOptions = {}): Promise<Float32Array<ArrayBuffer>> {
    if (this.fitted) return await this.map.run(rows, this.fitted, options);
    if (this.identity) return await this.identity.run(rows, {}, options);
    throw new UndriftError(`corrector ${this.kind}: nothing has been fitted yet`, {
      help: 'between models of different dimension there is no map to begin with: fit it to pairs first',
    });
  }

  async learn(batch: CorrectorBatch, step: number): Promise<Readonly<Record<string, number>>> {
    const { dimension, toDimension, refitEvery } = this.plan;
    const pairs = checkPairs(batch, { name: this.kind, dimension, toDimension });
    // Error of the map before this batch, which has not seen these pairs.
    const error = this.fitted || this.identity ? await this.error(batch, pairs) : undefined;
    this.reservoir.add(batch);
    if (!this.fitted || step % refitEvery === 0) await this.fit(this.reservoir.pairs);
    return error === undefined ? {} : { correctorError: error };
  }

  /** Fits the map to exactly these pairs, without the reservoir. */
  async fit(pairs: { readonly stale: HostTensor; readonly fresh: HostTensor }): Promise<void> {
    const map = await this.form.fit(await this.moments.run(pairs));
    this.fitted = Object.fromEntries(
      Object.entries(this.form.parts).map(([name, dims]) => [
        name,
        hostTensor('f32', dims, map[name as keyof typeof map]!),
      ]),
    );
  }

  state(): Readonly<Record<string, HostTensor>> {
    return { ...addPrefix('map/', this.fitted ?? {}), ...addPrefix('pairs/', this.reservoir.state()) };
  }

  async restore(state: Readonly<Record<string, HostTensor>>): Promise<void> {
    const map = takePrefix('map/', state);
    const parts = Object.entries(this.form.parts);
    const isEmpty = Object.keys(map).length === 0;
    if (!isEmpty && parts.some(([name, dims]) => map[name]?.data.length !== elementCount(dims))) {
      throw new UndriftError(`the checkpoint has no corrector ${this.kind} of these sizes`, {
        help: 'it was written by a run with other settings',
      });
    }
    this.reservoir.restore(takePrefix('pairs/', state));
    const copy = ([name, dims]: [string, readonly number[]]) =>
      [name, hostTensor('f32', dims, map[name]!.data.slice())] as const;
    this.fitted = isEmpty ? undefined : Object.fromEntries(parts.map(copy));
  }

  async dispose(): Promise<void> {
    await this.map.dispose();
    await this.identity?.dispose();
    await this.moments.dispose();
    await this.form.dispose();
  }

  /** Computes mean ‖h(b) − fresh‖². */
  private async error({ stale, fresh }: CorrectorBatch, pairs: number): Promise<number> {
    const rows = hostTensor('f32', [pairs, this.plan.dimension], stale as Float32Array<ArrayBuffer>);
    return squaredDistance(await this.correct(rows), fresh) / pairs;
  }
}

/** Builds m(b) with the parts of a closed form as inputs. */
function linear({ parts }: ClosedForm, graph: Graph): RowFunction {
  const declare = (name: string) => parts[name] && graph.input(name, 'f32', parts[name]);
  const [weight, down, up, shift] = ['weight', 'down', 'up', 'shift'].map(declare);
  return (rows) => {
    let mapped = weight ? matmul(rows, weight, { transB: true }) : rows;
    if (down && up) {
      const moved = matmul(matmul(rows, down, { transB: true }), up, { transB: true });
      mapped = add(mapped, moved);
    }
    return shift ? add(mapped, shift) : mapped;
  };
}
