import { describe, expect, it } from 'vitest';
import { rngKey, uniform } from '../util/rng.ts';
import { VectorMatrix } from './vector-matrix.ts';
import type { VectorPart, VectorSource } from './vector-source.ts';

const D = 3;

/** Table in memory: version and vector of each passage, in the order of writing. */
class FakeTable {
  rows = new Map<number, { version: number; vector: number[] }>();
  private version = 0;
  readonly id: string;
  /** Vectors that were read. */
  read = 0;

  constructor(id: string) {
    this.id = id;
  }

  put(pid: number, value: number): void {
    this.version += 1;
    this.rows.delete(pid);
    this.rows.set(pid, { version: this.version, vector: [value, -value, pid] });
  }

  part(isMoved = false): VectorPart {
    const rows = new Map(this.rows);
    const vectorsOf = (pids: readonly number[]) => {
      this.read += pids.length;
      return {
        pids: Int32Array.from(pids),
        vectors: Float32Array.from(pids.flatMap((pid) => rows.get(pid)!.vector)),
      };
    };
    return {
      id: this.id,
      isMoved,
      async *rows() {
        const all = [...rows];
        for (let i = 0; i < all.length; i += 7) {
          const batch = all.slice(i, i + 7);
          yield {
            pids: Int32Array.from(batch, ([pid]) => pid),
            versions: Int32Array.from(batch, ([, { version }]) => version),
          };
        }
      },
      async *read(pids) {
        // In the order of the table, as LanceDB answers.
        const wanted = new Set(pids);
        if (pids.length > 0) yield vectorsOf([...rows.keys()].filter((pid) => wanted.has(pid)));
      },
      async *stream(isWanted = () => true) {
        yield vectorsOf([...rows.keys()].filter((pid) => isWanted(pid)));
      },
    };
  }
}

function sourceOf(parts: readonly VectorPart[], nextPassage: number): VectorSource {
  return {
    embeddingSpace: 's',
    dimension: D,
    nextPassage,
    parts,
    size: nextPassage,
    async *stream(isWanted = () => true) {
      const seen = new Set<number>();
      for (const part of parts) {
        for await (const rows of part.stream((pid) => !seen.has(pid) && isWanted(pid, part.isMoved))) {
          yield rows;
          for (const pid of rows.pids) seen.add(pid);
        }
      }
    },
    dispose: async () => {},
  };
}

const contentOf = (matrix: VectorMatrix) => ({ pids: [...matrix.pids], vectors: [...matrix.vectors] });

describe('a matrix of vectors', () => {
  it('equals a fresh one after any sequence of changes', async () => {
    const numbers = new Float32Array(8000);
    uniform(rngKey(5, 0, 'matrix'), numbers);
    let drawn = 0;
    const random = (below: number) => Math.floor(numbers[drawn++]! * below);
    const [own, former] = [new FakeTable('own'), new FakeTable('former')];
    let nextPassage = 60;
    // Both have passages that the other lacks; those of both are taken from the first.
    for (let pid = 0; pid < 60; pid++) {
      if (pid % 3 !== 0) former.put(pid, pid);
      if (pid % 2 === 0) own.put(pid, 100 + pid);
    }
    const source = () => sourceOf([own.part(), former.part(true)], nextPassage);
    const matrix = await VectorMatrix.load(source());
    let applied = 0;
    for (let round = 0; round < 400; round++) {
      for (let i = random(4); i >= 0; i--) {
        const kind = random(6);
        const pid = random(nextPassage);
        if (kind === 0) own.rows.delete(pid);
        else if (kind === 1) former.rows.delete(pid);
        else if (kind === 2) own.put(nextPassage++, random(1000));
        else if (kind === 3) former.put(pid, random(1000));
        else if (kind === 4) own.put(pid, random(1000));
        else {
          own.rows.delete(pid);
          former.rows.delete(pid);
        }
      }
      const before = own.read + former.read;
      const change = await matrix.changes(source());
      if (!change) continue;
      expect(change.put.length).toBe(own.read + former.read - before);
      matrix.apply(change);
      applied += 1;
      const fresh = await VectorMatrix.load(source());
      expect(contentOf(matrix)).toEqual(contentOf(fresh));
      const isMoved = (row: number) => !own.rows.has(matrix.pids[row]!);
      expect([...matrix.select((_, moved) => moved)]).toEqual(
        [...matrix.pids.keys()].filter((row) => isMoved(row)),
      );
    }
    expect(applied).toBeGreaterThan(380);
  });

  it('reads nothing again of rows that a commit has not changed', async () => {
    const table = new FakeTable('own');
    for (let pid = 0; pid < 100; pid++) table.put(pid, pid);
    const matrix = await VectorMatrix.load(sourceOf([table.part()], 100));
    table.read = 0;
    table.put(7, 1000);
    table.put(100, 1001);
    table.rows.delete(50);
    const change = await matrix.changes(sourceOf([table.part()], 101));
    expect(table.read).toBe(2);
    const before = contentOf(matrix);
    expect(before.pids.length).toBe(100);
    matrix.apply(change!);
    expect([matrix.size, matrix.vectors[7 * D], matrix.vectors[98 * D], matrix.vectors[99 * D]]).toEqual([
      100, 1000, 99, 1001,
    ]);
  });

  it('is to be loaded anew where a quarter has changed, or the corrector', async () => {
    const table = new FakeTable('own');
    for (let pid = 0; pid < 40; pid++) table.put(pid, pid);
    const matrix = await VectorMatrix.load(sourceOf([table.part()], 40));
    const other = new FakeTable('own by another corrector');
    other.rows = table.rows;
    expect(await matrix.changes(sourceOf([other.part()], 40))).toBeUndefined();
    for (let pid = 0; pid < 11; pid++) table.put(pid, 100);
    expect(await matrix.changes(sourceOf([table.part()], 40))).toBeUndefined();
  });

  it('takes other memory when rows outgrow it, and leaves the former to those who search in it', async () => {
    const table = new FakeTable('own');
    for (let pid = 0; pid < 6000; pid++) table.put(pid, pid);
    const matrix = await VectorMatrix.load(sourceOf([table.part()], 6000));
    const former = matrix.vectors;
    for (let pid = 6000; pid < 7500; pid++) table.put(pid, pid);
    table.put(5, 1);
    matrix.apply((await matrix.changes(sourceOf([table.part()], 7500)))!);
    expect(former[5 * D]).toBe(5);
    expect(contentOf(matrix)).toEqual(contentOf(await VectorMatrix.load(sourceOf([table.part()], 7500))));
  });

  it('refuses vectors that are not finite', async () => {
    const table = new FakeTable('own');
    for (let pid = 0; pid < 40; pid++) table.put(pid, pid);
    const matrix = await VectorMatrix.load(sourceOf([table.part()], 40));
    table.put(3, Number.NaN);
    await expect(matrix.changes(sourceOf([table.part()], 40))).rejects.toThrow(/NaN/);
    await expect(VectorMatrix.load(sourceOf([table.part()], 40))).rejects.toThrow(/NaN/);
  });
});
