import type { PairMoments } from './moments.ts';

/**
 * What a closed form gives, for  h(b) = m(b)/‖m(b)‖:
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

/** One way to fit a linear map to pairs. */
export interface ClosedForm {
  /** Sizes of the parts that a fit gives. */
  readonly parts: Readonly<Record<string, readonly number[]>>;
  fit(moments: PairMoments): LinearMap | Promise<LinearMap>;
  dispose(): Promise<void>;
}
