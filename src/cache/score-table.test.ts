import { describe, expect, it } from 'vitest';
import { randomInts, rngKey, uniform } from '../util/rng.ts';
import { NONE } from '../util/vector-rows.ts';
import { ScoreTable, type ScoreTableOptions } from './score-table.ts';

/** A table of one-dimensional embeddings. */
const make = (options: Partial<ScoreTableOptions> = {}) =>
  new ScoreTable({ rows: 4, dimension: 1, documents: 100, ...options });

/** All slots filled before the first step: document s, embedding s, in slot s. */
function filled(options: Partial<ScoreTableOptions> = {}): ScoreTable {
  const table = make(options);
  const documents = Int32Array.from({ length: table.rows }, (_, slot) => slot);
  table.fill(documents, Float32Array.from(documents));
  return table;
}

const f32 = (...values: number[]) => Float32Array.from(values);
const embeddings = (table: ScoreTable) => [
  ...table.read(Int32Array.from({ length: table.rows }, (_, s) => s)),
];

describe('ScoreTable agrees with the reference implementation', () => {
  // google-research/negative_cache: negative_cache_test.py and handlers_test.py. There the cache starts filled with zeros.
  it('inserts into the lowest slots first, then into the oldest', () => {
    const table = make();
    table.insert([10, 11], f32(1, 2));
    table.tick();
    expect([...table.ages]).toEqual([0, 0, 1, 1]);
    expect([...table.documents]).toEqual([10, 11, NONE, NONE]);
    table.insert([12, 13], f32(3, 4));
    table.tick();
    expect([...table.ages]).toEqual([1, 1, 0, 0]);
    expect(embeddings(table)).toEqual([1, 2, 3, 4]);
    table.insert([14, 15], f32(5, 6));
    table.tick();
    expect([...table.documents]).toEqual([14, 15, 12, 13]);
    expect(embeddings(table)).toEqual([5, 6, 3, 4]);
  });

  it('wraps around when the batch does not divide the cache', () => {
    const table = make({ rows: 3 });
    table.insert([1, 2], f32(1, 2));
    table.tick();
    table.insert([3, 4], f32(3, 4));
    table.tick();
    // Reference: slots [2nd, 1st, 2nd]: the third and the fourth went to slots 2 and 0.
    expect([...table.documents]).toEqual([4, 2, 3]);
    expect([...table.ages]).toEqual([0, 1, 0]);
  });

  it('refreshed slots are young again (lru)', () => {
    const table = filled();
    table.refresh([1, 3], f32(-1, -3));
    table.tick();
    expect([...table.ages]).toEqual([1, 0, 1, 0]);
    expect(embeddings(table)).toEqual([0, -1, 2, -3]);
  });

  it('masked refreshes are left out', () => {
    const table = filled();
    table.refresh([1, 3], f32(-1, -3), { mask: [true, false] });
    table.tick();
    expect([...table.ages]).toEqual([1, 0, 1, 1]);
    expect(embeddings(table)).toEqual([0, -1, 2, 3]);
  });

  it('masked insertions are left out', () => {
    const table = filled();
    for (let step = 0; step < 2; step++) table.tick();
    table.insert([10, 11], f32(10, 11), { mask: [false, false] });
    table.tick();
    expect([...table.ages]).toEqual([3, 3, 3, 3]);
    expect(embeddings(table)).toEqual([0, 1, 2, 3]);
    table.insert([10, 11, 12], f32(10, 11, 12), { mask: [false, true, true] });
    table.tick();
    expect([...table.documents]).toEqual([11, 12, 2, 3]);
    expect([...table.ages]).toEqual([0, 0, 4, 4]);
  });

  it('refreshing does not make a slot young (fifo)', () => {
    const table = filled({ eviction: 'fifo' });
    table.insert([1], f32(1));
    table.tick();
    expect([...table.ages]).toEqual([1, 0, 1, 1]);
    table.refresh([1, 3], f32(-1, -3));
    table.tick();
    expect([...table.ages]).toEqual([2, 1, 2, 2]);
    expect(embeddings(table)).toEqual([0, -1, 2, -3]);
    expect([...table.versions], 'versions tell when the embedding was made all the same').toEqual([
      0, 2, 0, 2,
    ]);
  });

  it('a slot refreshed in this step is not evicted in it', () => {
    const table = filled({ rows: 3 });
    table.refresh([1, 2], f32(1, 2));
    table.tick();
    table.refresh([2], f32(2));
    table.tick();
    expect([...table.ages]).toEqual([2, 1, 0]);
    table.refresh([0], f32(9));
    table.insert([50], f32(50));
    table.tick();
    expect([...table.documents]).toEqual([0, 50, 2]);
    expect([...table.ages]).toEqual([0, 0, 1]);
  });

  it('refresh, then insert: one step of a method', () => {
    const table = filled();
    table.refresh([0], f32(-5));
    table.insert([20], f32(20));
    table.tick();
    expect([...table.documents]).toEqual([0, 20, 2, 3]);
    expect([...table.ages]).toEqual([0, 0, 1, 1]);
  });
});

