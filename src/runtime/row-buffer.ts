import { float32, type HostTensor, int32Words } from './host-tensor.ts';

/** Width up to which a loop copies a row faster than a call does, in numbers. */
const SHORT_ROW = 16;

/**
 * Reusable memory for updated rows of a table [V, D], before they are copied back to the table.
 *
 * The buffer keeps a view of each row from step to step. Making these views anew would create a megabyte of
 * garbage per step and grow the heap.
 */
export class RowBuffer {
  private readonly width: number;
  private memory = new Float32Array(0);
  private rows: Float32Array[] = [];

  constructor(width: number) {
    this.width = width;
  }

  /** Returns f32[count, D] for a program to write to. Its contents are overwritten by the next use. */
  tensor(count: number): HostTensor {
    const { width } = this;
    if (this.memory.length < count * width) {
      this.memory = new Float32Array(count * width);
      this.rows = [];
    }
    for (let i = this.rows.length; width > SHORT_ROW && i < count; i++) {
      this.rows.push(this.memory.subarray(i * width, (i + 1) * width));
    }
    return { dtype: 'f32', dims: [count, width], data: this.memory.subarray(0, count * width) };
  }

  /** Copies row i of the buffer to row `numbers[i]` of the table, for each of the numbers (i64). */
  copyTo(table: HostTensor, numbers: HostTensor): void {
    const { width, memory, rows } = this;
    const target = float32(table);
    const words = int32Words(numbers.data as BigInt64Array);
    for (let i = 0; i < numbers.data.length; i++) {
      const to = words[2 * i]! * width;
      if (width > SHORT_ROW) target.set(rows[i]!, to);
      else for (let j = 0; j < width; j++) target[to + j] = memory[i * width + j]!;
    }
  }
}
