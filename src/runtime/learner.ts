import type { ParameterSpec } from '../nn/parameters.ts';
import { elementCount } from '../onnx/dtypes.ts';
import type { Optimizer } from '../optim/optimizer.ts';
import { UndriftError } from '../util/errors.ts';
import { formatBytes } from '../util/format.ts';
import { option } from '../util/option-name.ts';
import { bringToHost, keepLong, keepOnDevice, keptTensor, releaseFromDevice } from './device-memory.ts';
import type { ComputeOptions } from './devices.ts';
import { type Gradients, gradientOutput } from './gradients.ts';
import { type HostTensor, zeros } from './host-tensor.ts';
import type { LossScale } from './loss-scale.ts';
import { type DenseParameter, type ParameterState, ParameterUpdate } from './parameter-update.ts';
import { type RowUnion, unionOfRows } from './row-union.ts';

/** Options of one update. */
export interface UpdateOptions {
  /** Learning rate of this update. */
  learningRate: number;
  /** Decoupled weight decay, for parameters with `decay`. */
  weightDecay: number;
  /** Upper limit on the global norm of the gradients, which are scaled down to it; 0 for no clipping. */
  maxGradientNorm: number;
  /**
   * Factor on every gradient, applied before clipping: for example 1/n after adding up n batches. Default 1.
   */
  gradientFactor?: number;
}

/** Parameters with a learning rate of their own, whose gradients are clipped apart: a second optimizer of the same formula. */
export interface ParameterGroup {
  /** Beginning of the names of the parameters: `reader/`. */
  readonly prefix: string;
  /** Factor on the learning rate of every update. */
  readonly learningRateRatio: number;
}

interface Learned extends ParameterState {
  readonly spec: ParameterSpec;
  /** Buffer for the gradient of a dense parameter, overwritten by each step. */
  readonly gradient: HostTensor | undefined;
}

/** Options of a learner. */
export interface LearnerOptions extends ComputeOptions {
  /**
   * Whether long parameters, their state and their gradients stay on the device, if it can keep tensors.
   * Before their arrays are read, `bringToHost` must be awaited. Default false.
   */
  stayOnDevice?: boolean;
  /**
   * Scale of the loss that the gradients belong to. It is divided out of them, and adapted. Default: none.
   */
  lossScale?: LossScale | undefined;
  /** Groups of parameters with learning rates of their own. Default: one group of all parameters. */
  groups?: readonly ParameterGroup[] | undefined;
}

/**
 * Trainable parameters of a model, or of several (see `joinParameters`), with their optimizer state. It
 * provides them to programs and updates them by gradients.
 */
export class Learner {
  /** Number of updates made so far. */
  step = 0;
  private readonly learned: ReadonlyMap<string, Learned>;
  private readonly update: ParameterUpdate;
  /** Tensors that stay on a device. */
  private readonly kept: readonly HostTensor[];
  private readonly lossScale: LossScale | undefined;
  /** Groups of parameters. The first holds those that belong to no other. */
  private readonly groups: readonly ParameterGroup[];
  private sum: Gradients | undefined;

  private constructor(
    learned: ReadonlyMap<string, Learned>,
    parts: {
      groups: readonly ParameterGroup[];
      update: ParameterUpdate;
      kept: readonly HostTensor[];
      lossScale: LossScale | undefined;
    },
  ) {
    this.learned = learned;
    this.groups = [{ prefix: '', learningRateRatio: 1 }, ...parts.groups];
    this.update = parts.update;
    this.kept = parts.kept;
    this.lossScale = parts.lossScale;
  }

