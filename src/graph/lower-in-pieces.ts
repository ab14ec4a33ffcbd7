import type { OnnxAttribute, OnnxNode, OnnxValue } from '../onnx/model.ts';
import { int, type OnnxWriter } from './onnx-writer.ts';
import type { GraphNode } from './tensor.ts';

/** Attributes of a product, all of which are 0 or 1 by default but `alpha`. */
export type ProductOptions = Readonly<Partial<Record<'transA' | 'transB' | 'alpha', number>>>;

/** Surroundings of a conversion in pieces. */
export interface PieceContext<Attributes> {
  readonly writer: OnnxWriter;
  readonly node: GraphNode;
  readonly inputs: string[];
  readonly outputs: string[];
  readonly attributes: Attributes;
  /** Whether something reads an output of the node. */
  readonly isRead: (output: number) => boolean;
  /** Whether rows are cut into pieces by a `Scan`. Otherwise all rows are one piece. */
  readonly scan: boolean;
  /** Writes a matrix product of two values, or of two with a summand. */
  readonly product: (
    emit: OnnxWriter['emit'],
    operands: string[],
    output: string,
    options: ProductOptions,
  ) => void;
}

/** Writer of the nodes of one piece. */
export interface PieceWriter {
  /** Writes a node with one result, and returns the name of the result. */
  node(opType: string, from: string[], part: string, attributes?: Record<string, OnnxAttribute>): string;
  /** Writes a product, and returns its name. */
  multiply(operands: string[], part: string, options: ProductOptions): string;
}

/** Input of which a piece gets some rows. */
export interface RowsInput {
  readonly part: string;
  readonly value: string;
  /** Columns: values of rank 1 are columns of width 1 in a piece. */
  readonly columns: number;
  readonly rank: 1 | 2;
  readonly dtype: 'f32' | 'i64';
}

/** Result with a row for each row of the inputs. */
export interface RowsResult {
  readonly part: string;
  readonly columns: number;
  readonly rank: 1 | 2;
  /** Name of the output of the node. */
  readonly output: string;
}

/** Operation on rows that can be computed in pieces of rows. */
export interface InPieces {
  /** Inputs that are cut; the first has rank 2. */
  readonly rows: readonly RowsInput[];
  /** Name of the largest number of rows of a piece, i64[1]. Asked for only where rows are cut. */
  most(): string;
  readonly results: readonly RowsResult[];
  /** Matrix [?, D] to which each piece adds. */
  readonly sum?: { readonly output: string; readonly columns: number; shape(): string } | undefined;
  /**
   * Writes the nodes of a piece.
   *
   * @param rows  names of the rows of the inputs, each of rank 2
   * @param sum  name of the sum of the pieces before; undefined where all rows are one piece
   * @returns names of the results and, if there is one, of the new sum
   */
  piece(
    writer: PieceWriter,
    rows: readonly string[],
    sum: string | undefined,
  ): { readonly results: readonly string[]; readonly sum?: string | undefined };
}

/**
 * Writes an operation on rows that never holds what belongs to all rows at once.
 *
 * With `scan`, the rows are padded with zeros to pieces of equal size, and one `Scan` visits the pieces. Its state is the sum. Without,
 * the nodes of a single piece are written, for providers that lack `Scan`.
 */
export function writeInPieces(
  { writer, outputs, scan, product }: PieceContext<unknown>,
  spec: InPieces,
): void {
  const name = (part: string) => `${outputs[1]}/${part}`;
  const nodes: OnnxNode[] = [];
  const emitPiece: OnnxWriter['emit'] = (opType, from, to, attributes = {}) => {
    if (scan) nodes.push({ opType, inputs: from, outputs: to, attributes, name: to[0]! });
    else writer.emit(opType, from, to, attributes);
  };
  const pieceName = (part: string) => name(`piece/${part}`);
  const piece: PieceWriter = {
    node(opType, from, part, attributes) {
      emitPiece(opType, from, [pieceName(part)], attributes);
      return pieceName(part);
    },
    multiply(operands, part, options) {
      product(emitPiece, operands, pieceName(part), options);
      return pieceName(part);
    },
  };
  if (scan) {
    const made = spec.piece(
      piece,
      spec.rows.map(({ part }) => pieceName(part)),
      pieceName('sum'),
    );
    writeScan(writer, spec, { name, pieceName, nodes, made });
    return;
  }
  const columns = spec.rows.map(({ part, value, rank }) => {
    if (rank === 2) return value;
    writer.emit('Unsqueeze', [value, writer.ints([1])], [name(`${part}/column`)]);
    return name(`${part}/column`);
  });
  const made = spec.piece(piece, columns, undefined);
  for (const [i, { rank, output }] of spec.results.entries()) {
    if (rank === 1) writer.emit('Squeeze', [made.results[i]!, writer.ints([1])], [output]);
    else writer.emit('Identity', [made.results[i]!], [output]);
  }
  if (spec.sum) writer.emit('Identity', [made.sum!], [spec.sum.output]);
}

