import type { OnnxAttribute, OnnxNode, OnnxValue } from '../onnx/model.ts';
import type { OpAttributes } from './op-types.ts';
import type { GraphNode } from './tensor.ts';

/** Functions of the writer of an ONNX file that this conversion uses. */
interface NodeWriter {
  emit(opType: string, inputs: string[], outputs: string[], attributes?: Record<string, OnnxAttribute>): void;
  /** Name of a constant list, i64. */
  ints(values: readonly number[]): string;
  /** Name of a constant scalar. */
  number(value: number, dtype: 'f32'): string;
}

/** What the conversion needs to know. */
interface Context {
  writer: NodeWriter;
  node: GraphNode;
  inputs: string[];
  outputs: string[];
  attributes: OpAttributes['TokenLogLikelihood'];
  /** Whether something reads the gradient of the hidden states, and that of the matrix. */
  wanted: { hidden: boolean; matrix: boolean };
  /** Writes a matrix product of two values. */
  product: (emit: NodeWriter['emit'], operands: string[], output: string, options: ProductOptions) => void;
}

/** Attributes of a product, all of which are 0 or 1 by default but `alpha`. */
export type ProductOptions = Readonly<Partial<Record<'transA' | 'transB' | 'alpha', number>>>;

const int = (value: number): OnnxAttribute => ({ kind: 'int', value });

/**
 * Converts `TokenLogLikelihood` to one `Scan` over pieces of rows.
 *
 * The rows are padded to `pieces` pieces of `size` rows. The body of the scan computes the scores of one piece and
 * everything that is made of them. The gradient of the matrix is the state of the scan, to which each piece adds.
 */
export function scanTokenLogLikelihood(context: Context): void {
  const { writer, node, inputs, outputs, attributes, wanted } = context;
  const [hidden, matrix, ids, weights] = inputs as [string, string, string, string];
  const [V, D] = node.inputs[1]!.shape as [number, number];
  const name = (part: string) => `${outputs[1]}/${part}`;
  const emit = (opType: string, from: string[], part: string, options?: Record<string, OnnxAttribute>) => {
    writer.emit(opType, from, [name(part)], options);
    return name(part);
  };
  const one = writer.ints([1]);
  const zero = writer.ints([0]);

  // pieces = max(1, ⌈R / most⌉), size = max(1, ⌈R / pieces⌉)
  const most = writer.ints([Math.max(1, Math.floor(attributes.scoresPerPiece / V))]);
  const rows = emit('Shape', [hidden], 'rows', { start: int(0), end: int(1) });
  const ceiling = (a: string, b: string, part: string) => {
    const raised = emit('Add', [a, emit('Sub', [b, one], `${part}/less`)], `${part}/raised`);
    return emit('Max', [one, emit('Div', [raised, b], `${part}/ceiling`)], part);
  };
  const pieces = ceiling(rows, most, 'pieces');
  const size = ceiling(rows, pieces, 'size');
  const padding = emit('Sub', [emit('Mul', [pieces, size], 'padded'), rows], 'padding');
  const pads = emit('Concat', [zero, padding], 'pads', { axis: int(0) });
  const inPieces = (value: string, columns: number, part: string) => {
    const padded = emit('Pad', [value, columns === 1 ? pads : matrixPads(), '', ''], `${part}/padded`);
    const shape = emit('Concat', [pieces, size, writer.ints([columns])], `${part}/shape`, { axis: int(0) });
    return emit('Reshape', [padded, shape], `${part}/pieces`);
  };
  const matrixPads = () => emit('Concat', [zero, zero, padding, zero], 'matrixPads', { axis: int(0) });
  const scanned = [inPieces(hidden, D, 'hidden'), inPieces(ids, 1, 'ids'), inPieces(weights, 1, 'weights')];

  const nodes: OnnxNode[] = [];
  const body = pieceNodes(context, { matrix, into: nodes });
  const value = (each: string, dtype: OnnxValue['dtype'], shape: OnnxValue['shape']) => ({
    name: each,
    dtype,
    shape,
  });
  const made = [name('scanned/logProbabilities'), ...(wanted.hidden ? [name('scanned/dHidden')] : [])];
  const zeros = wanted.matrix
    ? [
        emit('ConstantOfShape', [writer.ints([V, D])], 'zeros', {
          value: {
            kind: 'tensor',
            value: { name: '', dtype: 'f32', dims: [1], data: new Float32Array(1) },
          },
        }),
      ]
    : [];
  writer.emit('Scan', [...zeros, ...scanned], [...(wanted.matrix ? [outputs[3]!] : []), ...made], {
    num_scan_inputs: int(3),
    body: {
      kind: 'graph',
      value: {
        name: 'piece',
        nodes,
        inputs: [
          ...(wanted.matrix ? [value(body.state, 'f32', [V, D])] : []),
          value(body.hidden, 'f32', ['', D]),
          value(body.ids, 'i64', ['', 1]),
          value(body.weights, 'f32', ['', 1]),
        ],
        outputs: [
          ...(wanted.matrix ? [value(body.dMatrix, 'f32', [V, D])] : []),
          value(body.logProbabilities, 'f32', ['', 1]),
          ...(wanted.hidden ? [value(body.dHidden, 'f32', ['', D])] : []),
        ],
        initializers: [],
      },
    },
  });
  const together = (part: string, shape: number[], output: string) => {
    const flat = emit('Reshape', [name(`scanned/${part}`), writer.ints(shape)], `${part}/flat`);
    writer.emit('Slice', [flat, zero, rows, zero], [output]);
  };
  together('logProbabilities', [-1], outputs[1]!);
  if (wanted.hidden) together('dHidden', [-1, D], outputs[2]!);
  writeTotal(context);
}

