import { type PieceContext, writeInPieces } from './lower-in-pieces.ts';
import { int } from './onnx-writer.ts';
import type { OpAttributes } from './op-types.ts';
import { EMPTY_SUM } from './ops/memory-log-sums.ts';

/** Columns of marks: label, group and place in the group. */
const MARKS = ['label', 'group', 'place'] as const;

/**
 * Converts `MemoryLogSums`. The scores of one piece of queries are in memory at a time. With p and p' the softmax of a row over the allowed
 * and over the matching tokens, the gradient with respect to its scores is w p + w' p'. The gradient of the keys is added up over the
 * pieces.
 */
export function lowerMemoryLogSums(context: PieceContext<OpAttributes['MemoryLogSums']>): void {
  const { writer, node: own, inputs, outputs, attributes, isRead } = context;
  const { scale, others, scoresPerPiece } = attributes;
  const [queries, keys, queryMarks, keyMarks, weights] = inputs as [string, string, string, string, string];
  const D = own.inputs[0]!.shape[1] as number;
  const wanted = { queries: isRead(2), keys: isRead(3) };
  const name = (part: string) => `${outputs[1]}/${part}`;
  const ints = (...values: number[]) => writer.ints(values);

  // Marks of the memory as rows, to compare with the columns of the queries.
  writer.emit('Transpose', [keyMarks], [name('keyMarks')], { perm: { kind: 'ints', value: [1, 0] } });
  const memory = MARKS.map((mark, i) => {
    writer.emit('Slice', [name('keyMarks'), ints(i), ints(i + 1), ints(0)], [name(`key/${mark}`)]);
    return name(`key/${mark}`);
  });
  const [keyLabels, keyGroups, keyPlaces] = memory as [string, string, string];
  if (others) {
    writer.emit('GreaterOrEqual', [keyGroups, ints(0)], [name('key/known')]);
  }
  const empty = writer.number(EMPTY_SUM, 'f32');
  const most = () => {
    writer.emit('Shape', [keys], [name('size/keys')], { start: int(0), end: int(1) });
    writer.emit('Max', [name('size/keys'), ints(1)], [name('size/divisor')]);
    writer.emit('Div', [ints(scoresPerPiece), name('size/divisor')], [name('size/quotient')]);
    writer.emit('Max', [name('size/quotient'), ints(1)], [name('size/most')]);
    return name('size/most');
  };
  const keyShape = () => {
    writer.emit('Shape', [keys], [name('keys/shape')]);
    return name('keys/shape');
  };
  writeInPieces(context, {
    rows: [
      { part: 'queries', value: queries, columns: D, rank: 2, dtype: 'f32' },
      { part: 'marks', value: queryMarks, columns: MARKS.length, rank: 2, dtype: 'i64' },
      { part: 'weights', value: weights, columns: 2, rank: 2, dtype: 'f32' },
    ],
    most,
    results: [
      { part: 'all', columns: 1, rank: 1, output: outputs[0]! },
      { part: 'matching', columns: 1, rank: 1, output: outputs[1]! },
      ...(wanted.queries ? [{ part: 'dQueries', columns: D, rank: 2 as const, output: outputs[2]! }] : []),
    ],
    sum: wanted.keys ? { output: outputs[3]!, columns: D, shape: keyShape } : undefined,
    piece({ node, multiply }, [rows, marks, weights], sum) {
      const column = (of: string, i: number, part: string) =>
        node('Slice', [of, ints(i), ints(i + 1), ints(1)], part);
      const [label, group, place] = MARKS.map((mark, i) => column(marks!, i, mark)) as [
        string,
        string,
        string,
      ];
      const same = node('Equal', [group, keyGroups], 'same');
      const before = node('And', [same, node('Less', [keyPlaces, place], 'earlier')], 'before');
      const other = () => node('And', [node('Not', [same], 'different'), name('key/known')], 'other');
      const allowed = others ? node('Or', [before, other()], 'allowed') : before;
      const match = node('And', [allowed, node('Equal', [label, keyLabels], 'equal')], 'match');
      const scores = multiply([rows!, keys], 'scores', { transB: 1, alpha: scale });

      /** Log of the sum over a mask, and the share of each token in it, times a weight. */
      const sums = (mask: string, weight: string, part: string) => {
        const masked = node('Where', [mask, scores, empty], `${part}/masked`);
        const best = node('ReduceMax', [masked, ints(1)], `${part}/best`, { keepdims: int(1) });
        const exp = node('Exp', [node('Sub', [masked, best], `${part}/less`)], `${part}/exp`);
        const total = node('ReduceSum', [exp, ints(1)], `${part}/total`, { keepdims: int(1) });
        const logSum = node('Add', [best, node('Log', [total], `${part}/log`)], part);
        const shares = () => {
          // A row that is allowed nothing has equal shares of nothing.
          const bound = writer.number(EMPTY_SUM / 2, 'f32');
          const isFull = node('Greater', [best, bound], `${part}/full`);
          const counted = node('Where', [isFull, weight, writer.number(0, 'f32')], `${part}/counted`);
          const factor = node('Div', [counted, total], `${part}/factor`);
          return node('Mul', [exp, factor], `${part}/shares`);
        };
        return { logSum, shares };
      };
      const all = sums(allowed, column(weights!, 0, 'weight'), 'all');
      const matching = sums(match, column(weights!, 1, 'matchWeight'), 'matching');
      const results = [all.logSum, matching.logSum];
      if (!wanted.queries && !wanted.keys) return { results };
      const dScores = node('Add', [all.shares(), matching.shares()], 'dScores');
      if (wanted.queries) results.push(multiply([dScores, keys], 'dQueries', { alpha: scale }));
      if (!wanted.keys) return { results };
      const operands = [dScores, rows!, ...(sum === undefined ? [] : [sum])];
      return { results, sum: multiply(operands, 'dKeys', { transA: 1, alpha: scale }) };
    },
  });
}
