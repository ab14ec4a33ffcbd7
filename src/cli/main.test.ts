import { execFileSync, spawn } from 'node:child_process';
import { appendFileSync, existsSync, readdirSync, readFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { type CommandLineResult, MAIN, runUndrift, spawnUndrift } from '../../test/run-undrift.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { readNpy } from '../io/npy.ts';
import { specsByPath } from './commands.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Adds `json`, the one object on stdout. */
const withJson = ({ code, stdout, stderr }: CommandLineResult) => ({
  ...{ code, stdout, stderr },
  get json() {
    expect(stdout).toMatch(/^\{.*\}\n$/);
    return JSON.parse(stdout) as Record<string, unknown>;
  },
});

/** Runs `undrift …` in a folder, as it is published: built (by `test/build.ts`), and in a process of its own. */
const published = async (cwd: string, ...argv: string[]) => withJson(await spawnUndrift(argv, { cwd }));

/** Runs `undrift …` in a folder, in this process. */
const undrift = async (cwd: string, ...argv: string[]) => withJson(await runUndrift(argv, { cwd }));

const lines = (records: object[]) => records.map((record) => `${JSON.stringify(record)}\n`).join('');
const NOUNS = ['file', 'path', 'number', 'array', 'socket', 'timer', 'string', 'buffer', 'stream', 'error'];
const VERBS = ['opens', 'closes', 'reads', 'writes', 'copies', 'checks', 'sorts', 'counts'];
const documents = VERBS.flatMap((verb) => NOUNS.map((noun) => ({ verb, noun })));
const judged = (from: number, to: number) =>
  `query-id\tcorpus-id\tscore\n${documents
    .slice(from, to)
    .map((_, i) => `q${from + i}\td${from + i}\t1\n`)
    .join('')}`;

/** A small BEIR folder `set/` with 80 documents and as many queries. */
const makeData = () => ({
  'set/corpus.jsonl': lines(
    documents.map(({ verb, noun }, i) => ({ _id: `d${i}`, text: `this function ${verb} the ${noun}` })),
  ),
  'set/queries.jsonl': lines(
    documents.map(({ verb, noun }, i) => ({ _id: `q${i}`, text: `${noun} ${verb}` })),
  ),
  'set/qrels/train.tsv': judged(0, 60),
  'set/qrels/dev.tsv': judged(60, 70),
  'set/qrels/test.tsv': judged(70, 80),
});

const TINY = ['--hidden', '8', '--vocab-size', '128', '--batch-size', '8', '--threads', '1'];

describe('undrift', () => {
  it('has all commands in the build', async () => {
    const url = new URL('commands.js', pathToFileURL(MAIN)).href;
    const script = `import { specsByPath } from ${JSON.stringify(url)};
      console.log(JSON.stringify([...(await specsByPath())].map(([name, { run }]) => [name, typeof run])));`;
    const found = execFileSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
    const names = [...(await specsByPath()).keys()];
    expect(names).toContain('lm generate');
    expect(JSON.parse(found)).toEqual(names.map((name) => [name, 'function']));
  });

  it('without a command shows help on stderr and fails', async () => {
    const { code, stdout, stderr } = await published(root);
    expect(code).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toContain('Usage: undrift <command>');
  });

  it('prints its version', async () => {
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
    expect(await published(root, '--version')).toMatchObject({ code: 0, stdout: `${version}\n`, stderr: '' });
  });

  it('says what is wrong on stderr, and with --json also as an object', async () => {
    const wrong = await undrift(root, 'evall');
    expect(wrong).toMatchObject({ code: 2, stdout: '' });
    expect(wrong.stderr).toBe(
      "error: unknown command 'evall', did you mean 'eval'?\n  help: see undrift --help\n",
    );
    const failed = await published(root, 'eval', '--model', 'bm25', '--data', 'no-such-folder', '--json');
    expect(failed.code).toBe(1);
    expect(failed.stderr).toMatch(/^error: no-such-folder: no such file or folder/);
    expect(failed.stderr).not.toMatch(/\n {4}at /);
    expect(failed.json).toMatchObject({ error: { type: 'DataError' } });
  });

  it('is quiet when the reader of its output goes away', async () => {
    const folder = tempFiles(makeData());
    const child = spawn(process.execPath, [MAIN, 'search', '--model', 'bm25', '--data', 'set', 'file'], {
      cwd: folder,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    child.stdout.destroy();
    let stderr = '';
    child.stderr.on('data', (text) => {
      stderr += text;
    });
    const code = await new Promise((resolve) => child.on('close', resolve));
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  });
});

describe('data', () => {
  it('counts', async () => {
    const folder = tempFiles(makeData());
    const { code, json } = await published(folder, 'data', 'stats', 'set', '--json');
    expect(code).toBe(0);
    expect(json).toMatchObject({
      name: 'set',
      documents: 80,
      queries: 80,
      splits: { train: { queries: 60, judgements: 60, relevant: 60 }, test: { queries: 10 } },
      documentWords: { mean: 5, median: 5, p95: 5, max: 5 },
      queryWords: { mean: 2, max: 2 },
    });
    expect((await undrift(folder, 'data', 'stats', 'set')).stdout).toContain(
      '80 documents: 5 words on average',
    );
  });

  it('refuses to build api-docs over something else', async () => {
    const folder = tempFiles({ 'mine/notes.txt': 'keep me' });
    const { code, stderr } = await undrift(folder, 'data', 'api-docs', '--out', 'mine');
    expect(code).toBe(1);
    expect(stderr).toContain('is not empty and was not made by this command');
    expect(readdirSync(join(folder, 'mine'))).toEqual(['notes.txt']);
  });
});

describe('eval --model bm25', () => {
  const folder = tempFiles(makeData());
  const bm25 = (...argv: string[]) => undrift(folder, 'eval', '--model', 'bm25', '--data', 'set', ...argv);

  it('gives the metrics as JSON', async () => {
    const argv = [
      'eval',
      '--model',
      'bm25',
      '--data',
      'set',
      '--metrics',
      'ndcg@10,mrr@10,recall@5',
      '--json',
    ];
    const { code, json } = await published(folder, ...argv);
    expect(code).toBe(0);
    // Verb and noun together are in one document only.
    expect(json).toMatchObject({
      model: 'bm25',
      data: 'set',
      split: 'test',
      metrics: { 'ndcg@10': 1, 'mrr@10': 1, 'recall@5': 1 },
      queries: 10,
      documents: 80,
      missingQueries: 0,
    });
  });

  it('gives a table, a run file, and a comparison with another run', async () => {
    const first = await bm25('--run-file', 'first.run', '--split', 'dev', '--top-k', '5');
    expect(first.stdout).toMatch(
      /ndcg@10 +mrr@10 +recall@100\nbm25 +1\.0000 +1\.0000 +1\.0000\n10 queries of set\/dev/,
    );
    const rows = readFileSync(join(folder, 'first.run'), 'utf8').trimEnd().split('\n');
    expect(rows).toHaveLength(50);
    expect(rows[0]).toMatch(/^q60 Q0 d60 1 [0-9.]+ bm25$/);
    const second = await bm25('--compare', 'first.run', '--split', 'dev', '--json');
    expect(second.json).toMatchObject({
      comparison: { metric: 'ndcg@10', queries: 10, difference: 0, ties: 10 },
    });
    expect((await bm25('--compare', 'first.run', '--split', 'dev')).stdout).toContain(
      'ndcg@10 over 10 queries: bm25 1.0000, first.run 1.0000',
    );
  });

  it('takes some of the queries', async () => {
    expect((await bm25('--limit-queries', '3', '--json')).json).toMatchObject({ queries: 3 });
  });

  it('names what is wrong before it works', async () => {
    expect(await bm25('--metrics', 'ndgc@10')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('unknown metric "ndgc@10", did you mean "ndcg@10"?'),
    });
    expect(await bm25('--split', 'tset')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('splits present: train, dev, test'),
    });
    expect(await bm25('--compare', 'absent.run')).toMatchObject({ code: 1 });
    const spaced = tempFiles(makeData());
    appendFileSync(join(spaced, 'set/corpus.jsonl'), lines([{ _id: 'notes of may.md', text: 'zebra' }]));
    const argv = ['eval', '--model', 'bm25', '--data', 'set', '--run-file', 'x.run'];
    expect(await undrift(spaced, ...argv)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('the document id "notes of may.md" holds white space'),
    });
    expect(await undrift(folder, 'eval', '--model', 'absent', '--data', 'set')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('--model absent: no such folder'),
    });
    expect(await undrift(folder, 'eval', '--model', 'set', '--data', 'set')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('set: data (corpus.jsonl), not a model'),
    });
  });
});