  /**
   * Makes a learner with zero optimizer state.
   *
   * @param specs parameters, by their names in programs; frozen ones are left out
   * @param weights values of the parameters by name; their arrays are updated in place
   * @throws UndriftError if a parameter has no value in `weights`.
   */
  static async create(
    specs: readonly ParameterSpec[],
    weights: Readonly<Record<string, HostTensor>>,
    optimizer: Optimizer,
    { stayOnDevice = false, lossScale, groups = [], ...options }: LearnerOptions = {},
  ): Promise<Learner> {
    const learned = new Map<string, Learned>();
    for (const spec of specs) {
      if (spec.frozen) continue;
      const value = weights[spec.name];
      if (!value) throw new UndriftError(`the model has no weight "${spec.name}"`);
      learned.set(spec.name, {
        spec,
        value,
        slots: Object.fromEntries(optimizer.slots.map((slot) => [slot, zeros('f32', spec.shape)])),
        gradient: spec.lookup ? undefined : zeros('f32', spec.shape),
      });
    }
    const update = await ParameterUpdate.compile(optimizer, options);
    const { device = 'cpu' } = options;
    const frozen = specs.filter((spec) => spec.frozen).flatMap(({ name }) => weights[name] ?? []);
    const tensors = [...learned.values()].flatMap(tensorsOf).concat(frozen);
    const kept = stayOnDevice ? keepLong(tensors, device) : [];
    return new Learner(learned, { update, kept, lossScale, groups });
  }

  /**
   * Copies tensors that are kept on a device to the arrays of this process. Required before `state()` and
   * before parameter data is read.
   */
  async bringToHost(): Promise<void> {
    for (const { value, slots } of this.learned.values()) await bringToHost([value, ...Object.values(slots)]);
  }

  /** Current values of the trained parameters, by name. The arrays are updated by later steps. */
  get parameters(): Record<string, HostTensor> {
    return Object.fromEntries([...this.learned].map(([name, { value }]) => [name, value]));
  }

  /**
   * Buffers into which a program may write the gradients of dense parameters, as outputs `gradient/<name>`.
   */
  get gradientBuffers(): Record<string, HostTensor> {
    return Object.fromEntries(
      [...this.learned].flatMap(([name, { gradient }]) =>
        gradient ? [[gradientOutput(name), gradient]] : [],
      ),
    );
  }

  /** Returns step and optimizer state, for a checkpoint. */
  state(): { step: number; tensors: Record<string, HostTensor> } {
    const tensors: Record<string, HostTensor> = {};
    for (const [name, { slots }] of this.learned) {
      for (const [slot, tensor] of Object.entries(slots)) tensors[`${slot}/${name}`] = tensor;
    }
    if (this.lossScale) tensors[LOSS_SCALE] = this.lossScale.state();
    return { step: this.step, tensors };
  }

  /** Sentence for the log that says where weights, optimizer state and gradients are between runs. */
  get whereWeightsAre(): string {
    const all = [...this.learned.values()].flatMap(tensorsOf);
    const bytes = (tensors: readonly HostTensor[]) =>
      tensors.reduce((sum, { dims }) => sum + 4 * elementCount(dims), 0);
    const share = Math.round((100 * bytes(this.kept)) / bytes(all));
    return share > 0
      ? `weights, gradients and optimizer state stay on the device (${share} % of their bytes; short tensors are here)`
      : `weights are copied to the device and gradients back at every step (${formatBytes(bytes(all))} with optimizer state, which stays here)`;
  }

  /** Returns figures for the log: loss scale and number of skipped steps, if there is a loss scale. */
  inspect(): Record<string, number> {
    const { lossScale } = this;
    return lossScale ? { lossScale: lossScale.value, skippedSteps: lossScale.skipped } : {};
  }

  /**
   * Restores step, parameters and optimizer state from a checkpoint.
   *
   * @param parameters values as `parameters` gave them
   * @param tensors state as `state()` gave it
   * @throws UndriftError if a tensor is missing or has another size.
   */
  restore(
    step: number,
    parameters: Readonly<Record<string, HostTensor>>,
    tensors: Readonly<Record<string, HostTensor>>,
  ): void {
    this.step = step;
    for (const [name, { value, slots }] of this.learned) {
      copyInto(value, parameters[name], name);
      for (const [slot, tensor] of Object.entries(slots))
        copyInto(tensor, tensors[`${slot}/${name}`], `${slot}/${name}`);
    }
    const scale = tensors[LOSS_SCALE];
    if (scale) this.lossScale?.restore(scale);
  }

