import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { tempFiles } from '../../test/temp-files.ts';
import { loadCorpus } from './documents.ts';
import { type StreamedDocument, streamDocuments } from './stream-documents.ts';

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

  it.each([
    ['docs.jsonl', lines({ text: 'one', year: 1 }, { text: 'two' })],
    ['docs.csv', 'id,text,year\na,one,1\nb,two,2\n'],
    ['docs.txt', 'one\n\ntwo\n'],
    ['pairs.jsonl', lines({ query: 'q', positive: 'one' }, { query: 'r', positive: 'two' })],
    ['docs.tsv', 'a\tone\nb\ttwo\n'],
  ])('have ids and texts as %s is read as a corpus', async (name, text) => {
    const path = join(tempFiles({ [name]: text }), name);
    const corpus = await loadCorpus(path);
    const expected = Array.from({ length: corpus.size }, (_, row) => [corpus.id(row), corpus.text(row)]);
    expect((await all(path)).map(({ id, text }) => [id, text])).toEqual(expected);
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
