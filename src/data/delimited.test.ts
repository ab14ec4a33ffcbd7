import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { tempFiles } from '../../test/temp-files.ts';
import { BadRows, onBadLine } from './bad-rows.ts';
import { readDelimited } from './delimited.ts';
import { loadCorpus } from './documents.ts';
import { loadData } from './load.ts';
import type { LoadOptions } from './load-options.ts';

const ALL_TRAIN = { devFraction: 0, testFraction: 0 };

async function rowsOf(content: string | Uint8Array, name = 'a.csv', chosen: string[] = []) {
  const rows: unknown[] = [];
  const file = join(tempFiles({ [name]: content }), name);
  for await (const { fields, line } of readDelimited(file, { chosen })) rows.push({ line, ...fields });
  return rows;
}

/** Pairs of a file as texts, and the notes of the reader. */
async function pairsOf(content: string, name = 'faq.csv', options: LoadOptions = {}) {
  const data = await loadData(join(tempFiles({ [name]: content }), name), { ...ALL_TRAIN, ...options });
  const { queryRows, positives } = data.examples('train');
  const pairs = [...queryRows].map((row, i) => [
    data.queries.text(row),
    ...[...positives.rows.subarray(positives.offsets[i], positives.offsets[i + 1])].map((at) =>
      data.corpus.text(at),
    ),
  ]);
  return { pairs, notes: data.notes, data };
}

describe('delimited text', () => {
  it('has the quoting of RFC 4180', async () => {
    expect(
      await rowsOf('query,positive\r\n"a, b","say ""yes"""\r\nc,"two\r\nlines"\r\n"","x"\r\nlast,row'),
    ).toEqual([
      { line: 2, query: 'a, b', positive: 'say "yes"' },
      { line: 3, query: 'c', positive: 'two\nlines' },
      { line: 5, query: null, positive: 'x' },
      { line: 6, query: 'last', positive: 'row' },
    ]);
  });

  it('keeps quotes within an unquoted field, and spaces around text', async () => {
    expect(await rowsOf('query,positive\n5" disk, about 3.5" \n')).toEqual([
      { line: 2, query: '5" disk', positive: ' about 3.5" ' },
    ]);
    expect(await rowsOf('query, positive\n"a", "b, c" \n')).toEqual([
      { line: 2, query: 'a', positive: 'b, c' },
    ]);
  });

  it('skips a byte order mark, blank rows and rows without any value', async () => {
    expect(await rowsOf('\ufeffquery,positive\n\na,b\n,\n')).toEqual([
      { line: 3, query: 'a', positive: 'b' },
    ]);
  });

  it.each([
    ['a.csv', 'query;positive\na, b;c\n'],
    ['a.csv', 'query\tpositive\na, b\tc\n'],
    ['a.csv', 'sep=|\nquery|positive\na, b|c\n'],
    ['a.tsv', 'query\tpositive\na, b\tc\n'],
    ['a.tsv', 'query,positive\n"a, b",c\n'],
  ])('finds the delimiter of %s: %j', async (name, content) => {
    expect(await rowsOf(content, name)).toMatchObject([{ query: 'a, b', positive: 'c' }]);
  });

  it('reads gzip', async () => {
    expect(await rowsOf(gzipSync('query,positive\na,b\n'), 'a.csv.gz')).toHaveLength(1);
  });

  it('recognises names in any case, keeps chosen ones, and leaves out a column without a name', async () => {
    expect(await rowsOf(',Question, Query Text ,Answer\n0,a,b,c\n')).toEqual([
      { line: 2, question: 'a', query_text: 'b', answer: 'c' },
    ]);
    expect(await rowsOf('Question\na\n', 'a.csv', ['Question'])).toEqual([{ line: 2, Question: 'a' }]);
  });

  it.each([
    [
      'query,positive\na,b\nc\n',
      /a\.csv:3: 1 field where the header has 2: "c"\n {2}help: fields are separated by a comma/,
    ],
    ['query,positive\na,b,c\n', /:2: 3 fields where the header has 2/],
    [
      'query,positive\na,"b\nc\nd,e\n',
      /:2: the quote that opens here is not closed in the file\n {2}help: .*doubled/,
    ],
    ['query,positive\na,"b" c\n', /:2: text after the closing quote of field 2: " c"/],
    ['query,Query\na,b\n', /:1: two columns are called "query"/],
  ])('refuses %j', async (content, message) => {
    await expect(rowsOf(content)).rejects.toThrow(message);
  });

  it('lists bad rows and reads on, but for a quote that is never closed', async () => {
    const read = async (content: string, allowed: number) => {
      const bad = new BadRows(allowed);
      const file = join(tempFiles({ 'a.csv': content }), 'a.csv');
      const lines: number[] = [];
      for await (const { line } of readDelimited(file, { onBadLine: onBadLine(bad) })) lines.push(line);
      return { lines, notes: bad.notes() };
    };
    const { lines, notes } = await read('query,positive\na\nb,"x"y\nc,d\n', 2);
    expect(lines).toEqual([4]);
    expect(notes.join()).toMatch(/left out 2 bad rows: .*:2: 1 field .*:3: text after/);
    await expect(read('query,positive\na,"b\nc,d\n', 9)).rejects.toThrow(/:2: the quote/);
  });

  it('leaves out a row with a line that is not UTF-8', async () => {
    const bytes = Buffer.concat([
      Buffer.from('query,positive\na,"b\n'),
      Buffer.of(0xe4, 0x0a),
      Buffer.from('c"\nd,e\n'),
    ]);
    const bad = new BadRows(1);
    const rows: unknown[] = [];
    const file = join(tempFiles({ 'a.csv': bytes }), 'a.csv');
    for await (const { fields } of readDelimited(file, { onBadLine: onBadLine(bad) })) rows.push(fields);
    expect(rows).toEqual([{ query: 'd', positive: 'e' }]);
    expect(bad.notes().join()).toMatch(/:3: not UTF-8/);
  });
});