  /**
   * Updates all parameters once by an optimizer step. The gradients of each group are clipped by their own norm.
   *
   * @returns the global norm of all gradients before clipping; NaN if a gradient was not finite and a smaller
   *   loss scale may help: the step then counts, but changes no parameter
   * @throws UndriftError if a gradient is not finite otherwise, belongs to no parameter of the learner, or
   *   lacks its rows. The error names the parameter, and nothing has been changed.
   */
  async apply(gradients: Gradients, options: UpdateOptions): Promise<number> {
    const { maxGradientNorm, learningRate } = options;
    const gradientFactor = (options.gradientFactor ?? 1) / (this.lossScale?.value ?? 1);
    this.check(gradients);
    const { squared, notFinite } = await this.squaredSum(gradients);
    if (notFinite === undefined) this.lossScale?.succeeded();
    else if (this.lossScale?.failed()) {
      this.step += 1;
      return Number.NaN;
    } else throw this.notFinite(notFinite);
    this.step += 1;
    for (const [group, { learningRateRatio }] of this.groups.entries()) {
      const norm = Math.sqrt(squared[group]!) * gradientFactor;
      const clipped = maxGradientNorm > 0 && norm > maxGradientNorm;
      const gradientScale = gradientFactor * (clipped ? maxGradientNorm / norm : 1);
      await this.updateGroup(group, gradients, {
        step: this.step,
        learningRate: learningRate * learningRateRatio,
        gradientScale,
        weightDecay: options.weightDecay,
      });
    }
    return Math.sqrt(squared.reduce((sum, each) => sum + each, 0)) * gradientFactor;
  }

  /**
   * Adds gradients to a running sum, which `accumulated` returns.
   *
   * Batches use different rows of lookup tables, so the sum covers the union of their rows.
   *
   * @param options.first whether to start a new sum
   * @param options.weight factor on the gradients, apart from those of a new sum. Default 1
   * @throws UndriftError if the batches of a sum have gradients of different parameters.
   */
  async accumulate(gradients: Gradients, options: { first: boolean; weight?: number }): Promise<void> {
    const { byName, rows } = gradients;
    this.check(gradients);
    if (options.first || !this.sum) {
      const copies: Record<string, HostTensor> = {};
      for (const [name, gradient] of Object.entries(byName)) {
        copies[name] = await this.copy(gradient, this.sum?.byName[name]);
      }
      this.sum = { byName: copies, rows };
      return;
    }
    const { sum } = this;
    const { weight = 1 } = options;
    const other = [...Object.keys(sum.byName), ...Object.keys(byName)].find(
      (name) => !(sum.byName[name] && byName[name]),
    );
    if (other !== undefined) {
      throw new UndriftError(`only some batches of a sum have a gradient of ${other}`, {
        help: 'add up gradients of one program',
      });
    }
    const unions = new Map<string, RowUnion>();
    const next: Record<string, HostTensor> = {};
    for (const [name, gradient] of Object.entries(byName)) {
      const total = sum.byName[name]!;
      const lookup = this.learned.get(name)?.spec.lookup;
      if (lookup) {
        const union = unions.get(lookup) ?? unionOfRows(sum.rows[lookup]!, rows[lookup]!);
        unions.set(lookup, union);
        next[name] = await this.update.mergeRows(union, total, gradient, weight);
      } else {
        await this.update.accumulate(total, gradient, weight);
        next[name] = total;
      }
    }
    const united = [...unions].map(([lookup, union]) => [lookup, union.rows] as const);
    this.sum = { byName: next, rows: Object.fromEntries(united) };
  }

  /**
   * Sum of the gradients that were given to `accumulate`.
   *
   * @throws UndriftError if there are none.
   */
  get accumulated(): Gradients {
    if (!this.sum) throw new UndriftError('no gradients have been accumulated');
    return this.sum;
  }

  /** Frees the programs, after copying tensors that are kept on a device to this process. */
  async dispose(): Promise<void> {
    await releaseFromDevice(this.kept);
    if (this.sum) await releaseFromDevice(Object.values(this.sum.byName));
    await this.update.dispose();
  }

