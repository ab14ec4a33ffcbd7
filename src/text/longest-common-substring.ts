/**
 * Length of the longest run of elements that two sequences have in common:
 *
 *     c[i][j] = c[i−1][j−1] + 1 where a_i = b_j, else 0;     the result is max c
 *
 * It takes |a| · |b| steps and memory for one row.
 */
export function longestCommonSubstring<T>(a: ArrayLike<T>, b: ArrayLike<T>): number {
  const runs = new Uint32Array(b.length + 1);
  let longest = 0;
  for (let i = 0; i < a.length; i++) {
    // From the end, because an entry needs its left neighbour of the row before.
    for (let j = b.length; j >= 1; j--) {
      const run = a[i] === b[j - 1] ? runs[j - 1]! + 1 : 0;
      runs[j] = run;
      if (run > longest) longest = run;
    }
  }
  return longest;
}
