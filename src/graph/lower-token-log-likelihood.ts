import { type PieceContext, type RowsInput, writeInPieces } from './lower-in-pieces.ts';
import { int } from './onnx-writer.ts';
import type { OpAttributes } from './op-types.ts';

/**
 * Converts `TokenLogLikelihood`. With p = softmax(s), the weighted log-likelihood of a row has the gradient w (onehot − p) with respect
 * to the scores s. The scores of one piece of rows are in memory at a time; its gradient of the matrix is added to that of the pieces
 * before.
 */
export function lowerTokenLogLikelihood(context: PieceContext<OpAttributes['TokenLogLikelihood']>): void {
  const { writer, node, inputs, outputs, attributes, isRead } = context;
  const [hidden, matrix, ids, weights] = inputs as [string, string, string, string];
  const [V, D] = node.inputs[1]!.shape as [number, number];
  const wanted = { hidden: isRead(2), matrix: isRead(3) };
  const vector = (part: string, value: string, dtype: RowsInput['dtype']) =>
    ({ part, value, columns: 1, rank: 1, dtype }) as const;
  writeInPieces(context, {
    rows: [
      { part: 'hidden', value: hidden, columns: D, rank: 2, dtype: 'f32' },
      vector('ids', ids, 'i64'),
      vector('weights', weights, 'f32'),
    ],
    most: () => writer.ints([Math.max(1, Math.floor(attributes.scoresPerPiece / V))]),
    results: [
      { part: 'logProbabilities', columns: 1, rank: 1, output: outputs[1]! },
      ...(wanted.hidden ? [{ part: 'dHidden', columns: D, rank: 2 as const, output: outputs[2]! }] : []),
    ],
    sum: wanted.matrix ? { output: outputs[3]!, columns: D, shape: () => writer.ints([V, D]) } : undefined,
    piece({ node, multiply }, [rows, ids, weights], sum) {
      const columns = { axis: int(1) };
      const scores = multiply([rows!, matrix], 'scores', { transB: 1 });
      const logs = node('LogSoftmax', [scores], 'logs', columns);
      const logProbabilities = node('GatherElements', [logs, ids!], 'logProbabilities', columns);
      if (!wanted.hidden && !wanted.matrix) return { results: [logProbabilities] };
      const own = node('Sub', [node('Exp', [logProbabilities], 'own'), writer.number(1, 'f32')], 'less');
      const p = node('Exp', [logs], 'p');
      const difference = node('ScatterElements', [p, ids!, own], 'difference', columns);
      const results = [logProbabilities];
      if (wanted.hidden) {
        const back = multiply([difference, matrix], 'back', { alpha: -1 });
        results.push(node('Mul', [back, weights!], 'dHidden'));
      }
      if (!wanted.matrix) return { results };
      const weighted = node('Mul', [rows!, weights!], 'weighted');
      const operands = [difference, weighted, ...(sum === undefined ? [] : [sum])];
      return { results, sum: multiply(operands, 'dMatrix', { transA: 1, alpha: -1 }) };
    },
  });
  writer.emit('Mul', [weights, outputs[1]!], [`${outputs[0]}/weighted`]);
  writer.emit('ReduceSum', [`${outputs[0]}/weighted`, writer.ints([0])], [outputs[0]!], { keepdims: int(0) });
}