describe('pairs in CSV and TSV', () => {
  it('have labels, scores and several negatives as text', async () => {
    const { data } = await pairsOf(
      'query,positive,negative_1,negative_2,scores\na,A,B,C,"[0.9, 0.2, 0.1]"\nb,B,,C,"[0.8, 0.3]"\n',
    );
    const { negatives, positives } = data.examples('train');
    expect([...negatives!.offsets]).toEqual([0, 2, 3]);
    expect([...positives.scores!]).toEqual([Math.fround(0.9), Math.fround(0.8)]);
    const labelled = await pairsOf('question,answer,label\na,A,1\na,B,0\n');
    expect(labelled.pairs).toEqual([['a', 'A']]);
    expect([...labelled.data.examples('train').negatives!.rows]).toEqual([1]);
  });

  it('have the columns that --columns names', async () => {
    const columns = { query: 'Frage', positive: ['Antwort', 'Antwort 2'] };
    const { pairs, notes } = await pairsOf(
      'Frage\tAntwort\tAntwort 2\tDatum\na\tA\tB\t1\nb\tB\t\t2\n',
      'a.tsv',
      { columns },
    );
    expect(pairs).toEqual([
      ['a', 'A', 'B'],
      ['b', 'B'],
    ]);
    expect(notes).toEqual([
      'columns: Frage as query, Antwort as positive, Antwort 2 as positive',
      'columns not used: Datum',
    ]);
  });

  it.each<[string, LoadOptions['columns'], RegExp]>([
    [
      'Frage,answer\na,b\n',
      undefined,
      /:2: no query column\n {2}help: the record has "Frage", "answer"; understood are query, anchor, .*columns: \{ query: 'NAME' \}/,
    ],
    [
      'query,answer\na,b\n',
      { query: 'qery' },
      /:2: no value for the query, in column "qery"\n.*did you mean columns: \{ query: 'query' \}\?/,
    ],
    [
      'query,answer\na,b\n',
      { negative: 'bad' },
      /faq\.csv: no record has a column "bad", which columns names as the negative\n.*columns found: "query", "answer"/,
    ],
    [
      'query,answer\na,b\n',
      { text: 'query' },
      /columns: pairs have no column "text"\n {2}help: their columns are query, positive/,
    ],
    ['query,answer\na,b\n', { query: ['query', 'answer'] }, /query takes one column/],
    [
      'query,answer\na,b\n',
      { qery: 'a' } as LoadOptions['columns'],
      /columns should be .*did you mean 'query'\?/,
    ],
    [
      'query,answer,score\na,b,0.7\n',
      undefined,
      /column "score" should be a label.*\n {2}help: .*columns: \{ positiveScores: 'score' \}.*scored-pairs.*columns: \{ label: '' \} to ignore it/,
    ],
  ])('name what is wrong with %j and %j', async (content, columns, message) => {
    await expect(pairsOf(content, 'faq.csv', { columns })).rejects.toThrow(message);
  });

  it("a fractional score is a teacher's, or ignored, as --columns says", async () => {
    const content = 'query,answer,score\na,b,0.7\n';
    const scored = await pairsOf(content, 'faq.csv', { columns: { positiveScores: 'score' } });
    expect([...scored.data.examples('train').positives.scores!]).toEqual([Math.fround(0.7)]);
    const ignored = await pairsOf(content, 'faq.csv', { columns: { label: '' } });
    expect(ignored.notes).toContain('columns not used: score');
  });

  it('a folder has one format for a split', async () => {
    const folder = tempFiles({
      'train.csv': 'query,answer\na,b\n',
      'train.jsonl': '{}',
      'dev.csv': 'query,answer\nc,d\n',
    });
    await expect(loadData(folder)).rejects.toThrow(/train\.csv and train\.jsonl are both split train/);
  });
});

