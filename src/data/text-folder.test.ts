import { symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { tempFiles } from '../../test/temp-files.ts';
import { loadAnyData } from './any-data.ts';
import { loadCorpus } from './documents.ts';
import type { LoadOptions } from './load-options.ts';
import { streamDocuments } from './stream-documents.ts';
import { loadTexts } from './texts.ts';

const folder = () =>
  tempFiles({
    'b/two.txt': 'Second file.\r\nOne more line.',
    'a.md': '\ufeff# Title\n\nFirst file.\n\n## Part\n\nMore.',
    'logo.png': Uint8Array.of(0x89, 0x50, 0),
    'faq.csv': 'question,answer\na,b\n',
    'bin.txt': Uint8Array.of(0x41, 0, 0x42),
    '.hidden/x.md': 'hidden',
    'node_modules/p/readme.md': 'foreign',
  });

async function read(path: string, options: LoadOptions = {}) {
  const notes: string[] = [];
  const corpus = await loadCorpus(path, { ...options, onNote: (note) => notes.push(note) });
  return {
    texts: Array.from({ length: corpus.size }, (_, row) => [corpus.id(row), corpus.text(row)]),
    notes,
  };
}

describe('a folder of text and Markdown', () => {
  it('is a corpus of passages with the paths of their files as ids; what is skipped is said', async () => {
    const path = folder();
    const { texts, notes } = await read(path);
    expect(texts).toEqual([
      ['a.md#1', 'Title First file.'],
      ['a.md#2', 'Title > Part More.'],
      ['b/two.txt#1', 'Second file. One more line.'],
    ]);
    expect(notes).toEqual([
      '3 passages of at most 150 words from 2 files',
      'skipped 1 file (neither text nor Markdown nor a table): logo.png',
      'skipped 1 file (tables without a column of texts): faq.csv',
      'skipped 1 file (binary): bin.txt',
      'skipped 2 files (hidden, links or other people’s): .hidden, node_modules',
    ]);
    expect((await loadTexts(path)).corpus.size).toBe(3);
    expect((await loadAnyData(path)).kind).toBe('texts');
  });

  it('holds tables of texts too, whose records keep their ids and fields', async () => {
    const path = tempFiles({
      'notes/a.md': '# Title\n\nFirst.',
      'README.md': 'About the data.',
      'b.csv': 'id,title,text,year\nx,T,one,2020\ny,,two,2021\n',
      'c/d.jsonl': '{"text":"three","tags":["u"]}\n',
      'e.csv': 'name,price\na,1\n',
    });
    const notes: string[] = [];
    const documents = [];
    for await (const { id, title, text, metadata } of streamDocuments(path, {
      onNote: (note) => notes.push(note),
    }))
      documents.push([id, title, text, metadata]);
    expect(documents).toEqual([
      ['notes/a.md#1', 'Title', 'First.', undefined],
      ['b.csv#x', 'T', 'one', { year: '2020' }],
      ['b.csv#y', undefined, 'two', { year: '2021' }],
      ['c/d.jsonl#1', undefined, 'three', { tags: ['u'] }],
    ]);
    expect(notes).toEqual([
      '1 passage of at most 150 words from 1 file',
      '3 records from 2 files',
      'skipped 1 file (tables without a column of texts): e.csv',
      'skipped 1 file (about the data): README.md',
    ]);
    const named = { columns: { text: 'name' } };
    const texts = [];
    for await (const { text } of streamDocuments(
      tempFiles({ 'e.csv': 'name,price\na,1\n', 'f.csv': 'name\nb\n' }),
      named,
    ))
      texts.push(text);
    expect(texts).toEqual(['a', 'b']);
    await expect(
      read(tempFiles({ 'a.csv': 'id,text\nx,1\nx,2\n', 'b.csv': 'id,text\nx,1\n' })),
    ).rejects.toThrow(/a\.csv:3: .*"x"/);
    await expect(read(tempFiles({ 'a.md': 'A.', 'b.jsonl': 'no JSON\n' }))).rejects.toThrow(/b\.jsonl:1/);
  });

  it('names files that cannot be read or are too long, and leaves them out if bad rows may be', async () => {
    const path = tempFiles({ 'a.md': 'A text.', 'long.txt': 'x'.repeat(2000) });
    symlinkSync(join(path, 'nowhere'), join(path, 'broken.md'));
    await expect(read(path)).rejects.toThrow(
      /broken\.md:1: no such file or folder\n {2}help: make the file readable, or remove it; skipBadRows: 1 leaves/,
    );
    await expect(read(path, { skipBadRows: 1, maxLineBytes: 1000 })).rejects.toThrow(
      /broken\.md:1: no such .*\n.*long\.txt:1: the file is longer than 1,000 bytes/,
    );
    const { texts, notes } = await read(path, { skipBadRows: 2, maxLineBytes: 1000 });
    expect(texts).toEqual([['a.md#1', 'A text.']]);
    expect(notes.join()).toMatch(/left out 2 bad rows: .*broken\.md/);
  });

  it('is not a data set whose corpus is missing', async () => {
    const part = {
      'queries.jsonl': '{"_id":"q","text":"x"}\n',
      'qrels/test.tsv': 'query-id\tcorpus-id\tscore\n',
    };
    await expect(read(tempFiles(part))).rejects.toThrow(/queries.jsonl:1: no query column/);
    await expect(read(tempFiles({ 'a.csv': 'name,price\na,1\n', 'b.csv': 'x\n1\n' }))).rejects.toThrow(
      /no data set is recognised/,
    );
  });

  it('one Markdown file is cut alike; a text file alone has one document a line', async () => {
    const path = folder();
    expect((await read(join(path, 'a.md'))).texts.map(([id]) => id)).toEqual(['a.md#1', 'a.md#2']);
    expect((await read(join(path, 'b/two.txt'))).texts.map(([id]) => id)).toEqual(['1', '2']);
  });

  it('names a file that is not UTF-8, and leaves it out if bad rows may be', async () => {
    const path = tempFiles({
      'a.txt': 'good',
      'b.txt': Uint8Array.of(0x61, 0x0a, 0xe4, 0x0a),
      'c.md': Uint8Array.of(0xff, 0xfe, 0x61, 0),
    });
    await expect(read(path)).rejects.toThrow(
      /b\.txt:2: not UTF-8, and other rows are bad:\n.*c\.md:1: not UTF-8/,
    );
    const { texts, notes } = await read(path, { skipBadRows: 2 });
    expect(texts).toEqual([['a.txt#1', 'good']]);
    expect(notes.join('\n')).toMatch(/left out 2 bad rows: .*b\.txt:2/);
  });

  it('refuses an overlap of more than half a passage, and a folder without text', async () => {
    await expect(read(folder(), { passageWords: 10, passageOverlap: 6 })).rejects.toThrow(
      /passageOverlap: 6 is more than half of passageWords: 10/,
    );
    await expect(read(tempFiles({ 'a.png': 'x' }))).rejects.toThrow(/no data set is recognised/);
    await expect(read(tempFiles({ 'a.md': '# Only a heading\n' }))).rejects.toThrow(/holds no text/);
    const image = tempFiles({ 'a.txt': 'PNG\0\u0001' });
    await expect(read(image)).rejects.toThrow(/holds no text: binary data[\s\S]*extract the text/);
    await expect(read(tempFiles({ 'a.txt': 'PNG\0', 'b.txt': ' ' }))).rejects.toThrow(/holds no text\n/);
  });

  it('pairs with the name of a split are read as pairs, whatever stands beside them', async () => {
    const path = tempFiles({ 'train.csv': 'question,answer\na,b\n', 'notes.md': 'x' });
    expect((await read(path)).texts).toEqual([['d0', 'b']]);
  });
});
