import { ShapeError } from '../util/errors.ts';

/**
 * Dimension of a symbolic tensor: a known size, or a polynomial in named sizes such as `batch`,
 * `batch*tokens` or `512-tokens`.
 *
 * Named sizes let one compiled program serve every batch size and length. Two dimensions are equal exactly
 * when their canonical forms are equal.
 */
export type Dim = number | string;

/** Map from monomial (sorted symbol names joined by `*`, '' for the constant) to its integer coefficient. */
type Polynomial = Map<string, number>;

const SYMBOL = /^[A-Za-z_][A-Za-z0-9_.]*$/;

function parse(dim: Dim): Polynomial {
  if (typeof dim === 'number') {
    if (!Number.isSafeInteger(dim)) throw new ShapeError(`a dimension must be an integer, got ${dim}`);
    return new Map(dim === 0 ? [] : [['', dim]]);
  }
  const polynomial: Polynomial = new Map();
  for (const term of dim.replaceAll('-', '+-').split('+')) {
    if (term === '') continue;
    let coefficient = term.startsWith('-') ? -1 : 1;
    const symbols: string[] = [];
    for (const factor of term.replace(/^-/, '').split('*')) {
      if (/^\d+$/.test(factor)) coefficient *= Number(factor);
      else if (SYMBOL.test(factor)) symbols.push(factor);
      else throw new ShapeError(`"${dim}" is no dimension: "${factor}" is neither a number nor a name`);
    }
    accumulate(polynomial, symbols.sort().join('*'), coefficient);
  }
  return polynomial;
}

function accumulate(polynomial: Polynomial, monomial: string, coefficient: number): void {
  const sum = (polynomial.get(monomial) ?? 0) + coefficient;
  if (sum === 0) polynomial.delete(monomial);
  else polynomial.set(monomial, sum);
}

function format(polynomial: Polynomial): Dim {
  if (polynomial.size === 0) return 0;
  if (polynomial.size === 1 && polynomial.has('')) return polynomial.get('')!;
  const terms = [...polynomial].sort(([a], [b]) => (a === '' ? 1 : b === '' ? -1 : a < b ? -1 : 1));
  return terms
    .map(([monomial, coefficient], index) => {
      const size = Math.abs(coefficient);
      const body = monomial === '' ? `${size}` : size === 1 ? monomial : `${size}*${monomial}`;
      return (coefficient < 0 ? '-' : index === 0 ? '' : '+') + body;
    })
    .join('');
}

/**
 * Returns the canonical form of a dimension.
 *
 * @throws ShapeError if `dim` is neither an integer nor a polynomial of names.
 */
export const canonicalDim = (dim: Dim): Dim => (typeof dim === 'number' ? dim : format(parse(dim)));

/** Returns whether two dimensions are equal for all values of their names. */
export const sameDim = (a: Dim, b: Dim): boolean => a === b || canonicalDim(a) === canonicalDim(b);

/** Returns whether two shapes have the same rank and equal dimensions. */
export const sameShape = (a: readonly Dim[], b: readonly Dim[]): boolean =>
  a.length === b.length && a.every((dim, axis) => sameDim(dim, b[axis]!));

/** Sum of dimensions; 0 for none. */
export function addDims(...dims: Dim[]): Dim {
  const sum: Polynomial = new Map();
  for (const dim of dims) for (const [monomial, c] of parse(dim)) accumulate(sum, monomial, c);
  return format(sum);
}

/** Difference a − b of two dimensions. */
export const subtractDims = (a: Dim, b: Dim): Dim => addDims(a, multiplyDims(-1, b));

/** Product of dimensions; 1 for none, so that `multiplyDims(...shape)` is the number of elements. */
export function multiplyDims(...dims: Dim[]): Dim {
  let product: Polynomial = new Map([['', 1]]);
  for (const dim of dims) {
    const next: Polynomial = new Map();
    for (const [ma, ca] of product) {
      for (const [mb, cb] of parse(dim)) {
        const symbols = [...ma.split('*'), ...mb.split('*')].filter((s) => s !== '');
        accumulate(next, symbols.sort().join('*'), ca * cb);
      }
    }
    product = next;
  }
  return format(product);
}

/** Size of a dimension for given values of its names; undefined if a name has no value. */
export function evaluateDim(dim: Dim, sizes: ReadonlyMap<string, number>): number | undefined {
  let total = 0;
  for (const [monomial, coefficient] of parse(dim)) {
    let term = coefficient;
    for (const symbol of monomial.split('*')) {
      if (symbol === '') continue;
      const size = sizes.get(symbol);
      if (size === undefined) return undefined;
      term *= size;
    }
    total += term;
  }
  return total;
}

/** Terms of a dimension as (coefficient, symbols) pairs, for computing its size with graph nodes. */
export const dimTerms = (dim: Dim): { coefficient: number; symbols: string[] }[] =>
  [...parse(dim)].map(([monomial, coefficient]) => ({
    coefficient,
    symbols: monomial.split('*').filter((s) => s !== ''),
  }));

/** Formats a shape for messages: `[batch, tokens, 384]`. */
export const formatShape = (shape: readonly Dim[]): string => `[${shape.join(', ')}]`;
