import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { runUndrift } from '../../test/run-undrift.ts';
import { tempFiles } from '../../test/temp-files.ts';

const NOUNS = ['file', 'path', 'number', 'array', 'socket', 'timer', 'string', 'buffer', 'stream', 'error'];
const VERBS = ['open', 'close', 'read', 'write', 'copy', 'check', 'sort', 'count', 'merge', 'split'];
const rows = VERBS.flatMap((verb) =>
  NOUNS.map((noun) => [
    `How do I ${verb} a ${noun}?`,
    `To ${verb} it, call ${verb}${noun}.\nThe ""${noun}"" is first; then stop.`,
  ]),
);
const table = (header: string, split = (_: number) => '') =>
  `\ufeff${header}\r\n${rows.map(([query, answer], i) => `${query};"${answer}"${split(i)}\r\n`).join('')}`;
const folder = tempFiles({
  'my faq.csv': table('Question;Answer'),
  'fragen.csv': table('Frage;Antwort'),
  'fragen-2.csv': `${table('Frage;Antwort')}leer;\r\n`,
  'compare.json': JSON.stringify({
    data: 'fragen.csv',
    out: 'runs/compare',
    base: { hidden: 16 },
    budget: { steps: 1 },
    arms: [{ method: 'in-batch' }],
    evaluate: { metrics: ['ndcg@10'] },
  }),
  'splits.csv': table('question;answer;split', (i) => `;${i % 10 === 0 ? 'dev' : 'train'}`),
  'beir/corpus.jsonl': rows.map(([, text], i) => `${JSON.stringify({ _id: `d${i}`, text })}\n`).join(''),
  'beir/queries.jsonl': rows.map(([text], i) => `${JSON.stringify({ _id: `q${i}`, text })}\n`).join(''),
  'beir/qrels/train.tsv': rows
    .map((_, i) => `q${i}\td${i}\t1\n`)
    .slice(0, 80)
    .join(''),
  'beir/qrels/dev.tsv': rows
    .map((_, i) => `q${i}\td${i}\t1\n`)
    .slice(80)
    .join(''),
});

/** Runs a command line of the package, of which a shell makes words. */
function undrift(line: string) {
  const words = execFileSync('sh', ['-c', `printf '%s\\0' ${line}`], { encoding: 'utf8' }).split('\0');
  return runUndrift(words.slice(1, -1), { cwd: folder });
}

/** The command that the last line of an output suggests. */
const suggested = (stdout: string): string => /: (undrift .*)\n$/.exec(stdout)?.[1] ?? stdout;

/** Runs a command, then what it suggests, as long as a suggestion follows. Returns the commands. */
async function follow(line: string): Promise<string[]> {
  const lines: string[] = [];
  for (let next = line; next.startsWith('undrift '); ) {
    lines.push(next);
    const { code, stdout, stderr } = await undrift(next);
    expect(stderr).not.toMatch(/^error/m);
    expect(code).toBe(0);
    next = suggested(stdout);
  }
  return lines;
}

it('own questions and answers are trained on, measured, searched and mined, and every suggested command works', async () => {
  const train = "undrift train --data 'my faq.csv' --epochs 1 --hidden 16 --out";
  expect(await follow(`${train} runs/faq`)).toEqual([
    `${train} runs/faq`,
    "undrift eval --model runs/faq --data 'my faq.csv' --split test",
  ]);
  const { stdout } = await undrift("undrift search --model runs/faq --data 'my faq.csv' --top-k 1 open file");
  expect(stdout).toMatch(/^ 1 {2}[\d.]+ {2}d\d+\n/);
  const mine = "undrift mine --data 'my faq.csv' --model bm25 --negatives 2 --out mined.jsonl";
  expect(await follow(mine)).toEqual([
    mine,
    "undrift train --data mined.jsonl --eval-data 'my faq.csv' --negatives 2 --out runs/mined",
    "undrift eval --model runs/mined --data 'my faq.csv' --split test",
  ]);
  const mined = readFileSync(join(folder, 'mined.jsonl'), 'utf8').trimEnd().split('\n');
  const splits = mined.map((line) => (JSON.parse(line) as { split: string }).split);
  expect(splits).toHaveLength(rows.length);
  expect(new Set(splits)).toEqual(new Set(['train', 'dev', 'test']));
}, 120_000);

it('suggested commands repeat the options of reading, and name a split that there is', async () => {
  const columns = '--columns query=Frage,positive=Antwort';
  const train = `undrift train --data fragen.csv ${columns} --epochs 1 --hidden 16 --out runs/fragen`;
  expect(await follow(train)).toEqual([
    train,
    `undrift eval --model runs/fragen --data fragen.csv --split test ${columns}`,
  ]);
  const beir = 'undrift train --data beir --epochs 1 --hidden 16 --out runs/beir';
  expect(await follow(beir)).toEqual([beir, 'undrift eval --model runs/beir --data beir --split dev']);
  const mine = 'undrift mine --data beir --split dev --model bm25 --out dev.jsonl';
  expect(await follow(mine)).toEqual([mine, 'undrift data stats dev.jsonl']);
}, 120_000);

it('other data to evaluate on: nothing is held out, its split must exist, and shared queries are named', async () => {
  const train = 'undrift train --data splits.csv --epochs 1 --hidden 16 --eval-data';
  const absent = await undrift(`${train} beir --eval-split test --out runs/absent`);
  expect(absent).toMatchObject({ code: 2 });
  expect(absent.stderr).toMatch(/no split "test" .*\n.*splits present: train, dev/);
  const { stderr, code } = await undrift(`${train} beir --out runs/other`);
  expect(code).toBe(0);
  expect(stderr).toMatch(/100 documents, 90 training queries/);
  expect(stderr).toMatch(/18 of the 20 queries to evaluate on are trained on too/);
  const { settings } = JSON.parse(readFileSync(join(folder, 'runs/other/settings.json'), 'utf8'));
  expect(settings).toMatchObject({ evalData: 'beir', evalSplit: 'dev', batchSize: 64 });
  expect((await undrift('undrift train --out runs/other --resume')).code).toBe(0);
}, 120_000);

it('a comparison reads its data as the config or the command line says, for training and evaluation', async () => {
  const { code, stderr } = await undrift(
    'undrift compare compare.json --columns query=Frage,positive=Antwort --skip-bad-rows 1 --eval-data fragen-2.csv',
  );
  expect(stderr).not.toMatch(/failed|^error/m);
  expect(code).toBe(0);
  const results = JSON.parse(readFileSync(join(folder, 'runs/compare/results.json'), 'utf8'));
  expect(results.data.fingerprint).toMatch(/^[0-9a-f]{16}\+[0-9a-f]{16}$/);
  expect((await undrift('undrift compare compare.json')).stderr).toMatch(/fragen\.csv:2: no query column/);
}, 120_000);