describe('ScoreTable holds a document once', () => {
  it('a document that is present is refreshed in place and becomes young again, also with fifo', () => {
    for (const eviction of ['lru', 'fifo'] as const) {
      const table = filled({ eviction });
      table.tick();
      table.insert([2, 30], f32(-2, 30));
      table.tick();
      expect([...table.documents]).toEqual([30, 1, 2, 3]);
      expect(embeddings(table)).toEqual([30, 1, -2, 3]);
      expect([...table.ages]).toEqual([0, 2, 0, 2]);
      expect(table.slotOf(0)).toBe(NONE);
      expect(table.slotOf(2)).toBe(2);
    }
  });

  it('two write-backs of one slot, two insertions of one document: the last one counts', () => {
    const table = filled();
    table.refresh([1, 1], f32(5, 6));
    expect(embeddings(table)[1]).toBe(6);
    table.insert([40, 41, 40], f32(1, 2, 3));
    expect(table.slotOf(40)).not.toBe(NONE);
    expect(table.read([table.slotOf(40)])[0]).toBe(3);
    expect([...table.documents].filter((document) => document === 40)).toHaveLength(1);
  });

  it('empty slots come before any other', () => {
    const table = make();
    table.fill([7, 8], f32(7, 8), { version: 0 });
    expect(table.filled).toBe(2);
    table.insert([9], f32(9));
    expect([...table.documents]).toEqual([7, 8, 9, NONE]);
    table.fill([1], f32(1));
    expect(table.filled).toBe(1);
    expect([...table.documents]).toEqual([1, NONE, NONE, NONE]);
    expect([7, 8, 9].map((document) => table.slotOf(document))).toEqual([NONE, NONE, NONE]);
  });
});

/** Reference: a list of slots that is sorted whenever a slot is needed. */
class NaiveTable {
  readonly slots: { document: number; stamp: number; version: number; embedding: number }[];
  clock = 0;
  private readonly lru: boolean;

  constructor(rows: number, lru: boolean) {
    this.lru = lru;
    this.slots = Array.from({ length: rows }, () => ({
      document: NONE,
      stamp: -1,
      version: -1,
      embedding: 0,
    }));
  }

  refresh(slot: number, embedding: number, version: number): void {
    const row = this.slots[slot]!;
    if (this.lru) row.stamp = version;
    Object.assign(row, { embedding, version });
  }

  insert(documents: number[], values: number[], version: number): void {
    const latest = new Map(documents.map((document, i) => [document, values[i]!]));
    const added = [...latest].filter(([document]) => !this.slots.some((row) => row.document === document));
    for (const row of this.slots) {
      const embedding = latest.get(row.document);
      if (embedding !== undefined) Object.assign(row, { embedding, version, stamp: version });
    }
    const order = [...this.slots].sort((a, b) => a.stamp - b.stamp); // a stable sort: lowest slot among equals
    for (const [i, [document, embedding]] of added.entries()) {
      Object.assign(order[i]!, { document, embedding, version, stamp: version });
    }
  }
}

