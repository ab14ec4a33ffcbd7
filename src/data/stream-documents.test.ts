import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { tempFiles } from '../../test/temp-files.ts';
import { joinTitle } from './corpus.ts';
import { loadCorpus, loadQueries } from './documents.ts';
import { type StreamedDocument, streamDocuments, streamQueries } from './stream-documents.ts';

async function all(path: string, options = {}): Promise<StreamedDocument[]> {
  const found: StreamedDocument[] = [];
  for await (const document of streamDocuments(path, options)) found.push(document);
  return found;
}

const lines = (...records: object[]) => `${records.map((record) => JSON.stringify(record)).join('\n')}\n`;

describe('documents as a stream', () => {
  it('are those of a corpus, with the fields that have no role', async () => {
    const folder = tempFiles({
      'corpus.jsonl': lines(
        { _id: 'a', title: 'T', text: 'x', metadata: { year: 2020 }, lang: 'en', none: null },
        { _id: 'b', text: 'y' },
      ),
      'queries.jsonl': lines({ _id: 'q', text: 'z' }),
      'qrels/test.tsv': 'query-id\tcorpus-id\tscore\nq\ta\t1\n',
    });
    const file = join(folder, 'corpus.jsonl');
    expect(await all(folder)).toEqual([
      { id: 'a', title: 'T', text: 'x', file, line: 1, metadata: { year: 2020, lang: 'en' } },
      { id: 'b', title: undefined, text: 'y', file, line: 2, metadata: undefined },
    ]);
  });

  const PAIRS = lines(
    { query: 'q', positive: [{ title: 'T', text: 'one' }, 'two'], negative: 'three' },
    { query: 'r', positive: 'two', negative: ['T one', 'four'] },
    { query: 'q', positive: 'five' },
  );
  const CSV_PAIRS = 'question,answer,label\nq,one,1\nr,one,0\nr,two,1\nq,two,1\n';
  const SCORED = lines(
    { sentence1: 'a', sentence2: 'b', score: 0.5 },
    { sentence1: 'c', sentence2: 'b', score: 1 },
    { sentence1: 'a', sentence2: 'd', score: 0 },
  );
  const LAYOUTS: [name: string, files: Record<string, string | Uint8Array>, path: string][] = [
    ['JSONL without ids', { 'docs.jsonl': lines({ text: 'one', year: 1 }, { text: 'two' }) }, 'docs.jsonl'],
    ['CSV', { 'docs.csv': 'id,text,year\na,one,1\nb,two,2\n' }, 'docs.csv'],
    ['plain text', { 'docs.txt': 'one\n\ntwo\n' }, 'docs.txt'],
    ['plain text in gzip', { 'docs.txt.gz': gzipSync('one\n\ntwo\n') }, 'docs.txt.gz'],
    ['TSV without a header', { 'docs.tsv': 'a\tone\nb\ttwo\n' }, 'docs.tsv'],
    [
      'a folder of tables and texts',
      {
        'in/docs.jsonl': lines({ text: 'one' }),
        'a.csv': 'id,title,text\nx,T,two\n',
        'n.md': '# H\n\nthree',
      },
      '.',
    ],
    ['one table beside a README', { 'docs.jsonl': lines({ text: 'one' }), 'README.md': 'About.' }, '.'],
    ['pairs', { 'pairs.jsonl': PAIRS }, 'pairs.jsonl'],
    ['pairs in CSV', { 'pairs.csv': CSV_PAIRS }, 'pairs.csv'],
    [
      'pairs by split',
      { 'train.jsonl': PAIRS, 'test.jsonl': lines({ query: 'z', positive: 'six', negative: 'two' }) },
      '.',
    ],
    ['scored pairs', { 'sts.jsonl': SCORED }, 'sts.jsonl'],
    [
      'MS MARCO',
      {
        'collection.tsv': '7\tone\n9\ttwo\n',
        'queries.train.tsv': '1\tq\n2\tr\n',
        'queries.dev.tsv': '2\tr\n3\ts\n',
        'qrels.train.tsv': '1\t0\t7\t1\n',
        'qrels.dev.tsv': '3\t0\t9\t1\n',
      },
      '.',
    ],
    [
      'BEIR in parts',
      {
        'corpus/a.jsonl': lines({ _id: 'a', title: 'T', text: 'x' }),
        'corpus/b.csv': '_id,text\nb,y\n',
        'queries.jsonl': lines({ _id: 'q', text: 'z' }),
        'qrels/test.tsv': 'query-id\tcorpus-id\tscore\nq\ta\t1\n',
      },
      '.',
    ],
    [
      'text and Markdown',
      {
        'a.md': '# Guide\n\nOne sentence.\n\n## Install\n\nAnother.\n',
        'b/c.txt': 'Plain text.\n',
        'd.png': '\0',
      },
      '.',
    ],
    ['one Markdown file', { 'a.md': '# Guide\n\nOne sentence.\n' }, 'a.md'],
  ];

  it.each(LAYOUTS)('have the ids and texts of the corpus, for %s', async (_, files, path) => {
    const source = join(tempFiles(files), path);
    const [read, streamed]: [string[], string[]] = [[], []];
    const corpus = await loadCorpus(source, { onNote: (note) => read.push(note) });
    const expected = Array.from({ length: corpus.size }, (_, row) => [corpus.id(row), corpus.text(row)]);
    const found = await all(source, { onNote: (note: string) => streamed.push(note) });
    expect(found.map(({ id, title, text }) => [id, joinTitle(title, text)])).toEqual(expected);
    expect(streamed.filter((note) => /passages|skipped/.test(note))).toEqual(
      read.filter((note) => /passages|skipped/.test(note)),
    );
  });

  it.each(LAYOUTS)('are the queries that are loaded, for %s', async (_, files, path) => {
    const source = join(tempFiles(files), path);
    const corpus = await loadQueries(source);
    const expected = Array.from({ length: corpus.size }, (_, row) => [corpus.id(row), corpus.text(row)]);
    const found: string[][] = [];
    for await (const { id, title, text } of streamQueries(source)) found.push([id, joinTitle(title, text)]);
    expect(found).toEqual(expected);
  });

  it('keep the titles of pairs and of texts apart from the text', async () => {
    const folder = tempFiles({
      'pairs.jsonl': PAIRS,
      'notes/a.md': '# Guide\n\n## Install\n\nOne sentence.\n',
    });
    expect((await all(join(folder, 'pairs.jsonl')))[0]).toMatchObject({
      id: 'd0',
      title: 'T',
      text: 'one',
      line: 1,
    });
    const file = join(folder, 'notes/a.md');
    expect(await all(join(folder, 'notes'))).toEqual([
      { id: 'a.md#1', title: 'Guide > Install', text: 'One sentence.', file },
    ]);
  });

  it.each([
    ['docs.jsonl', lines({ id: 'a', text: 'one' }, { id: 'b', text: 'two' }, { id: 'a', text: 'three' }), 3],
    ['docs.tsv', 'a\tone\na\ttwo\n', 2],
  ])('are refused where an id occurs twice, in %s', async (name, text, line) => {
    const path = join(tempFiles({ [name]: text }), name);
    await expect(all(path)).rejects.toThrow(`${name}:${line}: document id "a" was used before`);
  });

  it('are refused where there is none, as a corpus is', async () => {
    const folder = tempFiles({ 'empty.jsonl': '', 'notes/x.png': 'x', 'none.jsonl': lines({ query: 'q' }) });
    for (const name of ['empty.jsonl', 'notes', 'none.jsonl', 'absent.jsonl']) {
      const path = join(folder, name);
      const refusal = await loadCorpus(path).catch((error: Error) => error.message);
      expect(await all(path).catch((error: Error) => error.message)).toBe(refusal);
      expect(refusal).toEqual(expect.any(String));
    }
  });

  it('take the columns that are chosen', async () => {
    const path = join(tempFiles({ 'faq.csv': 'key,answer,year\nk1,one,2020\n' }), 'faq.csv');
    const [found] = await all(path, { columns: { id: 'key', text: 'answer' } });
    expect(found).toMatchObject({ id: 'k1', text: 'one', metadata: { year: '2020' } });
  });

  it('end with an error that names bad rows, or leave them out', async () => {
    const path = join(
      tempFiles({ 'docs.jsonl': lines({ text: 'one' }, { text: 3 }, { text: 'two' }) }),
      'docs.jsonl',
    );
    await expect(all(path)).rejects.toThrow(/docs.jsonl:2: field "text" should be a string/);
    const notes: string[] = [];
    const found = await all(path, { skipBadRows: 1, onNote: (note: string) => notes.push(note) });
    expect(found.map(({ text }) => text)).toEqual(['one', 'two']);
    expect(notes).toEqual([expect.stringMatching(/left out 1 bad row/)]);
  });
});
