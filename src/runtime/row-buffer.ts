import { float32, type HostTensor } from './host-tensor.ts';

/** Below this many numbers a loop copies a row faster than a call does. */
const SHORT_ROW = 16;

/**
 * Memory for rows of a table [V, D] on their way back to it. It is kept from step to step with a view of each row: a view made
 * for each row of each step is a megabyte of garbage a step, and the heap grows by it.
 */
export class RowBuffer {
  private readonly width: number;
  private memory = new Float32Array(0);
  private rows: Float32Array[] = [];

  constructor(width: number) {
    this.width = width;
  }

  /** f32[count, D] to be written to. */
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
    // The low word of each i64, little-endian: no BigInt for each row.
    const low = new Int32Array(numbers.data.buffer, numbers.data.byteOffset, 2 * numbers.data.length);
    for (let i = 0; i < numbers.data.length; i++) {
      const to = low[2 * i]! * width;
      if (width > SHORT_ROW) target.set(rows[i]!, to);
      else for (let j = 0; j < width; j++) target[to + j] = memory[i * width + j]!;
    }
  }
}
