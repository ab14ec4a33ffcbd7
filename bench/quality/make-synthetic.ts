/**
 * Writes the synthetic data set of the experiments as a BEIR folder:
 *
 *     npx tsx bench/quality/make-synthetic.ts --out data/synthetic [--documents 10000] [--seed 1] …
 *
 * The folder also has a tokenizer that maps every word to one token. Its subfolder `crops/` has pairs of half
 * a document and the whole, to train a first encoder without queries. Every number of `SyntheticOptions` is
 * an option. The same options give the same bytes.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { SYNTHETIC_DEFAULTS, type SyntheticOptions, syntheticData } from './synthetic-data.ts';
import { wordTokenizer } from './word-tokenizer.ts';

const flag = (name: string) => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
const names = Object.keys(SYNTHETIC_DEFAULTS) as (keyof SyntheticOptions)[];
const { values } = parseArgs({
  options: {
    out: { type: 'string' },
    ...Object.fromEntries(names.map((name) => [flag(name), { type: 'string' as const }])),
  },
});
const given = values as Readonly<Record<string, string | undefined>>;
const { out } = given;
if (out === undefined) throw new Error('--out FOLDER is missing');
const options = Object.fromEntries(
  names.map((name) => [name, Number(given[flag(name)] ?? SYNTHETIC_DEFAULTS[name])]),
) as unknown as SyntheticOptions;

const { documents, queries, crops, vocabulary } = syntheticData(options);
const lines = (rows: readonly string[]) => rows.map((row) => `${row}\n`).join('');
const records = (texts: readonly (readonly [id: string, text: string])[]) =>
  lines(texts.map(([_id, text]) => JSON.stringify({ _id, text })));

for (const folder of ['qrels', 'crops']) mkdirSync(join(out, folder), { recursive: true });
const write = (name: string, text: string) => writeFileSync(join(out, name), text);
write('corpus.jsonl', records(documents.map((text, row) => [`d${row}`, text])));
write(
  'queries.jsonl',
  records(
    Object.values(queries).flatMap((list) =>
      list.map(({ document, text }) => [`q${document}`, text] as const),
    ),
  ),
);
for (const [split, list] of Object.entries(queries)) {
  const rows = list.map(({ document }) => `q${document}\td${document}\t1`);
  write(`qrels/${split}.tsv`, lines(['query-id\tcorpus-id\tscore', ...rows]));
}
write(
  'crops/train.jsonl',
  lines(crops.map((query, row) => JSON.stringify({ query, positive: documents[row] }))),
);
write('tokenizer.json', `${JSON.stringify(wordTokenizer(vocabulary))}\n`);
write('options.json', `${JSON.stringify(options, null, 2)}\n`);
console.log(
  `${out}: ${documents.length} documents, ${queries.train.length} / ${queries.dev.length} / ${queries.test.length} ` +
    `train / dev / test queries, ${vocabulary.length} words`,
);