describe('train, and what is done with its model', () => {
  const folder = tempFiles({
    ...makeData(),
    'run.json': JSON.stringify({
      data: 'set',
      'vocab-size': 128,
      batchSize: 8,
      hidden: 8,
      steps: 2,
      threads: 1,
    }),
    'texts.txt': 'opens the file\n\nsorts an array\n',
    'bad.json': '{"data": "set", "hiden": 8}',
  });

  beforeAll(async () => {
    const { code, json, stderr } = await published(
      folder,
      ...['train', '--config', 'run.json', '--out', 'run', '--steps', '6', '--eval-every', '3', '--json'],
    );
    expect(stderr).toMatch(/step 3: ndcg@10 0\.\d+.*\nstep 6: ndcg@10/);
    expect(code).toBe(0);
    // Flags win over the file.
    expect(json).toMatchObject({ out: 'run', model: join('run', 'model'), steps: 6 });
  });

  it('says what a method does, what staleness does to it, and what it has cost', async () => {
    const cache = ['--method', 'negative-cache', '--cache-size', '32', '--diagnose', '3'];
    const { code, stdout, stderr } = await undrift(
      folder,
      ...['train', '--config', 'run.json', '--out', 'cached', '--steps', '6', '--eval-every', '6', ...cache],
    );
    expect(code).toBe(0);
    expect(stderr).toContain('negative-cache: 1 negative a query drawn by the softmax');
    expect(stderr).toMatch(/from a table of 32 of 80 documents \(32 × 8 f32, 1\.00 KiB\)/);
    expect(stderr).toContain('32 before the first step, up to 16 a step; up to 128 in all');
    expect(stderr).toMatch(/step 3: 32 cached embeddings against fresh ones: staleness 0\.\d/);
    expect(stderr).toMatch(/KL\(P‖P̃\) [\d.]+, at most [\d.]+ \(range²\/8\)/);
    expect(stderr.match(/L̂/g)).toHaveLength(1);
    expect(stdout).toMatch(/\nwhat it cost\ndocuments embedded +1\d\d\n {2}positives +48 +\d+ %\n/);
    // 32 rows, 60 queries and their positives, twice.
    expect(stdout).toMatch(/\ntexts embedded for diagnosis +304\n/);
    expect(stdout).toMatch(/\ntraining time .*\n( {2}.* %\n)+evaluating /);
    const card = readFileSync(join(folder, 'cached/model/README.md'), 'utf8');
    expect(card).toMatch(/What it cost up to this model:[\s\S]*\| of which positives \| 48 \| \d+ % \|/);
    expect(card).not.toMatch(/diagnos|training time/);
    const nothing = await undrift(
      folder,
      ...['train', '--config', 'run.json', '--out', 'plain', '--diagnose', '1', '--json'],
    );
    expect(nothing.stderr).toContain('in-batch keeps no embeddings whose staleness could be measured');
    expect(nothing.json.ledger).toMatchObject({ documentEncodes: 16, positiveEncodes: 16, queryEncodes: 16 });
  });

  it('refuses to train over a run, and names faults of a config file', async () => {
    expect(await undrift(folder, 'train', '--config', 'run.json', '--out', 'run')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('run already holds a run'),
    });
    expect(await undrift(folder, 'train', '--config', 'bad.json', '--out', 'other')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining(`bad.json: unknown option "hiden", did you mean 'hidden'?`),
    });
    expect(await undrift(folder, 'train', '--out', 'other')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('--data <folder> is missing'),
    });
    expect(existsSync(join(folder, 'other'))).toBe(false);
  });

  it('goes on with a finished run by its folder alone', async () => {
    const { code, json } = await undrift(
      folder,
      'train',
      '--out',
      'run',
      '--resume',
      '--threads',
      '1',
      '--json',
    );
    expect(code).toBe(0);
    expect(json).toMatchObject({ steps: 6 });
    expect(await undrift(folder, 'train', '--out', 'run', '--resume', '--lr', '1')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('was started with other settings'),
    });
    expect(await undrift(folder, 'train', '--out', 'run', '--resume', '--steps', '9')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('start another run from its model: --model run and another --out'),
    });
  });

  it('evaluates the run and its model folder alike', async () => {
    const evaluate = (model: string) =>
      undrift(folder, 'eval', '--model', model, '--data', 'set', '--threads', '1', '--json');
    const [run, model] = [await evaluate('run'), await evaluate(join('run', 'model'))];
    expect(run.json).toMatchObject({ queries: 10, documents: 80 });
    expect(model.json.metrics).toEqual(run.json.metrics);
  });

  it('encodes lines as JSON and as .npy, equally', async () => {
    const words = ['encode', '--model', 'run', '--input', 'texts.txt', '--threads', '1'];
    const encode = (...argv: string[]) => undrift(folder, ...words, ...argv);
    const { embeddings, dimension } = (await published(folder, ...words, '--json')).json as {
      embeddings: number[][];
      dimension: number;
    };
    expect(dimension).toBe(8);
    expect(embeddings.map((vector) => vector.length)).toEqual([8, 8, 8]);
    expect(Math.hypot(...embeddings[0]!)).toBeCloseTo(1, 5);
    expect(await encode('--out', 'texts.npy', '--json')).toMatchObject({ code: 0 });
    const { dims, data } = await readNpy(join(folder, 'texts.npy'));
    expect(dims).toEqual([3, 8]);
    expect([...Float32Array.from(embeddings.flat())]).toEqual([...(data as Float32Array)]);
    expect(existsSync(join(folder, 'texts.ids.txt'))).toBe(false);
    expect((await encode()).stdout.split('\n')[0]!.split(' ').map(Number)).toEqual(embeddings[0]);
  });

  it('encodes a data set with its ids, for search to use', async () => {
    const model = ['--model', 'run', '--threads', '1'];
    const { json } = await undrift(
      folder,
      'encode',
      ...model,
      '--data',
      'set',
      '--out',
      'docs.npy',
      '--json',
    );
    expect(json).toMatchObject({ out: 'docs.npy', ids: 'docs.ids.txt', rows: 80, dimension: 8 });
    expect(readFileSync(join(folder, 'docs.ids.txt'), 'utf8').split('\n')[79]).toBe('d79');
    const search = (...argv: string[]) =>
      undrift(
        folder,
        'search',
        ...model,
        '--data',
        'set',
        '--top-k',
        '3',
        'opens',
        'the file',
        '--json',
        ...argv,
      );
    const fresh = await search();
    const results = fresh.json.results as { rank: number; score: number; id: string; text: string }[];
    expect(results.map(({ rank }) => rank)).toEqual([1, 2, 3]);
    expect(fresh.json.query).toBe('opens the file');
    expect((await search('--embeddings', 'docs.npy')).json).toEqual(fresh.json);
    await undrift(folder, 'encode', ...model, '--input', 'texts.txt', '--out', 'texts.npy');
    expect(await search('--embeddings', 'texts.npy')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(
        'texts.npy: holds f32[3, 8], but 80 documents of this model are f32[80, 8]',
      ),
    });
  });

  it('refuses what makes no sense', async () => {
    const encode = (...argv: string[]) => undrift(folder, 'encode', '--model', 'run', ...argv);
    expect(await encode('--json')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('--input or --data is missing'),
    });
    expect(await encode('--input', 'texts.txt', '--out', 'texts.csv')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('--out should be a file name ending in .npy, found "texts.csv"'),
    });
    expect(await encode('--input', 'absent.txt', '--out', 'absent.npy')).toMatchObject({ code: 1 });
    // Nothing is left of what was begun.
    expect(readdirSync(folder).filter((name) => name.startsWith('absent'))).toEqual([]);
  });

  it('refuses JSON of a size that nobody can read', async () => {
    const many = tempFiles({ ...makeData(), 'many.txt': 'opens the file\n'.repeat(8000) });
    const wide = await undrift(
      many,
      ...[
        'train',
        '--data',
        'set',
        '--out',
        'wide',
        '--steps',
        '1',
        ...TINY,
        '--projection',
        '512',
        '--quiet',
      ],
    );
    expect(wide).toMatchObject({ code: 0, stderr: '' });
    expect(await undrift(many, 'encode', '--model', 'wide', '--data', 'many.txt', '--json')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('--out vectors.npy'),
    });
  });
});

