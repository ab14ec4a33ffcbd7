/**
 * A database of your own for `startVectorMigration`: here texts and vectors in memory. Run it with two models and a file of documents:
 *
 *   npx tsx own-vector-store.ts OLD NEW data/api-docs
 */
import { pathToFileURL } from 'node:url';
import type {
  ReadRequest,
  StoredSpace,
  VectorRow,
  VectorStore,
  VectorStoreState,
  WrittenVector,
} from 'undrift';

export class MemoryVectors implements VectorStore {
  readonly name = 'memory';
  /** Texts and original vectors by id, in the order of the ids. */
  readonly rows: ReadonlyMap<string, { text: string; vector: Float32Array }>;
  readonly spaces = new Map<string, Map<string, WrittenVector>>();
  state: VectorStoreState | null = null;

  constructor(rows: Iterable<readonly [string, { text: string; vector: Float32Array }]>) {
    this.rows = new Map([...rows].sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  async describe() {
    const [first] = this.rows.values();
    return {
      rows: this.rows.size,
      original: first ? { dimension: first.vector.length, rows: this.rows.size } : null,
      spaces: [...this.spaces.keys()].map((id) => {
        const fitting = [...this.rows.keys()].flatMap((row) => this.written(id, row) ?? []);
        return { id, rows: fitting.length, corrected: fitting.filter(({ corrected }) => corrected).length };
      }),
    };
  }

  async read({ space, texts, after, limit, ids, lacking }: ReadRequest): Promise<VectorRow[]> {
    const lacks = (id: string) => {
      const vector = lacking && this.written(lacking.space, id);
      return !vector || (lacking?.what === 'true vector' && vector.corrected);
    };
    const found: VectorRow[] = [];
    for (const [id, { text, vector }] of this.rows) {
      if ((after !== null && id <= after) || (ids && !ids.includes(id)) || (lacking && !lacks(id))) continue;
      const original = { values: vector, step: 0, time: 0, corrected: false };
      const stamped = space === 'original' ? original : space === null ? undefined : this.written(space, id);
      found.push({ id, title: '', text: texts ? text : null, version: text, vector: stamped ?? null });
      if (found.length === limit) break;
    }
    return found;
  }

  async write({ id }: StoredSpace, vectors: readonly WrittenVector[]) {
    const space = this.spaces.get(id) ?? new Map<string, WrittenVector>();
    this.spaces.set(id, space);
    for (const vector of vectors) {
      const before = this.written(id, vector.id);
      if (!vector.corrected || !before || before.corrected) space.set(vector.id, vector);
    }
  }

  async drop(space: string) {
    this.spaces.delete(space);
  }

  async readState() {
    return this.state;
  }

  async writeState(state: VectorStoreState) {
    if (state.revision !== (this.state?.revision ?? 0) + 1) throw new Error('changed by another process');
    this.state = state;
  }

  /** Vector of a row, if it was made of the present text. */
  private written(space: string, id: string): WrittenVector | undefined {
    const vector = this.spaces.get(space)?.get(id);
    return vector?.version === this.rows.get(id)?.text ? vector : undefined;
  }
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { backfillVectors, cutOverVectors, loadCorpus, loadRetriever, startVectorMigration } = await import(
    'undrift'
  );
  const [old = 'runs/old', fresh = 'runs/new', data = 'data/api-docs'] = process.argv.slice(2);
  const [from, to] = [await loadRetriever(old), await loadRetriever(fresh)];
  const corpus = await loadCorpus(data);
  const texts = Array.from({ length: corpus.size }, (_, row) => corpus.text(row));
  const vectors = await from.encode('document', texts);
  const D = from.dimension;
  const row = (text: string, i: number) =>
    [corpus.id(i), { text, vector: vectors.subarray(i * D, (i + 1) * D) }] as const;
  const store = new MemoryVectors(texts.map(row));

  const chosen = await startVectorMigration(store, to, { from, model: fresh, sample: 200 });
  const { spaces } = await store.describe();
  console.log(
    `${chosen!.kind}: ${spaces[0]!.rows} rows served, ${spaces[0]!.corrected} by corrected vectors`,
  );
  const { embedded } = await backfillVectors(store, to);
  await cutOverVectors(store);
  console.log(
    `${embedded} embedded by the new model, ${(await store.describe()).spaces[0]!.corrected} corrected left`,
  );
  await from.dispose();
  await to.dispose();
}
