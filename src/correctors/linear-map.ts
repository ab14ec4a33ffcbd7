import type { PairMoments } from './moments.ts';

/**
 * Parts of a fitted linear map m, for  h(b) = m(b)/‖m(b)‖:
 *
 *     m(b) = b + c                shift
 *     m(b) = W b + c              weight
 *     m(b) = b + U V b + c        up, down
 */
export interface LinearMap {
  /** c, f32[D'] */
  readonly shift?: Float32Array<ArrayBuffer>;
  /** W, f32[D', D] */
  readonly weight?: Float32Array<ArrayBuffer>;
  /** U, f32[D', r] */
  readonly up?: Float32Array<ArrayBuffer>;
  /** V, f32[r, D] */
  readonly down?: Float32Array<ArrayBuffer>;
}

/** Closed form: a way to fit a linear map to pairs at once. */
export interface ClosedForm {
  /** Shapes of the parts that `fit` returns, by name. */
  readonly parts: Readonly<Record<string, readonly number[]>>;
  /** Fits the map to the moments of pairs. */
  fit(moments: PairMoments): LinearMap | Promise<LinearMap>;
  /** Frees compiled programs. */
  dispose(): Promise<void>;
}
