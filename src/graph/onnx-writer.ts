import { type DType, dtypes } from '../onnx/dtypes.ts';
import type { OnnxAttribute, OnnxNode, OnnxTensor } from '../onnx/model.ts';
import { ShapeError } from '../util/errors.ts';
import { f32ToF16 } from '../util/half.ts';
import { type Dim, dimTerms } from './dims.ts';
import type { Graph } from './graph.ts';
import type { GraphNode, Tensor } from './tensor.ts';

/** Options that adapt the ONNX file to an execution provider of onnxruntime. */
export interface LoweringOptions {
  /**
   * Whether the provider has a kernel for onnxruntime's `FusedMatMul`. Without it, transposes are separate
   * nodes. Default true.
   */
  fusedMatMul?: boolean;
  /** Whether the provider runs `Scan`. Without it, all scores of a language model are computed together. Default true. */
  scan?: boolean;
  /**
   * Dtype in which f32 matrices are multiplied. Default `f32`.
   *
   * With `f16`, the operands and the product are rounded to f16, and the product is then cast back to f32.
   * All other operations (softmax, norms, sums, the loss) stay in f32.
   */
  products?: 'f32' | 'f16';
}

/**
 * Nodes and constants of an ONNX graph that is being written, with the names of its values. Constants, casts and sizes that several nodes
 * read are written once.
 */
export class OnnxWriter {
  readonly nodes: OnnxNode[] = [];
  readonly initializers: OnnxTensor[] = [];
  private readonly written = new Set<Tensor>();
  /**
   * Names of tensors that are outputs. They carry the output's name, so that onnxruntime writes them to the
   * caller's buffer.
   */
  private readonly names = new Map<Tensor, string>();
  private readonly integers = new Map<string, string>();
  private readonly sizes = new Map<string, string>();
  private readonly numbers = new Set<string>();
  private readonly casts = new Map<string, string>();
  /** Map from symbol to a written tensor that has the symbol as a dimension, and its axis. */
  private readonly symbolSources = new Map<string, { name: string; axis: number }>();

  /** Tensors that are multiplied by a constant scalar. */
  private readonly scaled: ReadonlySet<Tensor>;
  /** Tensors that a node reads or that are outputs. */
  private readonly used: ReadonlySet<Tensor>;

  readonly options: Required<LoweringOptions>;

  constructor(
    graph: Graph,
    nodes: readonly GraphNode[],
    { fusedMatMul = true, scan = true, products = 'f32' }: LoweringOptions,
  ) {
    this.options = { fusedMatMul, scan, products };
    this.used = new Set([...nodes.flatMap(({ inputs }) => inputs), ...graph.outputs.values()]);
    for (const input of graph.inputs) this.remember(input);
    const isConstant = ({ rank, source }: Tensor) => rank === 0 && source.kind === 'constant';
    const multiplications = nodes.filter(({ op, inputs }) => op === 'Mul' && inputs.some(isConstant));
    this.scaled = new Set(multiplications.flatMap(({ inputs }) => inputs));
    for (const [name, tensor] of graph.outputs) {
      if (tensor.node && !this.names.has(tensor)) this.names.set(tensor, name);
    }
  }

  name(tensor: Tensor): string {
    return this.names.get(tensor) ?? tensor.name;
  }

  isUsed(tensor: Tensor): boolean {
    return this.used.has(tensor);
  }

  isScaled(tensor: Tensor): boolean {
    return this.scaled.has(tensor);
  }

  /** Notes where the sizes of the dimensions of a written tensor can be read. */
  remember(tensor: Tensor): void {
    for (const [axis, dim] of tensor.shape.entries()) {
      if (typeof dim === 'string' && !this.symbolSources.has(dim)) {
        this.symbolSources.set(dim, { name: this.name(tensor), axis });
      }
    }
  }

