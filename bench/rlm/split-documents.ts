/**
 * Writes the documents of a data set as train.jsonl, dev.jsonl and test.jsonl, so that a language model can be moved to its domain.
 *
 *     npx tsx bench/rlm/split-documents.ts DATA OUT [--group 16]
 *
 * DATA is a BEIR folder. A document belongs to the last split that judges it, and one that is not judged to train. With `--group N`,
 * for documents of a few words that have a column `source` (FILE:LINE), N successive documents of one source file become one document,
 * and each file belongs to one split as a whole: two files in ten to dev and two to test, by a hash of its name.
 * The order of the documents is random, with one seed, so that the beginning of a file is a sample of it.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { gunzipSync } from 'node:zlib';
import { loadData } from '../../src/data/load.ts';
import { permutation, rngKey } from '../../src/util/rng.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { group: { type: 'string', default: '' } },
});
const [folder, out] = positionals;
if (!folder || !out) throw new Error('usage: npx tsx bench/rlm/split-documents.ts DATA OUT [--group N]');

type Split = 'train' | 'dev' | 'test';
interface Line {
  readonly id: string;
  readonly text: string;
}

/** Splits documents by the judgements of the set. */
async function byJudgements(): Promise<Record<Split, Line[]>> {
  const data = await loadData(folder!);
  const splits = new Map<number, Split>();
  for (const split of ['train', 'dev', 'test'] as const) {
    for (const row of data.examples(split).positives.rows) splits.set(row, split);
  }
  const lines: Record<Split, Line[]> = { train: [], dev: [], test: [] };
  for (let row = 0; row < data.corpus.size; row++) {
    lines[splits.get(row) ?? 'train'].push({ id: data.corpus.id(row), text: data.corpus.text(row) });
  }
  return lines;
}

/** Splits documents by their source files, and joins successive ones. */
function bySource(size: number): Record<Split, Line[]> {
  const plain = join(folder!, 'corpus.jsonl');
  const content = existsSync(plain) ? readFileSync(plain) : gunzipSync(readFileSync(`${plain}.gz`));
  const files = new Map<string, string[]>();
  for (const line of content.toString('utf8').trim().split('\n')) {
    const { text, source } = JSON.parse(line) as { text: string; source: string };
    const file = source.slice(0, source.lastIndexOf(':'));
    files.set(file, [...(files.get(file) ?? []), text]);
  }
  const lines: Record<Split, Line[]> = { train: [], dev: [], test: [] };
  for (const [file, texts] of files) {
    const share = createHash('sha256').update(file).digest()[0]! / 256;
    const split = share < 0.2 ? 'test' : share < 0.4 ? 'dev' : 'train';
    for (let first = 0; first < texts.length; first += size) {
      lines[split].push({ id: `${file}#${first}`, text: texts.slice(first, first + size).join('\n') });
    }
  }
  return lines;
}

const lines = values.group === '' ? await byJudgements() : bySource(Number(values.group));
mkdirSync(out, { recursive: true });
for (const [split, ordered] of Object.entries(lines)) {
  const documents = [...permutation(rngKey(1, 0, split), ordered.length)].map((i) => ordered[i]!);
  writeFileSync(join(out, `${split}.jsonl`), documents.map((line) => `${JSON.stringify(line)}\n`).join(''));
  console.log(`${split}: ${documents.length} documents`);
}
