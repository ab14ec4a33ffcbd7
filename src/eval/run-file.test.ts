import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readQrels } from '../data/qrels.ts';
import { DataError, UndriftError } from '../util/errors.ts';
import { randomInts, rngKey } from '../util/rng.ts';
import { evaluate, type Qrels } from './metrics.ts';
import { writeQrelsFile } from './qrels-file.ts';
import type { Run } from './ranking.ts';
import { readRunFile, writeRunFile } from './run-file.ts';

let folder: string;
let file: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'undrift-run-'));
  file = join(folder, 'run.txt');
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const run: Run = new Map([
  [
    'q-é',
    [
      { docId: 'a', score: 0.1 },
      { docId: '文書', score: 0.1 + 2 ** -56 },
      { docId: 'b', score: 0.1 },
    ],
  ],
  [
    'q2',
    [
      { docId: 'a\u00b7b', score: -1.5e-40 },
      { docId: '#1', score: Infinity },
      { docId: 'z', score: -Infinity },
    ],
  ],
]);

describe('writeRunFile and readRunFile', () => {
  it('write what trec_eval reads, in its order', async () => {
    await writeRunFile(file, run, { tag: 'bm25' });
    expect(await readFile(file, 'utf8')).toBe(
      'q-é Q0 文書 1 0.10000000000000002 bm25\nq-é Q0 b 2 0.1 bm25\nq-é Q0 a 3 0.1 bm25\n' +
        'q2 Q0 #1 1 inf bm25\nq2 Q0 a·b 2 -1.5e-40 bm25\nq2 Q0 z 3 -inf bm25\n',
    );
  });

  it('give back every score to the last bit', async () => {
    const bits = new Uint32Array(4000);
    randomInts(rngKey(1, 0, 'test'), 2 ** 32, bits);
    const doubles = [...new Float64Array(bits.buffer)].filter(Number.isFinite);
    const results = doubles.map((score, i) => ({ docId: `d${i}`, score }));
    await writeRunFile(file, new Map([['q', results]]));
    const read = new Map((await readRunFile(file)).get('q')!.map(({ docId, score }) => [docId, score]));
    expect(results.length).toBeGreaterThan(1900);
    for (const { docId, score } of results) expect(read.get(docId)).toBe(score);
  });

  it('keep the evaluation as it was', async () => {
    const qrels: Qrels = new Map(
      [...run.keys()].map((q) => [
        q,
        new Map([
          ['a', 1],
          ['文書', 2],
          ['z', 1],
        ]),
      ]),
    );
    const options = { metrics: ['ndcg@10', 'map', 'mrr'] };
    await writeRunFile(file, run);
    expect(evaluate(qrels, await readRunFile(file), options)).toEqual(evaluate(qrels, run, options));
    await writeRunFile(file, run, { format: 'msmarco' });
    expect(evaluate(qrels, await readRunFile(file), options)).toEqual(evaluate(qrels, run, options));
  });

  it('take a stream of queries', async () => {
    async function* search() {
      for (let q = 0; q < 3; q++) yield [`q${q}`, [{ docId: 'd', score: q }]] as const;
    }
    await writeRunFile(file, search());
    expect([...(await readRunFile(file)).keys()]).toEqual(['q0', 'q1', 'q2']);
  });

  it('write MS MARCO runs, and read their ranks as scores', async () => {
    await writeRunFile(file, run, { format: 'msmarco' });
    expect((await readFile(file, 'utf8')).split('\n')[1]).toBe('q-é\tb\t2');
    expect((await readRunFile(file)).get('q2')).toEqual([
      { docId: '#1', score: -1 },
      { docId: 'a·b', score: -2 },
      { docId: 'z', score: -3 },
    ]);
  });

  it.each([
    [
      'a space in a document id',
      [['q', [{ docId: 'a b', score: 1 }]]],
      /document id "a b" holds white space/,
    ],
    ['a tab in a query id', [['q\t1', [{ docId: 'a', score: 1 }]]], /query id "q\\t1" holds white space/],
    ['a no-break space', [['q', [{ docId: 'a\u00a0b', score: 1 }]]], /holds white space/],
    ['an empty id', [['q', [{ docId: '', score: 1 }]]], /document id "" is empty/],
    ['a comment mark', [['#q', [{ docId: 'a', score: 1 }]]], /begins with "#"/],
    ['half a character', [['q', [{ docId: 'a\ud800', score: 1 }]]], /half a surrogate pair/],
    ['NaN', [['q', [{ docId: 'a', score: Number.NaN }]]], /score of document "a" is not a number/],
    [
      'a document twice',
      [
        [
          'q',
          [
            { docId: 'a', score: 1 },
            { docId: 'a', score: 2 },
          ],
        ],
      ],
      /lists document "a" twice/,
    ],
    [
      'a query twice',
      [
        ['q', [{ docId: 'a', score: 1 }]],
        ['q', []],
      ],
      /query "q" occurs twice/,
    ],
  ] as [string, [string, { docId: string; score: number }[]][], RegExp][])(
    'refuse to write %s and leave the old file',
    async (_, bad, message) => {
      await writeFile(file, 'old');
      const entries: typeof bad = [['fine', [{ docId: 'a', score: 1 }]], ...bad];
      const act = writeRunFile(file, entries);
      await expect(act).rejects.toThrow(UndriftError);
      await expect(act).rejects.toThrow(message);
      expect(await readdir(folder)).toEqual(['run.txt']);
      expect(await readFile(file, 'utf8')).toBe('old');
    },
  );

  it('refuse a tag with a space', async () => {
    await expect(writeRunFile(file, run, { tag: 'my run' })).rejects.toThrow(
      /tag "my run" holds white space/,
    );
  });
});