  /** Returns the ONNX name of a tensor. A constant is written at its first use. */
  value(tensor: Tensor): string {
    if (tensor.source.kind === 'constant' && !this.written.has(tensor)) {
      this.written.add(tensor);
      this.initializers.push({
        name: tensor.name,
        dtype: tensor.dtype,
        dims: tensor.shape as number[],
        data: tensor.source.data,
      });
    }
    return this.name(tensor);
  }

  emit(
    opType: string,
    inputs: string[],
    outputs: string[],
    attributes: Record<string, OnnxAttribute> = {},
    domain = '',
  ): void {
    this.nodes.push({
      opType,
      inputs,
      outputs,
      attributes,
      name: outputs[0]!,
      ...(domain ? { domain } : {}),
    });
  }

  /** Returns the name of a constant list of integers, i64. */
  ints(values: readonly number[]): string {
    const key = values.join(',');
    let name = this.integers.get(key);
    if (!name) {
      name = `ints/${this.integers.size}`;
      this.integers.set(key, name);
      this.initializers.push({
        name,
        dtype: 'i64',
        dims: [values.length],
        data: BigInt64Array.from(values, BigInt),
      });
    }
    return name;
  }

  /** Returns the name of a value cast to another dtype. Each cast is written once and shared. */
  cast(name: string, to: DType): string {
    const key = `${name}/${to}`;
    const known = this.casts.get(key);
    if (known) return known;
    const made = `${key}/cast`;
    this.emit('Cast', [name], [made], { to: int(dtypes[to].onnxCode) });
    this.casts.set(key, made);
    return made;
  }

  /** Returns the name of a constant f32 or f16 scalar. */
  number(value: number, dtype: DType): string {
    const name = `number/${dtype}/${value}`;
    if (!this.numbers.has(name)) {
      this.numbers.add(name);
      const single = Float32Array.of(value);
      const data = dtype === 'f16' ? f32ToF16(single) : single;
      this.initializers.push({ name, dtype, dims: [], data });
    }
    return name;
  }

  /** Returns the name of an i64[1] that holds the size of a dimension at run time. */
  size(dim: Dim): string {
    if (typeof dim === 'number') return this.ints([dim]);
    const known = this.sizes.get(dim);
    if (known) return known;
    const name = `size/${dim}`;
    const source = this.symbolSources.get(dim);
    if (source) {
      this.emit('Shape', [source.name], [name], { start: int(source.axis), end: int(source.axis + 1) });
    } else {
      this.polynomial(dim, name);
    }
    this.sizes.set(dim, name);
    return name;
  }

  private polynomial(dim: string, name: string): void {
    const terms = dimTerms(dim);
    if (terms.length === 1 && terms[0]!.symbols.length === 1 && terms[0]!.coefficient === 1) {
      throw new ShapeError(
        `no tensor has the dimension "${dim}" by itself, so its size is unknown at run time`,
        {
          help: `declare an input with "${dim}" as one of its dimensions`,
        },
      );
    }
    let total: string | undefined;
    for (const [t, { coefficient, symbols }] of terms.entries()) {
      let product = this.ints([coefficient]);
      for (const [s, symbol] of symbols.entries()) {
        const next = `${name}/${t}.${s}`;
        this.emit('Mul', [product, this.size(symbol)], [next]);
        product = next;
      }
      if (total === undefined) total = product;
      else {
        const next = t === terms.length - 1 ? name : `${name}/sum.${t}`;
        this.emit('Add', [total, product], [next]);
        total = next;
      }
    }
    if (total !== name) this.emit('Identity', [total!], [name]);
  }

  /** Returns the name of an i64[rank] that holds a shape at run time. */
  shape(shape: readonly Dim[]): string {
    if (shape.every((dim) => typeof dim === 'number')) return this.ints(shape as number[]);
    const key = `shape/${shape.join(',')}`;
    const known = this.sizes.get(key);
    if (known) return known;
    this.emit(
      'Concat',
      shape.map((dim) => this.size(dim)),
      [key],
      { axis: int(0) },
    );
    this.sizes.set(key, key);
    return key;
  }
}

/** Attribute of one integer. */
export const int = (value: number): OnnxAttribute => ({ kind: 'int', value });