/** Converts `TokenLogLikelihood` to nodes that compute all scores together, for providers without `Scan`. */
export function wholeTokenLogLikelihood(context: Context): void {
  const { writer, inputs, outputs, wanted } = context;
  const [hidden, matrix, ids, weights] = inputs as [string, string, string, string];
  const column = (value: string, part: string) => {
    const made = `${outputs[1]}/${part}/column`;
    writer.emit('Unsqueeze', [value, writer.ints([1])], [made]);
    return made;
  };
  const given = { hidden, ids: column(ids, 'ids'), weights: column(weights, 'weights') };
  const made = pieceNodes(context, { matrix, given });
  writer.emit('Squeeze', [made.logProbabilities, writer.ints([1])], [outputs[1]!]);
  if (wanted.hidden) writer.emit('Identity', [made.dHidden], [outputs[2]!]);
  if (wanted.matrix) writer.emit('Identity', [made.dMatrix], [outputs[3]!]);
  writeTotal(context);
}

function writeTotal({ writer, inputs, outputs }: Context): void {
  const weighted = `${outputs[0]}/weighted`;
  writer.emit('Mul', [inputs[3]!, outputs[1]!], [weighted]);
  writer.emit('ReduceSum', [weighted, writer.ints([0])], [outputs[0]!], { keepdims: int(0) });
}

/**
 * Writes the nodes of one piece of rows. With p = softmax(s), the weighted log-likelihood has the gradient
 * w (onehot − p) with respect to the scores s.
 *
 * @param options.into list of the nodes of a body; default the graph itself, whose matrix gradient has no state
 * @returns names of the inputs and results of the piece
 */
function pieceNodes(
  { writer, outputs, wanted, product }: Context,
  {
    matrix,
    into,
    given,
  }: { matrix: string; into?: OnnxNode[]; given?: { hidden: string; ids: string; weights: string } },
) {
  const name = (part: string) => `${outputs[1]}/piece/${part}`;
  const emit: NodeWriter['emit'] = (opType, from, to, attributes = {}) => {
    if (into) into.push({ opType, inputs: from, outputs: to, attributes, name: to[0]! });
    else writer.emit(opType, from, to, attributes);
  };
  const node = (opType: string, from: string[], part: string, attributes?: Record<string, OnnxAttribute>) => {
    emit(opType, from, [name(part)], attributes);
    return name(part);
  };
  const { hidden, ids, weights } = given ?? {
    hidden: name('hidden'),
    ids: name('ids'),
    weights: name('weights'),
  };
  const multiply = (operands: string[], part: string, options: ProductOptions) => {
    product(emit, operands, name(part), options);
    return name(part);
  };
  const columns = { axis: int(1) };
  const scores = multiply([hidden, matrix], 'scores', { transB: 1 });
  const logs = node('LogSoftmax', [scores], 'logs', columns);
  const logProbabilities = node('GatherElements', [logs, ids], 'logProbabilities', columns);
  const state = name('state');
  let [dHidden, dMatrix] = ['', ''];
  if (wanted.hidden || wanted.matrix) {
    const own = node('Sub', [node('Exp', [logProbabilities], 'own'), writer.number(1, 'f32')], 'less');
    const difference = node('ScatterElements', [node('Exp', [logs], 'p'), ids, own], 'difference', columns);
    if (wanted.hidden) {
      const back = multiply([difference, matrix], 'back', { alpha: -1 });
      dHidden = node('Mul', [back, weights], 'dHidden');
    }
    if (wanted.matrix) {
      const weighted = node('Mul', [hidden, weights], 'weighted');
      dMatrix = multiply([difference, weighted, ...(into ? [state] : [])], 'dMatrix', {
        transA: 1,
        alpha: -1,
      });
    }
  }
  return { hidden, ids, weights, state, logProbabilities, dHidden, dMatrix };
}