describe('a column that names the split', () => {
  it('decides, and other splits are held out of the rest as usual', async () => {
    const row = (i: number, split: string) => `q${i},a${i},${split}\n`;
    const rows = Array.from({ length: 200 }, (_, i) => row(i, i % 10 === 0 ? 'Validation' : 'train'));
    const file = join(tempFiles({ 'a.csv': `query,answer,split\n${rows.join('')}` }), 'a.csv');
    const data = await loadData(file);
    expect(data.splits).toEqual(['train', 'dev', 'test']);
    expect(data.examples('dev').queryRows).toHaveLength(20);
    const counts = ['train', 'test'].map((split) => data.examples(split).queryRows.length);
    expect(counts[0]! + counts[1]!).toBe(180);
    expect(counts[1]).toBeGreaterThan(0);
    expect(data.notes.join('\n')).not.toMatch(/split dev/);
    // Judgements of the queries that would have been held out for dev are whole.
    const { queryRows, positives } = data.examples('train');
    for (const [i, query] of queryRows.entries())
      expect(data.corpus.text(positives.rows[positives.offsets[i]!]!)).toBe(
        data.queries.text(query).replace('q', 'a'),
      );
  });

  it('cannot contradict the file', async () => {
    const folder = tempFiles({
      'train.csv': 'query,answer\na,b\n',
      'dev.csv': 'query,answer,split\nc,d,test\n',
    });
    await expect(loadData(folder)).rejects.toThrow(/dev\.csv:2: split "test" in the data of split dev/);
  });
});

describe('documents in CSV and TSV', () => {
  const corpusOf = async (content: string, name: string, options: LoadOptions = {}) => {
    const corpus = await loadCorpus(join(tempFiles({ [name]: content }), name), options);
    return Array.from({ length: corpus.size }, (_, row) => [corpus.id(row), corpus.text(row)]);
  };

  it.each<[string, string, LoadOptions['columns'], string[][]]>([
    [
      'a.csv',
      'id,title,text\nx,T,one\ny,,"two\nlines"\n',
      undefined,
      [
        ['x', 'T one'],
        ['y', 'two\nlines'],
      ],
    ],
    [
      'a.csv',
      'text\none\n"two, three"\n',
      undefined,
      [
        ['2', 'one'],
        ['3', 'two, three'],
      ],
    ],
    ['a.tsv', 'id\ttext\nx\tone\n', undefined, [['x', 'one']]],
    [
      'a.tsv',
      'x\t"one\ny\ttwo"\n',
      undefined,
      [
        ['x', '"one'],
        ['y', 'two"'],
      ],
    ],
    ['a.csv', 'Nummer,Inhalt\n7,one\n', { id: 'Nummer', text: 'Inhalt' }, [['7', 'one']]],
    [
      'faq.csv',
      'question,answer\na,A\nb,B\n',
      undefined,
      [
        ['d0', 'A'],
        ['d1', 'B'],
      ],
    ],
    [
      'sts.csv',
      'sentence1,sentence2,score\na,A,0.5\nb,B,1\n',
      undefined,
      [
        ['b0', 'A'],
        ['b1', 'B'],
      ],
    ],
    ['faq.csv', 'Frage,Antwort\na,A\n', { query: 'Frage', positive: 'Antwort' }, [['d0', 'A']]],
  ])('are read from %s: %j', async (name, content, columns, texts) => {
    expect(await corpusOf(content, name, { columns })).toEqual(texts);
  });

  it('BEIR folders may have them too', async () => {
    const folder = tempFiles({
      'corpus.csv': 'id,title,text\nd1,T,one\n',
      'queries.tsv': 'q1\twhat\n',
      'qrels/test.csv': 'query-id,corpus-id,score\nq1,d1,1\n',
    });
    const data = await loadData(folder);
    expect(data.corpus.text(0)).toBe('T one');
    expect(data.qrels('test')).toEqual(new Map([['q1', new Map([['d1', 1]])]]));
    const columns = { title: 'text', text: 'title', queryId: 'query-id' };
    expect((await loadData(folder, { columns })).corpus.text(0)).toBe('one T');
    await expect(loadData(folder, { columns: { text: 'bdy' } })).rejects.toThrow(
      /no record has a column "bdy"/,
    );
  });
});
