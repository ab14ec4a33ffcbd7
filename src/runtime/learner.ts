import type { ParameterSpec } from '../nn/parameters.ts';
import { elementCount } from '../onnx/dtypes.ts';
import type { Optimizer } from '../optim/optimizer.ts';
import { UndriftError } from '../util/errors.ts';
import { formatBytes } from '../util/format.ts';
import { bringToHost, keepLong, keepOnDevice, keptTensor, releaseFromDevice } from './device-memory.ts';
import type { ComputeOptions } from './devices.ts';
import { type HostTensor, zeros } from './host-tensor.ts';
import type { LossScale } from './loss-scale.ts';
import {
  type DenseParameter,
  type ParameterState,
  ParameterUpdate,
  unionOfRows,
} from './parameter-update.ts';

/** Gradients of a step by parameter name; those of lookup tables are for the step's `rows` only. */
export interface Gradients {
  readonly byName: Readonly<Record<string, HostTensor>>;
  /** i64[U]: the distinct table rows that the gradients of lookup tables stand for. */
  readonly rows: HostTensor | undefined;
}

export interface UpdateOptions {
  learningRate: number;
  weightDecay: number;
  /** Gradients are scaled down so that their global norm is at most this; 0 for no clipping. */
  maxGradientNorm: number;
  /** Multiplies every gradient before anything else, e.g. 1/n after adding up n batches. Default 1. */
  gradientFactor?: number;
}

interface Learned extends ParameterState {
  readonly spec: ParameterSpec;
  /** Buffer for the gradient of a dense parameter, written anew by each step. */
  readonly gradient: HostTensor | undefined;
}

export interface LearnerOptions extends ComputeOptions {
  stayOnDevice?: boolean;
  lossScale?: LossScale | undefined;
}

/**
 * The parameters of a model with their optimizer state: gives them to programs, and moves them along gradients.
 */
export class Learner {
  /** Number of updates made so far. */
  step = 0;
  private readonly learned: ReadonlyMap<string, Learned>;
  private readonly update: ParameterUpdate;
  /** What stays on a device. */
  private readonly kept: readonly HostTensor[];
  private readonly lossScale: LossScale | undefined;
  private sum: Gradients | undefined;

  private constructor(
    learned: ReadonlyMap<string, Learned>,
    parts: {
      update: ParameterUpdate;
      kept: readonly HostTensor[];
      lossScale: LossScale | undefined;
    },
  ) {
    this.learned = learned;
    this.update = parts.update;
    this.kept = parts.kept;
    this.lossScale = parts.lossScale;
  }

  /**
   * @param specs  parameters, with the names they have in programs; frozen ones are left out
   * @param weights  their values by name; the arrays are moved in place
   * @param options.stayOnDevice  keeps long parameters, their state and their gradients on the device, where it can keep tensors.
   *   Whoever reads the arrays must have awaited `bringToHost` first. Default false
   * @param options.lossScale  what the loss of the gradients is multiplied by; it is divided out, and adapted
   */
  static async create(
    specs: readonly ParameterSpec[],
    weights: Readonly<Record<string, HostTensor>>,
    optimizer: Optimizer,
    { stayOnDevice = false, lossScale, ...options }: LearnerOptions = {},
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
    return new Learner(learned, { update, kept, lossScale });
  }

  /** Brings what is kept on a device to the arrays of this process: before `state()` and before anybody reads a parameter's data. */
  async bringToHost(): Promise<void> {
    for (const { value, slots } of this.learned.values()) await bringToHost([value, ...Object.values(slots)]);
  }

  /** Current values of what is trained, by name. The arrays are the live ones. */
  get parameters(): Record<string, HostTensor> {
    return Object.fromEntries([...this.learned].map(([name, { value }]) => [name, value]));
  }

  /** Buffers in which a program may leave the gradients of dense parameters, as outputs `gradient/<name>`. */
  get gradientBuffers(): Record<string, HostTensor> {
    return Object.fromEntries(
      [...this.learned].flatMap(([name, { gradient }]) =>
        gradient ? [[gradientOutput(name), gradient]] : [],
      ),
    );
  }

  /** Optimizer state and step, for a checkpoint. */
  state(): { step: number; tensors: Record<string, HostTensor> } {
    const tensors: Record<string, HostTensor> = {};
    for (const [name, { slots }] of this.learned) {
      for (const [slot, tensor] of Object.entries(slots)) tensors[`${slot}/${name}`] = tensor;
    }
    if (this.lossScale) tensors[LOSS_SCALE] = this.lossScale.state();
    return { step: this.step, tensors };
  }

  /** Where weights, optimizer state and gradients are between runs, in words. */
  get whereWeightsAre(): string {
    const all = [...this.learned.values()].flatMap(tensorsOf);
    const bytes = (tensors: readonly HostTensor[]) =>
      tensors.reduce((sum, { dims }) => sum + 4 * elementCount(dims), 0);
    const share = Math.round((100 * bytes(this.kept)) / bytes(all));
    return share > 0
      ? `weights, gradients and optimizer state stay on the device (${share} % of their bytes; short tensors are here)`
      : `weights are copied to the device and gradients back at every step (${formatBytes(bytes(all))} with optimizer state, which stays here)`;
  }

  /** Figures for the log. */
  inspect(): Record<string, number> {
    const { lossScale } = this;
    return lossScale ? { lossScale: lossScale.value, skippedSteps: lossScale.skipped } : {};
  }