describe('search for a long text', () => {
  const folder = tempFiles(makeData());
  const long = 'opens the file '.repeat(80_000);
  beforeAll(async () => {
    await undrift(folder, 'train', '--data', 'set', '--out', 'run', '--steps', '1', ...TINY);
  });
  const search = (input: string | Buffer) =>
    spawnUndrift(
      [
        ...['search', '--model', 'run', '--data', 'set'],
        ...['--threads', '1', '--top-k', '3', '--json', '-'],
      ],
      { cwd: folder, input },
    );

  it('reads it from stdin, a megabyte as well', async () => {
    const { code, stdout } = await search(long);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      query: long,
      results: [{ rank: 1 }, { rank: 2 }, { rank: 3 }],
    });
    expect(await search(Buffer.from([0x63, 0x61, 0x66, 0xe9]))).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('stdin: not UTF-8'),
    });
    expect(await search('')).toMatchObject({ code: 2 });
  });

  it('refuses a command line that onnxruntime does not survive', async () => {
    const text = long.slice(0, 60_000);
    expect(await published(folder, 'search', '--model', 'run', '--data', 'set', text)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('give the text on stdin'),
    });
  });
});

describe('search --model bm25', () => {
  it('shows rank, score, id and an excerpt of lines of text', async () => {
    const folder = tempFiles({ 'notes.txt': `zebra crossing\n\n${'long '.repeat(100)}giraffe\n` });
    const search = (...argv: string[]) =>
      undrift(folder, 'search', '--model', 'bm25', '--corpus', 'notes.txt', ...argv);
    expect((await search('giraffe')).stdout).toMatch(/^ 1 {2}\d\.\d{4} {2}3\n {4}(long )+lo?n?g?…\n$/);
    expect((await search('hippo')).stdout).toBe('no document has a word of the query\n');
    expect((await search('hippo', '--json')).json).toMatchObject({ results: [], documents: 2 });
    expect(await search('  ')).toMatchObject({ code: 2 });
    expect(await search('zebra', '--data', 'x')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('--data and --corpus exclude each other'),
    });
  });
});