describe('ScoreTable against a naive model', () => {
  it.each([
    { rows: 7, eviction: 'lru', operations: 3000 },
    { rows: 7, eviction: 'fifo', operations: 3000 },
    // More rows than are looked up ahead, so that the list of the oldest ends before the table does.
    { rows: 9000, eviction: 'lru', operations: 300 },
    // Documents are found by a hash table.
    { rows: 16_384, eviction: 'lru', operations: 100 },
    { rows: 16_384, eviction: 'fifo', operations: 100 },
  ] as const)('$operations random operations on $rows rows, $eviction', ({ rows, eviction, operations }) => {
    const documents = Math.ceil(rows * 1.5);
    const most = Math.max(3, rows >> 4);
    const table = new ScoreTable({ rows, dimension: 1, documents, eviction });
    const naive = new NaiveTable(rows, eviction === 'lru');
    const compare = () => {
      expect([...table.documents]).toEqual(naive.slots.map((row) => row.document));
      expect(embeddings(table)).toEqual(naive.slots.map((row) => row.embedding));
      expect([...table.ages]).toEqual(naive.slots.map((row) => naive.clock - Math.max(0, row.stamp)));
      expect([...table.versions]).toEqual(naive.slots.map((row) => row.version));
      expect(table.filled).toBe(naive.slots.filter((row) => row.document !== NONE).length);
    };
    const draw = (bound: number, n: number, step: number, purpose: string) => {
      const out = new Int32Array(n);
      randomInts(rngKey(5, step, purpose), bound, out);
      return [...out];
    };
    let value = 0;
    for (let step = 0; step < operations; step++) {
      const [kind, count, late] = draw(1000, 3, step, 'kind') as [number, number, number];
      const n = 1 + (count % most);
      // Sometimes embeddings arrive that were made some steps ago.
      const version = table.clock + 1 - (late < 100 ? Math.min(table.clock, late % 4) : 0);
      if (kind < 350) {
        const slots = draw(rows, n, step, 'slots').filter((slot) => table.documents[slot] !== NONE);
        const values = slots.map(() => value++ % 1000);
        table.refresh(slots, Float32Array.from(values), { version });
        for (const [i, slot] of slots.entries()) naive.refresh(slot, values[i]!, version);
      } else if (kind < 700) {
        const wanted = draw(documents, n, step, 'documents');
        const values = wanted.map(() => value++ % 1000);
        table.insert(wanted, Float32Array.from(values), { version });
        naive.insert(wanted, values, version);
      } else {
        table.tick();
        naive.clock += 1;
      }
      if (rows < 100 || step % 100 === 99) compare();
    }
    compare();
    for (let document = 0; document < documents; document++) {
      const slot = table.slotOf(document);
      if (slot !== NONE) expect(table.documents[slot]).toBe(document);
    }
    const wanted = draw(documents, 2 * documents, operations, 'wanted');
    expect([...table.slotsOf(wanted)]).toEqual(wanted.map((document) => table.slotOf(document)));
    expect(
      [...table.documents].every((document, slot) => document === NONE || table.slotOf(document) === slot),
    ).toBe(true);
  });
});

describe('ScoreTable state', () => {
  it.each([
    ['f32', 'lru'],
    ['f32', 'fifo'],
    ['f16', 'lru'],
    ['f16', 'fifo'],
  ] as const)('continues to the same bytes after a restore (%s, %s)', (storage, eviction) => {
    const options = { rows: 50, dimension: 3, documents: 80, storage, eviction };
    const work = (table: ScoreTable, from: number, to: number) => {
      for (let step = from; step < to; step++) {
        const rows = new Int32Array(8);
        const values = new Float32Array(8 * 3);
        randomInts(rngKey(1, step, 'documents'), 80, rows);
        uniform(rngKey(1, step, 'values'), values);
        const held = rows.filter((document) => table.slotOf(document) !== NONE).map((d) => table.slotOf(d));
        table.refresh(held, values.slice(0, held.length * 3));
        table.insert(rows, values);
        table.tick();
      }
    };
    const straight = new ScoreTable(options);
    work(straight, 0, 40);
    const first = new ScoreTable(options);
    work(first, 0, 23);
    const saved = structuredClone(first.state());
    const second = new ScoreTable(options);
    second.restore(saved);
    work(second, 23, 40);
    expect(second.state()).toEqual(straight.state());
    expect([...second.ages]).toEqual([...straight.ages]);
    expect(second.filled).toBe(straight.filled);
    expect(second.bytes).toBe(straight.bytes);
    for (let document = 0; document < 80; document++)
      expect(second.slotOf(document)).toBe(straight.slotOf(document));
  });

  it('refuses the state of another table, and stays as it was', () => {
    const table = filled();
    const before = structuredClone(table.state());
    for (const other of [
      filled({ rows: 5 }),
      filled({ eviction: 'fifo' }),
      filled({ storage: 'f16' }),
      make({ dimension: 2 }),
    ]) {
      if (other.eviction === 'fifo') {
        expect(() => other.restore(table.state())).toThrow('the stored cache has no "stamps"');
      } else {
        expect(() => table.restore(other.state())).toThrow(
          /the stored cache has no "(documents|embeddings)"/,
        );
      }
    }
    const large = make({ documents: 1000 });
    large.insert([999], f32(1));
    expect(() => table.restore(large.state())).toThrow('document 999 in slot 0');
    const { documents, ...rest } = structuredClone(table.state());
    documents!.data.set([3] as never, 0);
    expect(() => table.restore({ ...rest, documents: documents! })).toThrow('document 3 in slot 3');
    expect(table.state()).toEqual(before);
  });
});