function writeScan(
  writer: OnnxWriter,
  { rows: inputs, most, results, sum }: InPieces,
  {
    name,
    pieceName,
    nodes,
    made,
  }: {
    name: (part: string) => string;
    pieceName: (part: string) => string;
    nodes: OnnxNode[];
    made: ReturnType<InPieces['piece']>;
  },
): void {
  const emit = (opType: string, from: string[], part: string, options?: Record<string, OnnxAttribute>) => {
    writer.emit(opType, from, [name(part)], options);
    return name(part);
  };
  const one = writer.ints([1]);
  const zero = writer.ints([0]);

  // pieces = max(1, ⌈R / most⌉), size = max(1, ⌈R / pieces⌉)
  const rows = emit('Shape', [inputs[0]!.value], 'rows', { start: int(0), end: int(1) });
  const ceiling = (a: string, b: string, part: string) => {
    const raised = emit('Add', [a, emit('Sub', [b, one], `${part}/less`)], `${part}/raised`);
    return emit('Max', [one, emit('Div', [raised, b], `${part}/ceiling`)], part);
  };
  const pieces = ceiling(rows, most(), 'pieces');
  const size = ceiling(rows, pieces, 'size');
  const padding = emit('Sub', [emit('Mul', [pieces, size], 'padded'), rows], 'padding');
  const pads = {
    1: emit('Concat', [zero, padding], 'pads', { axis: int(0) }),
    2: emit('Concat', [zero, zero, padding, zero], 'matrixPads', { axis: int(0) }),
  };
  const scanned = inputs.map(({ part, value, columns, rank }) => {
    const padded = emit('Pad', [value, pads[rank], '', ''], `${part}/padded`);
    const shape = emit('Concat', [pieces, size, writer.ints([columns])], `${part}/shape`, { axis: int(0) });
    return emit('Reshape', [padded, shape], `${part}/pieces`);
  });
  const value = (each: string, dtype: OnnxValue['dtype'], shape: OnnxValue['shape']) => ({
    name: each,
    dtype,
    shape,
  });
  const zeros = sum
    ? [
        emit('ConstantOfShape', [sum.shape()], 'zeros', {
          value: {
            kind: 'tensor',
            value: { name: '', dtype: 'f32', dims: [1], data: new Float32Array(1) },
          },
        }),
      ]
    : [];
  const scannedResults = results.map(({ part }) => name(`scanned/${part}`));
  writer.emit('Scan', [...zeros, ...scanned], [...(sum ? [sum.output] : []), ...scannedResults], {
    num_scan_inputs: int(inputs.length),
    body: {
      kind: 'graph',
      value: {
        name: 'piece',
        nodes,
        inputs: [
          ...(sum ? [value(pieceName('sum'), 'f32', ['', sum.columns])] : []),
          ...inputs.map(({ part, dtype, columns }) => value(pieceName(part), dtype, ['', columns])),
        ],
        outputs: [
          ...(sum ? [value(made.sum!, 'f32', ['', sum.columns])] : []),
          ...results.map(({ columns }, i) => value(made.results[i]!, 'f32', ['', columns])),
        ],
        initializers: [],
      },
    },
  });
  for (const [i, { part, columns, rank, output }] of results.entries()) {
    const shape = writer.ints(rank === 1 ? [-1] : [-1, columns]);
    const flat = emit('Reshape', [scannedResults[i]!, shape], `${part}/flat`);
    writer.emit('Slice', [flat, zero, rows, zero], [output]);
  }
}
