/**
 * Documents and their vectors as SQL for PostgreSQL with the extension pgvector:
 *
 *   npx tsx pgvector.ts load MODEL DATA | psql -v ON_ERROR_STOP=1 "$DATABASE_URL"
 *   npx tsx pgvector.ts search MODEL "undo a commit" | psql "$DATABASE_URL"
 *
 * `load` replaces the table `passages` in one transaction. Its comment names the embedding space, and `search` compares it: vectors
 * of two models are never mixed. A static model has 512 dimensions by default; pgvector indexes up to 2,000.
 */
import { embeddingSpaceId, loadCorpus, loadRetriever } from 'undrift';

const BATCH = 256;
const [action, model = 'runs/first', argument] = process.argv.slice(2);
if ((action !== 'load' && action !== 'search') || argument === undefined) {
  console.error('usage: pgvector.ts load MODEL DATA | search MODEL TEXT');
  process.exit(2);
}
const retriever = await loadRetriever(model);
const space = embeddingSpaceId(retriever);
// PostgreSQL cannot store the character NUL.
const literal = (text: string) => `'${text.replaceAll("'", "''").replaceAll('\0', '')}'`;
// Nine digits give the same f32.
const vector = (values: Float32Array) => `'[${Array.from(values, (value) => Number(value.toPrecision(9)))}]'`;

if (action === 'load') {
  const corpus = await loadCorpus(argument);
  const D = retriever.dimension;
  console.log('BEGIN;\nCREATE EXTENSION IF NOT EXISTS vector;\nDROP TABLE IF EXISTS passages;');
  console.log(
    `CREATE TABLE passages (id text PRIMARY KEY, body text NOT NULL, embedding vector(${D}) NOT NULL);`,
  );
  console.log(`COMMENT ON TABLE passages IS ${literal(space)};`);
  for (let start = 0; start < corpus.size; start += BATCH) {
    const rows = Array.from({ length: Math.min(BATCH, corpus.size - start) }, (_, i) => start + i);
    const texts = rows.map((row) => corpus.text(row));
    const vectors = await retriever.encode('document', texts);
    const values = rows.map(
      (row, i) =>
        `(${literal(corpus.id(row))}, ${literal(texts[i]!)}, ${vector(vectors.subarray(i * D, (i + 1) * D))})`,
    );
    console.log(`INSERT INTO passages VALUES\n${values.join(',\n')};`);
  }
  // Embeddings have length one, so the inner product is the cosine.
  console.log('CREATE INDEX ON passages USING hnsw (embedding vector_ip_ops);\nCOMMIT;');
} else {
  const query = vector(await retriever.encode('query', [argument]));
  console.log(
    `SELECT id, -(embedding <#> ${query}) AS score, body FROM passages\n` +
      `WHERE obj_description('passages'::regclass) = ${literal(space)} ORDER BY embedding <#> ${query} LIMIT 10;`,
  );
}
await retriever.dispose();
