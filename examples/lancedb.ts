/**
 * Documents and their vectors in a LanceDB table, and a search in it:
 *
 *   npm install @lancedb/lancedb apache-arrow
 *   npx tsx lancedb.ts MODEL DATA FOLDER "undo a commit"
 *
 * The name of the table has the embedding space in it, so that vectors of two models never mix.
 */
import { embeddingSpaceId, loadCorpus, loadRetriever } from 'undrift';

const [MODEL = 'runs/first', DATA = 'pairs.jsonl', FOLDER = 'data/lance', TEXT = 'undo a commit'] =
  process.argv.slice(2);
const BATCH = 1024;

// Named by a variable, so that this file compiles where the package is not installed.
const name: string = '@lancedb/lancedb';
const lancedb = await import(name);
const retriever = await loadRetriever(MODEL);
const corpus = await loadCorpus(DATA);
const D = retriever.dimension;
const table = `passages_${embeddingSpaceId(retriever).replace(/\W/g, '_')}`;

async function* records() {
  for (let start = 0; start < corpus.size; start += BATCH) {
    const rows = Array.from({ length: Math.min(BATCH, corpus.size - start) }, (_, i) => start + i);
    const vectors = await retriever.encode(
      'document',
      rows.map((row) => corpus.text(row)),
    );
    yield rows.map((row, i) => ({
      id: corpus.id(row),
      text: corpus.text(row),
      vector: [...vectors.subarray(i * D, (i + 1) * D)],
    }));
  }
}

const database = await lancedb.connect(FOLDER);
let passages: Awaited<ReturnType<typeof database.createTable>> | undefined;
for await (const batch of records()) {
  if (passages) await passages.add(batch);
  else passages = await database.createTable(table, batch, { mode: 'overwrite' });
}
const query = [...(await retriever.encode('query', [TEXT]))];
for (const row of await passages.search(query).distanceType('dot').limit(5).toArray())
  console.log(`${(1 - row._distance).toFixed(3)}  ${row.id}  ${row.text}`);
await retriever.dispose();
