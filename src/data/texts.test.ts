import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { tempFiles } from '../../test/temp-files.ts';
import { HELD_OUT, heldOutRetrieval, heldOutRows, ownQueries } from './held-out.ts';
import { loadData } from './load.ts';
import { loadTexts } from './texts.ts';

const files = tempFiles({
  'plain.txt': 'one line\n\n  \nanother line\r\n',
  'packed.txt.gz': gzipSync('packed\n'),
  'records.jsonl': '{"text": "a body", "title": "A Title"}\n{"text": "no title"}\n',
  'table.tsv': 'x\tthe first\ny\tthe second\n',
  'empty.txt': '\n\n',
  'bad.jsonl': '{"text": "fine"}\n{"text": \n',
  'pairs.jsonl': '{"query": "q", "positive": "p"}\n',
  'untexted.jsonl': '{"body_text": "p"}\n',
  'array.json': '["a", "b"]\n',
  'latin.txt': Uint8Array.of(0x61, 0x0a, 0xe4, 0x0a),
  'alone/corpus.jsonl': '{"_id": "d1", "text": "only a corpus"}\n',
  'whole/corpus.jsonl': '{"_id": "d1", "text": "with queries"}\n',
  'whole/queries.jsonl': '{"_id": "q1", "text": "a query"}\n',
  'whole/qrels/dev.tsv': 'q1\td1\t1\n',
});
const load = (name: string) => loadTexts(join(files, name));

describe('loadTexts', () => {
  it.each([
    ['plain.txt', ['one line', 'another line']],
    ['packed.txt.gz', ['packed']],
    ['records.jsonl', ['A Title a body', 'no title']],
    ['table.tsv', ['the first', 'the second']],
    ['alone', ['only a corpus']],
    ['whole', ['with queries']],
    ['pairs.jsonl', ['p']],
  ])('reads %s', async (name, texts) => {
    const { corpus, fingerprint } = await load(name);
    expect([...corpus.texts()]).toEqual(texts);
    expect(fingerprint).toMatch(/^[0-9a-f]{16}$/);
  });

  it('has the fingerprint of the data set around the documents, by which a comparison recognises its runs', async () => {
    expect((await load('alone')).data).toBeUndefined();
    const { data, fingerprint } = await load('whole');
    expect(data!.splits).toEqual(['dev']);
    expect(fingerprint).toBe((await loadData(join(files, 'whole'))).fingerprint);
  });

  it.each([
    ['empty.txt', /empty\.txt: holds no document/],
    ['bad.jsonl', /bad\.jsonl:2: bad JSON/],
    [
      'untexted.jsonl',
      /untexted\.jsonl:1: no text column\n {2}help: the record has "body_text"; understood are text, /,
    ],
    ['array.json', /array\.json:1: expected a JSON object/],
    ['latin.txt', /latin\.txt:2: not UTF-8/],
    ['absent.txt', /absent\.txt: no such file/],
  ])('says what is wrong with %s', async (name, message) => {
    await expect(load(name)).rejects.toThrow(message);
  });
});

describe('held-out documents', () => {
  const sentence = (i: number) => Array.from({ length: 16 }, (_, word) => `word${i}x${word}`).join(' ');
  const make = (lines: string[]) => loadTexts(join(tempFiles({ 'a.txt': lines.join('\n') }), 'a.txt'));

  it('are always the same few, without short ones, and are not trained on', async () => {
    const texts = await make(Array.from({ length: 100 }, (_, i) => (i % 2 === 0 ? sentence(i) : 'short')));
    const rows = heldOutRows(texts.corpus);
    expect(rows).toHaveLength(5);
    expect(heldOutRows(texts.corpus)).toEqual(rows);
    expect([...rows].every((row) => row % 2 === 0)).toBe(true);
    const trained = ownQueries(texts, rows).examples('train');
    expect(trained.queryRows).toHaveLength(95);
    expect(trained.queryRows).toEqual(trained.positives.rows);
    expect([...trained.queryRows].some((row) => rows.includes(row))).toBe(false);

    const data = heldOutRetrieval(texts, rows);
    expect(data.splits).toEqual([HELD_OUT]);
    for (const [i, row] of rows.entries()) {
      expect(`${data.corpus.text(i)} ${data.queries.text(i)}`).toBe(texts.corpus.text(row));
      expect(data.qrels(HELD_OUT).get(String(row + 1))).toEqual(new Map([[String(row + 1), 1]]));
    }
  });

  it('are empty if there are few documents', async () => {
    const texts = await make(Array.from({ length: 30 }, (_, i) => sentence(i)));
    const rows = heldOutRows(texts.corpus);
    expect(rows).toHaveLength(0);
    expect(heldOutRetrieval(texts, rows).splits).toEqual([]);
  });
});
