/**
 * Writes a random part of a data set as a BEIR folder, so that every arm of a comparison is affordable:
 *
 *     npx tsx bench/quality/make-subset.ts --data data/squad --out data/squad-small --documents 4000 [--seed 1]
 *
 * Keeps that many documents, their judgements, and the queries that have one of them as a right document. The same options give the same
 * bytes.
 */
import { parseArgs } from 'node:util';
import { BeirFiles } from '../../src/data/beir-files.ts';
import { qrelsLine } from '../../src/data/beir-lines.ts';
import { loadData } from '../../src/data/load.ts';
import { permutation, rngKey } from '../../src/util/rng.ts';

const { values } = parseArgs({
  options: {
    data: { type: 'string' },
    out: { type: 'string' },
    documents: { type: 'string', default: '4000' },
    seed: { type: 'string', default: '1' },
  },
});
const { data: source, out } = values;
if (source === undefined || out === undefined) throw new Error('--data FOLDER and --out FOLDER are needed');

const { corpus, queries, splits, qrels } = await loadData(source);
const key = rngKey(Number(values.seed), 0, 'bench/subset');
const rows = permutation(key, corpus.size).subarray(0, Number(values.documents)).sort();
const kept = new Set(Array.from(rows, (row) => corpus.id(row)));
const files = new BeirFiles(out);
for (const row of rows) await files.record('corpus.jsonl', { _id: corpus.id(row), text: corpus.text(row) });

const found = new Set<string>();
const counts: string[] = [];
for (const split of splits) {
  let count = 0;
  for (const [query, grades] of qrels(split)) {
    const own = [...grades].filter(([document]) => kept.has(document));
    if (!own.some(([, grade]) => grade > 0)) continue;
    await files.judgements(
      split,
      own.map(([document, grade]) => qrelsLine(query, document, grade)),
    );
    found.add(query);
    count += 1;
  }
  counts.push(`${count} ${split}`);
}
for (let row = 0; row < queries.size; row++) {
  const id = queries.id(row);
  if (found.has(id)) await files.record('queries.jsonl', { _id: id, text: queries.text(row) });
}
await files.finish();
console.log(`${out}: ${rows.length} documents, queries: ${counts.join(', ')}`);