  /** Updates the parameters of a group. */
  private async updateGroup(
    group: number,
    gradients: Gradients,
    options: Parameters<ParameterUpdate['applyAll']>[1],
  ): Promise<void> {
    for (const decay of [true, false]) {
      const numbers = { ...options, weightDecay: decay ? options.weightDecay : 0 };
      const dense: DenseParameter[] = [];
      for (const [name, state] of this.learned) {
        const gradient = gradients.byName[name];
        if (!gradient || state.spec.decay !== decay || this.groupOf(name) !== group) continue;
        const { lookup } = state.spec;
        if (lookup) await this.update.applyRows(state, gradients.rows[lookup]!, gradient, numbers);
        else dense.push({ state, gradient });
      }
      await this.update.applyAll(dense, numbers);
    }
  }

  /** Number of the group of a parameter: the last one whose prefix its name has. */
  private groupOf = (name: string): number =>
    this.groups.findLastIndex(({ prefix }) => name.startsWith(prefix));

  /** @throws UndriftError if a gradient belongs to no parameter, or to a lookup table and lacks its rows. */
  private check({ byName, rows }: Gradients): void {
    for (const name of Object.keys(byName)) {
      const learned = this.learned.get(name);
      if (!learned) {
        throw new UndriftError(`a gradient of ${name}, which the learner does not train`, {
          help: 'give the learner the specs under the names that they have in the graph (joinParameters)',
        });
      }
      const { lookup } = learned.spec;
      if (!lookup || rows[lookup]) continue;
      throw new UndriftError(`the gradient of the lookup table ${name} came without its rows`, {
        help: `Gradients.rows must have "${lookup}"`,
      });
    }
  }

  /**
   * Copies a gradient, on the device if it is kept there.
   *
   * @param earlier memory to reuse, if the gradient is kept on a device
   */
  private async copy(gradient: HostTensor, earlier: HostTensor | undefined): Promise<HostTensor> {
    const memory = keptTensor(gradient);
    if (!memory) return { ...gradient, data: gradient.data.slice() };
    const copy = earlier ?? zeros('f32', gradient.dims);
    keepOnDevice(copy, memory.device);
    await this.update.copy(gradient, copy);
    return copy;
  }

  /** Computes Σ g² over the gradients of each group, or finds the first parameter whose gradient is not finite. */
  private async squaredSum(gradients: Gradients): Promise<{ squared: number[]; notFinite?: string }> {
    const entries = Object.entries(gradients.byName);
    const kept = entries.filter(([, gradient]) => keptTensor(gradient));
    const sums = await this.update.squaredSums(kept.map(([, gradient]) => gradient));
    const known = new Map(kept.map(([name], i) => [name, sums[i]!]));
    const totals = this.groups.map(() => 0);
    for (const [name, gradient] of entries) {
      const squared = known.get(name) ?? (await this.update.squaredSum(gradient));
      if (!Number.isFinite(squared)) return { squared: totals, notFinite: name };
      totals[this.groupOf(name)]! += squared;
    }
    return { squared: totals };
  }

  private notFinite(name: string): UndriftError {
    return new UndriftError(`step ${this.step + 1}: the gradient of ${name} is not finite`, {
      help: `lower the learning rate, clip gradients (${option('maxGradNorm')}), raise the temperature, or lengthen the warm-up`,
    });
  }
}

/** Name of the loss scale among the tensors of a checkpoint. */
const LOSS_SCALE = 'loss-scale';

const tensorsOf = ({ value, slots, gradient }: Learned): HostTensor[] => [
  value,
  ...Object.values(slots),
  ...(gradient ? [gradient] : []),
];

/**
 * Copies a tensor of a checkpoint into a live tensor.
 *
 * @param name name of the tensor, for the error message
 * @throws UndriftError if the tensor is missing, or has another size or element type.
 */
export function copyInto(target: HostTensor, source: HostTensor | undefined, name: string): void {
  if (!source || source.data.length !== target.data.length) {
    throw new UndriftError(`the checkpoint has no tensor "${name}" of ${target.data.length} elements`, {
      help: 'it was written by a run with other settings',
    });
  }
  if (source.dtype !== target.dtype) {
    throw new UndriftError(`the tensor "${name}" of the checkpoint is ${source.dtype}, not ${target.dtype}`, {
      help: `the checkpoint is damaged: start the run anew with ${option('overwrite', true)}`,
    });
  }
  (target.data as Float32Array).set(source.data as Float32Array);
}