  /** Takes back what `state()` and `parameters` gave. */
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
   * One optimizer update.
   *
   * @returns  the global norm of the gradients before clipping; NaN where a gradient was not finite and a smaller loss scale may help:
   *   the step counts, and changes no parameter
   * @throws UndriftError naming the parameter when a gradient is not finite otherwise; nothing has been changed then
   */
  async apply(gradients: Gradients, options: UpdateOptions): Promise<number> {
    const { maxGradientNorm, learningRate } = options;
    const gradientFactor = (options.gradientFactor ?? 1) / (this.lossScale?.value ?? 1);
    const { squared, notFinite } = await this.squaredSum(gradients);
    if (notFinite === undefined) this.lossScale?.succeeded();
    else if (this.lossScale?.failed()) {
      this.step += 1;
      return Number.NaN;
    } else throw this.notFinite(notFinite);
    const gradientNorm = Math.sqrt(squared) * gradientFactor;
    const clipped = maxGradientNorm > 0 && gradientNorm > maxGradientNorm;
    const gradientScale = gradientFactor * (clipped ? maxGradientNorm / gradientNorm : 1);
    this.step += 1;
    for (const decay of [true, false]) {
      const weightDecay = decay ? options.weightDecay : 0;
      const numbers = { step: this.step, learningRate, gradientScale, weightDecay };
      const dense: DenseParameter[] = [];
      for (const [name, state] of this.learned) {
        const gradient = gradients.byName[name];
        if (!gradient || state.spec.decay !== decay) continue;
        if (!state.spec.lookup) dense.push({ state, gradient });
        else if (gradients.rows) await this.update.applyRows(state, gradients.rows, gradient, numbers);
        else throw new UndriftError(`the gradient of the lookup table ${name} came without its rows`);
      }
      await this.update.applyAll(dense, numbers);
    }
    return gradientNorm;
  }

  /**
   * Adds gradients to a sum that `accumulated` gives. Batches touch different rows of lookup tables: the sum has the union of
   * their rows.
   */
  async accumulate({ byName, rows }: Gradients, options: { first: boolean }): Promise<void> {
    if (options.first || !this.sum) {
      const copies: Record<string, HostTensor> = {};
      for (const [name, gradient] of Object.entries(byName)) {
        copies[name] = await this.copy(gradient, this.sum?.byName[name]);
      }
      this.sum = { byName: copies, rows };
      return;
    }
    const union = rows && this.sum.rows ? unionOfRows(this.sum.rows, rows) : undefined;
    const next: Record<string, HostTensor> = {};
    for (const [name, gradient] of Object.entries(byName)) {
      const total = this.sum.byName[name]!;
      if (union && this.learned.get(name)?.spec.lookup) {
        next[name] = await this.update.mergeRows(union, total, gradient);
      } else {
        await this.update.accumulate(total, gradient);
        next[name] = total;
      }
    }
    this.sum = { byName: next, rows: union?.rows ?? rows };
  }

  /** The gradients that `accumulate` has added up. */
  get accumulated(): Gradients {
    if (!this.sum) throw new UndriftError('no gradients have been accumulated');
    return this.sum;
  }

  async dispose(): Promise<void> {
    await releaseFromDevice(this.kept);
    if (this.sum) await releaseFromDevice(Object.values(this.sum.byName));
    await this.update.dispose();
  }

  /** A gradient's copy, where it lies. @param earlier  memory for it, if it is kept on a device */
  private async copy(gradient: HostTensor, earlier: HostTensor | undefined): Promise<HostTensor> {
    const memory = keptTensor(gradient);
    if (!memory) return { ...gradient, data: gradient.data.slice() };
    const copy = earlier ?? zeros('f32', gradient.dims);
    keepOnDevice(copy, memory.device);
    await this.update.copy(gradient, copy);
    return copy;
  }

  /** Σ g² over all gradients, or the first parameter whose gradient is not finite. */
  private async squaredSum(gradients: Gradients): Promise<{ squared: number; notFinite?: string }> {
    const entries = Object.entries(gradients.byName);
    const kept = entries.filter(([, gradient]) => keptTensor(gradient));
    const sums = await this.update.squaredSums(kept.map(([, gradient]) => gradient));
    const known = new Map(kept.map(([name], i) => [name, sums[i]!]));
    let total = 0;
    for (const [name, gradient] of entries) {
      const squared = known.get(name) ?? (await this.update.squaredSum(gradient));
      if (!Number.isFinite(squared)) return { squared: total, notFinite: name };
      total += squared;
    }
    return { squared: total };
  }

  private notFinite(name: string): UndriftError {
    return new UndriftError(`step ${this.step + 1}: the gradient of ${name} is not finite`, {
      help: 'lower the learning rate, clip gradients (--max-grad-norm), raise the temperature, or lengthen the warm-up',
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

/** Name of the program output that holds a parameter's gradient. */
export const gradientOutput = (parameter: string): string => `gradient/${parameter}`;

/** Takes a tensor of a checkpoint into a live one. @throws UndriftError where it is missing, or of another size */
export function copyInto(target: HostTensor, source: HostTensor | undefined, name: string): void {
  if (!source || source.data.length !== target.data.length) {
    throw new UndriftError(`the checkpoint has no tensor "${name}" of ${target.data.length} elements`, {
      help: 'it was written by a run with other settings',
    });
  }
  (target.data as Float32Array).set(source.data as Float32Array);
}