describe('readRunFile', () => {
  it('reads tabs, CRLF, blank lines, comments, a byte order mark and gzip', async () => {
    const text = '\ufeffq1\tQ0  d1\t1\t2.5 tag\r\n\r\n# comment\n  q1 Q0 d2 1 +.5e1 tag\nq2 Q0 d1 1 -3. tag';
    await writeFile(file, text);
    const expected = new Map([
      [
        'q1',
        [
          { docId: 'd1', score: 2.5 },
          { docId: 'd2', score: 5 },
        ],
      ],
      ['q2', [{ docId: 'd1', score: -3 }]],
    ]);
    expect(await readRunFile(file)).toEqual(expected);
    await writeFile(`${file}.gz`, gzipSync(text));
    expect(await readRunFile(`${file}.gz`)).toEqual(expected);
  });

  it('reads queries in pieces', async () => {
    await writeFile(file, 'q1 Q0 a 1 3 t\nq2 Q0 a 1 3 t\nq1 Q0 b 2 2 t\nq2 Q0 b 2 2 t\nq1 Q0 c 3 1 t\n');
    const read = await readRunFile(file);
    expect(read.get('q1')!.map(({ docId }) => docId)).toEqual(['a', 'b', 'c']);
    await writeFile(file, 'q1 Q0 a 1 3 t\nq2 Q0 a 1 3 t\nq1 Q0 b 2 2 t\nq2 Q0 b 2 2 t\nq1 Q0 a 3 1 t\n');
    await expect(readRunFile(file)).rejects.toThrow(/run\.txt:5: document "a" occurs twice for query "q1"/);
  });

  it.each([
    ['five columns', 'q Q0 d 1 2 t\nq Q0 e 1 2\n', /run\.txt:2: expected 6 columns, found 5/],
    ['an id with a space', 'q Q0 d 1 2 t\nq Q0 e f 1 2 t\n', /:2: expected 6 columns, found 7/],
    ['a word for a score', 'q Q0 d 1 high t\n', /:1: the score "high" is not a number/],
    ['NaN', 'q Q0 d 1 nan t\n', /:1: the score "nan"/],
    ['a hexadecimal score', 'q Q0 d 1 0x10 t\n', /the score "0x10"/],
    ['a document twice', 'q Q0 d 1 3 t\nq Q0 d 2 2 t\n', /:2: document "d" occurs twice for query "q"/],
    ['an MS MARCO rank twice', 'q\td\t1\nq\te\t1\n', /:2: rank 1 occurs twice for query "q"/],
    ['an MS MARCO rank of 0', 'q\td\t0\n', /:1: the rank "0" is not a whole number/],
    ['mixed formats', 'q\td\t1\nq Q0 e 2 1 t\n', /:2: expected 3 columns, found 6/],
    ['nothing', '\n# only a comment\n', /run\.txt: holds no results/],
    ['a NUL', 'q Q0 d 1 2 t\nq Q0 \0 1 2 t\n', /:2: a NUL byte/],
    ['other encodings', Buffer.from('q Q0 d 1 2 t\nq Q0 \xe9 1 2 t\n', 'latin1'), /:2: not UTF-8/],
    ['an endless line', 'x'.repeat(2_000_000), /:1: the line is longer/],
  ])('refuses %s', async (_, content, message) => {
    await writeFile(file, content);
    const act = readRunFile(file);
    await expect(act).rejects.toThrow(DataError);
    await expect(act).rejects.toThrow(message);
  });

  it('refuses a file that is not there', async () => {
    await expect(readRunFile(join(folder, 'none'))).rejects.toThrow(DataError);
    await expect(readRunFile(folder)).rejects.toThrow(DataError);
  });

  it('refuses a file in another format than asked for', async () => {
    await writeFile(file, 'q\td\t1\n');
    await expect(readRunFile(file, { format: 'trec' })).rejects.toThrow(/expected 6 columns, found 3/);
  });
});

