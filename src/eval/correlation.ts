/**
 * Computes Pearson's correlation of two lists of the same length:
 *
 *     Σ (x − x̄)(y − ȳ) / √(Σ (x − x̄)² Σ (y − ȳ)²)
 *
 * @returns  from −1 to 1; 0 if all values of one list are equal
 */
export function pearson(x: ArrayLike<number>, y: ArrayLike<number>): number {
  const n = x.length;
  const mean = (of: ArrayLike<number>) => Array.from(of).reduce((sum, v) => sum + v, 0) / n;
  const [meanX, meanY] = [mean(x), mean(y)];
  let [products, squaresX, squaresY] = [0, 0, 0];
  for (let i = 0; i < n; i++) {
    const [a, b] = [x[i]! - meanX, y[i]! - meanY];
    products += a * b;
    squaresX += a * a;
    squaresY += b * b;
  }
  const size = Math.sqrt(squaresX) * Math.sqrt(squaresY);
  return size === 0 ? 0 : products / size;
}

/**
 * Computes Spearman's correlation: Pearson's correlation of the ranks, where equal values share their mean
 * rank.
 */
export const spearman = (x: ArrayLike<number>, y: ArrayLike<number>): number => pearson(ranks(x), ranks(y));

function ranks(values: ArrayLike<number>): Float64Array {
  const order = Uint32Array.from({ length: values.length }, (_, i) => i).sort(
    (a, b) => values[a]! - values[b]!,
  );
  const ranks = new Float64Array(values.length);
  for (let from = 0; from < order.length; ) {
    let to = from + 1;
    while (to < order.length && values[order[to]!] === values[order[from]!]) to++;
    for (let i = from; i < to; i++) ranks[order[i]!] = (from + to - 1) / 2;
    from = to;
  }
  return ranks;
}
