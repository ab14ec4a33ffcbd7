/**
 * Score of a candidate that takes no part: masked, or absent. Its exponential is 0. It is not −∞, because a difference of infinities is
 * NaN.
 */
export const MASKED_SCORE = -1e30;