describe('Ctrl-C', () => {
  it('saves a training run', async () => {
    const folder = tempFiles(makeData());
    const train = ['train', '--data', 'set', '--out', 'run', ...TINY, '--eval-every', '2'];
    const child = spawn(process.execPath, [MAIN, ...train, '--steps', '1000000'], { cwd: folder });
    let stderr = '';
    child.stderr.on('data', (text) => {
      if (stderr.includes('step 4:') === false && `${stderr}${text}`.includes('step 4:'))
        child.kill('SIGINT');
      stderr += text;
    });
    const code = await new Promise((resolve) => child.on('close', resolve));
    expect(code).toBe(130);
    expect(stderr).toMatch(
      /stopping; press Ctrl-C again.*stopped after step \d+ of 1000000; everything is saved/s,
    );
    expect(stderr).not.toContain('    at ');
    expect(existsSync(join(folder, 'run', 'checkpoint'))).toBe(true);
  });

  it.skipIf(process.platform === 'win32')('stops other commands at their next step', async () => {
    const folder = tempFiles(makeData());
    await undrift(folder, 'train', '--data', 'set', '--out', 'run', '--steps', '1', ...TINY);
    execFileSync('mkfifo', [join(folder, 'texts')]);
    const argv = ['encode', '--model', 'run', '--input', 'texts', '--out', 'texts.npy'];
    const child = spawn(process.execPath, [MAIN, ...argv], {
      cwd: folder,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const closed = new Promise((resolve) => child.on('close', resolve));
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (text) => {
        output += text;
      });
    }
    // Opens when the command opens its end: it is at work then, and waits for texts.
    const texts = await open(join(folder, 'texts'), 'w');
    child.kill('SIGINT');
    await texts.writeFile('opens the file\n');
    await texts.close();
    expect(await closed).toBe(130);
    expect(output).toBe('interrupted\n');
    // Nothing half-written is left.
    expect(readdirSync(folder).sort()).toEqual(['run', 'set', 'texts']);
  });
});

describe('doctor', () => {
  it('reports devices, speed and what is missing', async () => {
    const { code, json } = await published(root, 'doctor', '--json', '--threads', '1');
    expect(code).toBe(0);
    expect(json).toMatchObject({
      ok: true,
      node: process.version,
      onnxruntime: expect.stringMatching(/^\d+\.\d+/),
    });
    const devices = json.devices as { device: string; works: boolean; reason?: string }[];
    expect(devices.map(({ device }) => device)).toEqual(['cpu', 'webgpu', 'cuda']);
    expect(devices[0]!.works).toBe(true);
    for (const { works, reason } of devices) expect(typeof reason).toBe(works ? 'undefined' : 'string');
    const missing = json.missing as { what: string; how: string }[];
    expect(missing.length).toBeGreaterThanOrEqual(devices.filter(({ works }) => !works).length);
    expect((json.gemm as { gflops: number }).gflops).toBeGreaterThan(0.5);
  });
});