describe('qrels files', () => {
  const qrels: Qrels = new Map([
    [
      'q-é',
      new Map([
        ['a', 2],
        ['文書', 0],
        ['b', -1],
      ]),
    ],
    ['q2', new Map([['a', 1]])],
  ]);

  it('are written and read back', async () => {
    await writeQrelsFile(file, qrels);
    expect(await readFile(file, 'utf8')).toBe('q-é 0 a 2\nq-é 0 文書 0\nq-é 0 b -1\nq2 0 a 1\n');
    expect(await readQrels(file)).toEqual(qrels);
  });

  it.each([
    ['a space in an id', new Map([['q', new Map([['a b', 1]])]]), /document id "a b" holds white space/],
    ['a fractional grade', new Map([['q', new Map([['a', 0.5]])]]), /grade 0.5 is not a whole number/],
  ])('refuse to write %s', async (_, bad, message) => {
    await expect(writeQrelsFile(file, bad)).rejects.toThrow(message);
    expect(await readdir(folder)).toEqual([]);
  });
});

describe('damaged bytes', () => {
  it.each([
    ['TREC run', () => writeRunFile(file, run), readRunFile],
    ['MS MARCO run', () => writeRunFile(file, run, { format: 'msmarco' }), readRunFile],
  ] as [string, () => Promise<void>, (file: string) => Promise<Map<string, unknown>>][])(
    'in a %s give an error of ours or a result, never anything else',
    async (_, write, read) => {
      await write();
      const good = await readFile(file);
      const words = new Uint32Array(400 * 12);
      randomInts(rngKey(2, 0, 'fuzz'), 2 ** 32, words);
      let failures = 0;
      for (let trial = 0; trial < 400; trial++) {
        let bytes = Buffer.from(trial % 3 === 0 ? gzipSync(good) : good);
        const draw = words.subarray(trial * 12, trial * 12 + 12);
        for (let i = 0; i <= trial % 4; i++) {
          const at = draw[3 * i]! % bytes.length;
          const value = draw[3 * i + 1]! % 256;
          if (draw[3 * i + 2]! % 4 === 0) bytes = bytes.subarray(0, Math.max(1, at));
          else if (draw[3 * i + 2]! % 4 === 1)
            bytes = Buffer.concat([bytes.subarray(0, at), Buffer.of(value), bytes.subarray(at)]);
          else bytes[at] = value;
        }
        await writeFile(file, bytes);
        try {
          expect(await read(file)).toBeInstanceOf(Map);
        } catch (error) {
          failures++;
          expect(error).toBeInstanceOf(DataError);
        }
      }
      expect(failures).toBeGreaterThan(100);
    },
  );
});
