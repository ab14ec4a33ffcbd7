import type { HostTensor } from './host-tensor.ts';

/** Distinct rows of two row lists, and the positions of each list's rows in them. All i64. */
export interface RowUnion {
  /** Distinct rows, i64[rows]. */
  readonly rows: HostTensor;
  /** Position in `rows` of each row of the first list. */
  readonly placesA: HostTensor;
  /** Position in `rows` of each row of the second list. */
  readonly placesB: HostTensor;
}

/** Computes the union of two row lists (i64), in order of first occurrence. */
export function unionOfRows(a: HostTensor, b: HostTensor): RowUnion {
  const places = new Map<bigint, bigint>();
  const locate = (tensor: HostTensor): HostTensor => {
    const located = (tensor.data as BigInt64Array).map((row) => {
      const known = places.get(row) ?? BigInt(places.size);
      places.set(row, known);
      return known;
    });
    return { dtype: 'i64', dims: tensor.dims, data: located };
  };
  const [placesA, placesB] = [locate(a), locate(b)];
  return {
    rows: { dtype: 'i64', dims: [places.size], data: BigInt64Array.from(places.keys()) },
    placesA,
    placesB,
  };
}