describe('ScoreTable memory', () => {
  it('halves the embeddings with f16, and rounds them as f16 does', () => {
    const table = filled({ storage: 'f16' });
    table.refresh([0, 1, 2, 3], f32(1 / 3, 65504, 1e-8, -0.1));
    expect(embeddings(table)).toEqual([0.333251953125, 65504, 0, -0.0999755859375]);
    expect(table.block(1, 3).dtype).toBe('f16');
    expect(table.block(1, 3).dims).toEqual([2, 1]);
  });

  it('blocks are views, reads are copies', () => {
    const table = filled();
    const [block, copy] = [table.block(1, 3), table.read([2, 1, 2])];
    table.refresh([1, 2], f32(8, 9));
    expect([...(block.data as Float32Array)]).toEqual([8, 9]);
    expect([...copy]).toEqual([2, 1, 2]);
  });

  it('finds documents by a hash table after a clear, a fill and a restore, and in a mirror of other rows', async () => {
    const rows = 16_384;
    const large = (documents: ArrayLike<number>) => {
      const table = make({ rows, documents: 2 * rows });
      table.fill(documents, new Float32Array(documents.length));
      return table;
    };
    const table = large([5, 6, 7]);
    expect([...table.slotsOf([7, 8, 5])]).toEqual([2, NONE, 0]);
    const restored = make({ rows, documents: 2 * rows });
    expect([...restored.slotsOf([7])]).toEqual([NONE]);
    restored.restore(table.state());
    expect([...restored.slotsOf([7])]).toEqual([2]);
    table.fill([8, 7], f32(0, 0));
    expect([...table.slotsOf([7, 8, 5])]).toEqual([1, 0, NONE]);
    table.clear();
    expect([...table.slotsOf([7])]).toEqual([NONE]);
    const versions = Int32Array.of(0, 0);
    for (const documents of [Int32Array.of(3, 4), Int32Array.of(4, 9)]) {
      await table.mirror({ documents, versions }, async () => {});
      expect([...table.slotsOf([4, 3])]).toEqual([documents.indexOf(4), documents.indexOf(3)]);
    }
  });

  it('takes at most D × 4 + 18 bytes for a row of f32, and D × 2 + 18 with f16, however large the corpus', () => {
    const [rows, dimension] = [4096, 256];
    const table = (storage: 'f32' | 'f16', eviction: 'lru' | 'fifo') =>
      new ScoreTable({ rows, dimension, documents: 100 * rows, storage, eviction });
    for (const eviction of ['lru', 'fifo'] as const) {
      expect(table('f32', eviction).bytes / rows).toBe(dimension * 4 + 8);
      expect(table('f16', eviction).bytes / rows).toBe(dimension * 2 + 8);
    }
    // Rows that were embedded again after their insertion have two dates.
    const queue = table('f16', 'fifo');
    queue.insert([7], new Float32Array(dimension));
    queue.refresh([0], new Float32Array(dimension));
    expect(queue.bytes / rows).toBe(dimension * 2 + 12);
    const large = make({ rows: 20_000, documents: 1e9 });
    large.slotsOf([1]);
    expect(large.bytes / 20_000).toBeCloseTo(4 + 8 + 6, 2);
  });
});

describe('ScoreTable refuses what it can not hold', () => {
  it('with its rows as they were', () => {
    const table = filled();
    const before = structuredClone(table.state());
    expect(() => table.refresh([0, 4], f32(1, 2))).toThrow('slot 4 is outside a table of 4 rows');
    expect(() => table.refresh([0, -1], f32(1, 2))).toThrow('slot -1 is outside');
    expect(() => table.refresh([0], f32(1, 2))).toThrow('1 rows of dimension 1 need 1 numbers, got 2');
    expect(() => table.insert([1, 100], f32(1, 2))).toThrow('document 100 is outside a corpus of 100');
    expect(() => table.insert([1, 0.5], f32(1, 2))).toThrow('document 0.5 is outside');
    expect(() => table.insert([10, 11, 12, 13, 14], f32(0, 0, 0, 0, 0))).toThrow(
      '5 documents do not fit into a cache of 4 rows',
    );
    expect(() => table.fill([1, 1], f32(0, 0))).toThrow('document 1 is given twice');
    expect(() => table.fill([1, 2, 3, 4, 5], f32(0, 0, 0, 0, 0))).toThrow('5 documents do not fit');
    expect(table.state()).toEqual(before);
    expect(() => make().refresh([2], f32(1))).toThrow('slot 2 is empty');
    expect(() => make({ rows: 0 })).toThrow('at least one row');
    expect(() => make({ dimension: 1.5 })).toThrow('at least one row and one dimension');
  });
});
