import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { tempFiles } from '../../test/temp-files.ts';
import { Tokenizer } from '../text/tokenizer.ts';
import { SpillFile } from '../util/spill-file.ts';
import { streamTextCorpus, type TextDocument } from './text-corpus.ts';
import { tokenizeCorpus } from './token-corpus.ts';

const tokenizer = Tokenizer.fromFile(new URL('../text/fixtures/wordpiece.json', import.meta.url).pathname);
const lines = (...records: object[]) => `${records.map((record) => JSON.stringify(record)).join('\n')}\n`;

async function read(...given: Parameters<typeof streamTextCorpus>): Promise<TextDocument[]> {
  const found: TextDocument[] = [];
  for await (const document of streamTextCorpus(...given)) found.push(document);
  return found;
}

describe('a corpus of texts', () => {
  it('is read from JSONL, plain or gzip, with ids and titles', async () => {
    const text = lines({ id: 7, title: 'T', text: 'one\ntwo', url: 'u' }, { id: 'b', title: '', text: 'x' });
    const folder = tempFiles({ 'a.jsonl': text, 'b.jsonl.gz': gzipSync(text) });
    const expected = [
      { id: '7', title: 'T', text: 'one\ntwo' },
      { id: 'b', text: 'x' },
    ];
    expect(await read(join(folder, 'a.jsonl'))).toEqual(expected);
    expect(await read(join(folder, 'b.jsonl.gz'))).toEqual(expected);
  });

  it('numbers records without ids, and takes the column that is asked for', async () => {
    const file = join(tempFiles({ 'a.jsonl': lines({ body: 'one' }, { body: 'two' }) }), 'a.jsonl');
    expect(await read(file, { columns: { text: 'body' } })).toEqual([
      { id: '1', text: 'one' },
      { id: '2', text: 'two' },
    ]);
  });

  it('takes a text file as one document, whatever its name', async () => {
    const text = 'First line.\n\nSecond line.\n';
    const folder = tempFiles({
      'a.txt': text,
      'b.raw': text,
      'c.txt.gz': gzipSync(text),
      'd.md': `# H\n\n${text}`,
    });
    expect(await read(join(folder, 'a.txt'))).toEqual([{ id: 'a.txt', text }]);
    expect(await read(join(folder, 'b.raw'))).toEqual([{ id: 'b.raw', text }]);
    expect(await read(join(folder, 'c.txt.gz'))).toEqual([{ id: 'c.txt.gz', text }]);
    expect(await read(join(folder, 'd.md'))).toEqual([{ id: 'd.md', text: `# H\n\n${text}` }]);
  });

  it('takes each text file of a folder as one document', async () => {
    const notes: string[] = [];
    const folder = tempFiles({ 'a.txt': 'one\ntwo', 'in/b.md.gz': gzipSync('# three'), 'c.bin': 'x' });
    expect(await read(folder, { onNote: (note) => notes.push(note) })).toEqual([
      { id: 'a.txt', text: 'one\ntwo' },
      { id: 'in/b.md.gz', text: '# three' },
    ]);
    expect(notes[0]).toBe('2 files of text, each read as one document');
  });

  it('leaves blank documents out and says so', async () => {
    const notes: string[] = [];
    const file = join(
      tempFiles({ 'a.jsonl': lines({ id: 'a', text: ' \n' }, { id: 'b', text: 'x' }) }),
      'a.jsonl',
    );
    const options = { onNote: (note: string) => notes.push(note) };
    expect(await read(file, options)).toEqual([{ id: 'b', text: 'x' }]);
    expect(notes).toEqual(['left out documents without text: a']);
    expect(await read({ texts: ['', 'one', { id: 'x', text: 'two' }] }, options)).toEqual([
      { id: '2', text: 'one' },
      { id: '3', text: 'two' },
    ]);
  });

  it('refuses ids that occur twice, records without a text, and data of pairs in memory', async () => {
    const folder = tempFiles({
      'twice.jsonl': lines({ id: 'a', text: 'x' }, { id: 'a', text: 'y' }),
      'lacks.jsonl': lines({ id: 'a', text: 'x' }, { id: 'b' }),
      'latin.txt': Buffer.from([0x66, 0xe9, 0x0a]),
    });
    await expect(read(join(folder, 'twice.jsonl'))).rejects.toThrow(
      /twice.jsonl:2: document id "a" was used before/,
    );
    await expect(read(join(folder, 'lacks.jsonl'))).rejects.toThrow(/lacks.jsonl:2/);
    await expect(read(join(folder, 'latin.txt'))).rejects.toThrow(/latin.txt:1: not UTF-8/);
    await expect(read({ pairs: [] } as never)).rejects.toThrow('should have texts');
  });
});

describe('tokens of a corpus', () => {
  const documents: TextDocument[] = [
    { id: 'a', text: 'dense retriever' },
    { id: 'é', text: 'a  cache, of é' },
  ];

  it('keeps ids, tokens, bytes and words of each document', async () => {
    const spill = SpillFile.create(mkdtempSync(join(tmpdir(), 'corpus-')));
    for (const corpus of [
      await tokenizeCorpus(documents, tokenizer),
      await tokenizeCorpus(documents, tokenizer, { spill }),
    ]) {
      expect([corpus.ids.size, corpus.ids.get(0), corpus.ids.get(1)]).toEqual([2, 'a', 'é']);
      for (const [row, { text }] of documents.entries())
        expect([...corpus.tokens.tokens(row)]).toEqual([...tokenizer.encodeRaw(text)]);
      expect([...corpus.bytes]).toEqual([15, 15]);
      expect([...corpus.words]).toEqual([2, 4]);
      expect(corpus.fingerprint).toMatch(/^[0-9a-f]{16}$/);
    }
    spill.close();
  });

  it('has a fingerprint of ids and texts, and stops after the tokens asked for', async () => {
    const one = await tokenizeCorpus(documents, tokenizer);
    const other = await tokenizeCorpus([{ ...documents[0]!, id: 'ad' }, documents[1]!], tokenizer);
    expect(other.fingerprint).not.toBe(one.fingerprint);
    const short = await tokenizeCorpus(documents, tokenizer, { limitTokens: 1 });
    expect([short.tokens.rows, short.ids.size]).toEqual([1, 1]);
  });
});
