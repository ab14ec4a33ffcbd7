import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { MAIN, runUndrift } from '../../test/run-undrift.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { loadData } from '../data/load.ts';
import { permutation, rngKey } from '../util/rng.ts';

const words = (i: number, of: number) => [...permutation(rngKey(8, i, 'words'), of).subarray(0, 4)];
const lines = (rows: readonly object[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join('');

/**
 * Documents of four words; query i has two words of document i, which is its answer. Query 7 has a second one, document 8 is a
 * copy of document 9, document 10 and query 11 have no text, and query 12 shares no word with any document.
 */
function toyData(count: number, of: number): Record<string, string> {
  const all = Array.from({ length: count }, (_, i) => i);
  const spelt = (i: number, length = 4) =>
    words(i, of)
      .slice(0, length)
      .map((w) => `word${w}`)
      .join(' ');
  return {
    'set/corpus.jsonl': lines(
      all.map((i) => ({ _id: `d${i}`, text: i === 10 ? '' : spelt(i === 8 ? 9 : i) })),
    ),
    'set/queries.jsonl': lines(
      all.map((i) => ({ _id: `q${i}`, text: i === 11 ? ' ' : i === 12 ? 'zebra' : spelt(i, 2) })),
    ),
    'set/qrels/train.tsv': `query-id\tcorpus-id\tscore\n${all
      .filter((i) => i % 10 !== 6)
      .map((i) => `q${i}\td${i}\t1\n${i === 7 ? 'q7\td20\t1\n' : ''}`)
      .join('')}`,
    'set/qrels/dev.tsv': `query-id\tcorpus-id\tscore\n${all
      .filter((i) => i % 10 === 6)
      .map((i) => `q${i}\td${i}\t1\n`)
      .join('')}`,
  };
}

const undrift = (cwd: string, ...argv: string[]) => runUndrift(argv, { cwd });

interface Line {
  query: string;
  positive: string[];
  negative: string[];
  split: string;
}
const linesOf = (file: string): Line[] =>
  readFileSync(file, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Line)
    .filter(({ split }) => split !== 'dev');

const TINY = ['--hidden', '8', '--vocab-size', '128', '--batch-size', '8', '--threads', '1'];

describe('undrift mine', () => {
  let folder: string;
  beforeAll(() => {
    folder = tempFiles(toyData(80, 30));
  });

  it('by BM25 writes pairs that train reads, and says what it left out', async () => {
    const argv = ['mine', '--data', 'set', '--model', 'bm25', '--negatives', '3', '--out', 'mined.jsonl'];
    const said = await undrift(folder, ...argv);
    expect(said.code, said.stderr).toBe(0);
    expect(said.stdout).toMatch(
      /^mined\.jsonl\n\d+ negatives for 70 queries of set\/train, by BM25 \(k1 0\.9, b 0\.4\), /,
    );
    expect(said.stdout).toMatch(/\ncandidates +[\d,]+ +100\.0 %\n {2}known positives +−\d+ /);
    expect(said.stdout).toMatch(/\nshort: \d+ of 70 queries lack \d+ negatives \(1 has none/);
    expect(said.stdout).toContain('\n2 queries without text, or without a positive that has one, left out\n');

    const json = JSON.parse((await undrift(folder, ...argv, '--json')).stdout);
    const found = linesOf(join(folder, 'mined.jsonl'));
    expect(json).toMatchObject({
      out: 'mined.jsonl',
      ranker: { kind: 'bm25', k1: 0.9, b: 0.4 },
      embeddingSpace: null,
      queries: 70,
      skippedQueries: 2,
      documents: 80,
      negatives: found.flatMap(({ negative }) => negative).length,
      rules: { negatives: 3, rankFrom: 0, rankTo: 100, absoluteMargin: null, strategy: 'top' },
    });
    // Counted again from the file.
    const missing = found.map(({ negative }) => 3 - negative.length);
    expect(json.short).toMatchObject({
      queries: missing.filter((n) => n > 0).length,
      withNone: missing.filter((n) => n === 3).length,
      missing: missing.reduce((a, b) => a + b, 0),
    });
    const removed = Object.values(json.removed as Record<string, number>).reduce((a, b) => a + b, 0);
    expect(removed + json.kept).toBe(json.candidates);
    expect(json.removed.duplicate).toBeGreaterThan(0);

    const corpus = toyData(80, 30)
      ['set/corpus.jsonl']!.trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line).text);
    const seven = found.find(({ positive }) => positive.length === 2)!;
    expect(seven.positive).toEqual([corpus[7], corpus[20]]);
    const nine = found.find(({ positive }) => positive[0] === corpus[9])!;
    expect(nine.negative).not.toContain(corpus[8]);
    for (const { positive, negative } of found) {
      expect(negative.some((text) => positive.includes(text) || text.trim() === '')).toBe(false);
      expect(new Set(negative).size).toBe(negative.length);
    }

    const trained = await undrift(
      folder,
      ...['train', '--data', 'mined.jsonl', '--out', 'runs/mined', '--negatives', '2', '--epochs', '2'],
      ...TINY,
    );
    expect(trained.code, trained.stderr).toBe(0);
    expect(trained.stderr).toContain('23 negatives a query');
    expect(trained.stderr).not.toContain('none of them is used');
    const data = await loadData(join(folder, 'mined.jsonl'));
    const { positives, negatives } = data.examples('train');
    expect(negatives!.rows.length).toBeGreaterThan(100);
    expect(positives.offsets.length).toBe(negatives!.offsets.length);
    const ignored = await undrift(
      folder,
      ...['train', '--data', 'mined.jsonl', '--out', 'runs/ignored', '--steps', '1'],
      ...TINY,
    );
    expect(ignored.stderr).toContain('--negatives N takes N for each query');
  });

  it('by a model names its embedding space, in the output and beside the file', async () => {
    await undrift(folder, 'train', '--data', 'set', '--out', 'runs/first', '--epochs', '2', ...TINY);
    const space = JSON.parse(
      readFileSync(join(folder, 'runs/first/model/undrift.json'), 'utf8'),
    ).embeddingSpace;
    const argv = [
      ...['mine', '--data', 'set', '--model', 'runs/first', '--out', 'deep/by-model.jsonl', '--threads', '1'],
      ...[
        '--rank-from',
        '2',
        '--rank-to',
        '30',
        '--strategy',
        'random',
        '--seed',
        '4',
        '--positives',
        'first',
      ],
    ];
    const said = await undrift(folder, ...argv);
    expect(said.code, said.stderr).toBe(0);
    expect(said.stdout).toContain(`by runs/first (embedding space ${space}, `);
    expect(said.stdout).toContain('\nevery query has 5\n');
    const file = join(folder, 'deep/by-model.jsonl');
    const bytes = readFileSync(file);
    const record = JSON.parse(readFileSync(join(folder, 'deep/by-model.mining.json'), 'utf8'));
    expect(record).toMatchObject({
      embeddingSpace: space,
      ranker: { kind: 'retriever', embeddingSpace: space },
      sha256: createHash('sha256').update(bytes).digest('hex'),
      rules: { rankFrom: 2, strategy: 'random', seed: 4, positives: 'first' },
    });
    expect(
      linesOf(file).every(({ positive, negative }) => positive.length === 1 && negative.length === 5),
    ).toBe(true);
    // Same seed, same bytes; another seed, others.
    await undrift(folder, ...argv);
    expect(readFileSync(file).equals(bytes)).toBe(true);
    await undrift(folder, ...argv, '--seed', '5');
    expect(readFileSync(file).equals(bytes)).toBe(false);
    expect(readdirSync(join(folder, 'deep')).sort()).toEqual(['by-model.jsonl', 'by-model.mining.json']);
  });

  it('takes the rankings of a run file', async () => {
    const run = [
      'eval',
      '--model',
      'runs/first',
      '--data',
      'set',
      '--split',
      'train',
      '--run-file',
      'first.run',
    ];
    expect((await undrift(folder, ...run, '--threads', '1')).code).toBe(0);
    const mined = async (model: string) => {
      const argv = ['--data', 'set', '--model', model, '--rank-to', '20', '--out', 'r.jsonl', '--json'];
      const { code, stdout, stderr } = await undrift(folder, 'mine', ...argv, '--threads', '1');
      expect(code, stderr).toBe(0);
      return { json: JSON.parse(stdout), lines: linesOf(join(folder, 'r.jsonl')) };
    };
    const [byRun, byModel] = [await mined('first.run'), await mined('runs/first')];
    expect(byRun.json).toMatchObject({ ranker: { kind: 'run' }, embeddingSpace: null });
    // The same rankings, but for documents that score alike.
    const equal = byRun.lines.filter((line, i) => JSON.stringify(line) === JSON.stringify(byModel.lines[i]));
    expect(equal.length).toBeGreaterThan(60);
  });

  it('leaves nothing where nothing can be mined, or something is wrong', async () => {
    const before = readdirSync(folder).sort();
    const wrong = async (...argv: string[]) => {
      const result = await undrift(folder, 'mine', '--data', 'set', '--model', 'bm25', ...argv);
      expect(readdirSync(folder).sort()).toEqual(before);
      return result;
    };
    const out = ['--out', 'no.jsonl'];
    expect(await wrong(...out, '--absolute-margin', '1000')).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(
        /none of \d+ candidates may be a negative; nothing is written\n {2}help: most of them: within --absolute-margin; relax that/,
      ),
    });
    expect(await wrong('--out', 'no.tsv')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('--out should be a file name ending in .jsonl, found "no.tsv"'),
    });
    expect(await wrong(...out, '--negatives', '50', '--rank-from', '60')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('ranks 60 … 99 hold 40 documents, not 50'),
    });
    expect(await wrong('--out', 'set/corpus.jsonl')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('--out set/corpus.jsonl would replace a file of the data'),
    });
    expect(await wrong(...out, '--model', 'bm52')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("--model bm52: no such folder. Did you mean 'bm25'?"),
    });
    const missing = await wrong(...out, '--split', 'test', '--json');
    expect(JSON.parse(missing.stdout)).toMatchObject({ error: { type: 'DataError' } });
    const help = await undrift(folder, 'mine', '--help');
    expect(help).toMatchObject({ code: 0, stdout: expect.stringContaining('--relative-margin <x>') });
  });

  it('leaves the earlier file as it was after Ctrl-C', async () => {
    const large = tempFiles({ ...toyData(6000, 40), 'mined.jsonl': 'earlier\n' });
    const child = spawn(
      process.execPath,
      [MAIN, 'mine', '--data', 'set', '--model', 'bm25', '--out', 'mined.jsonl'],
      { cwd: large, stdio: ['ignore', 'ignore', 'pipe'] },
    );
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    const closed = new Promise<number | null>((resolve) => child.on('close', resolve));
    // As soon as some of it is written.
    const halfWritten = () =>
      readdirSync(large).some((name) => name.endsWith('.tmp') && statSync(join(large, name)).size > 0);
    while (child.exitCode === null && !halfWritten()) await new Promise((resolve) => setTimeout(resolve, 5));
    child.kill('SIGINT');
    expect(await closed, stderr).toBe(130);
    expect(readdirSync(large).sort()).toEqual(['mined.jsonl', 'set']);
    expect(readFileSync(join(large, 'mined.jsonl'), 'utf8')).toBe('earlier\n');
    expect(existsSync(join(large, 'mined.mining.json'))).toBe(false);
  });
});
