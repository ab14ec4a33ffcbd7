import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { tempFiles } from '../../test/temp-files.ts';
import { findMethod } from '../methods/methods.ts';
import { adviseOn } from './advice.ts';
import { collectFacts } from './facts.ts';
import { METHOD_RULES } from './method-rules.ts';
import { WARNING_RULES } from './warning-rules.ts';

const lines = (records: readonly object[]) => records.map((each) => `${JSON.stringify(each)}\n`).join('');
const range = <T>(size: number, make: (i: number) => T): T[] =>
  Array.from({ length: size }, (_, i) => make(i));

/** Advice on files, of which `set` or the only file is the data. */
async function advice(files: Record<string, string>, model?: string) {
  const folder = tempFiles(files);
  const [name] = Object.keys(files)[0]!.split('/');
  const facts = await collectFacts(join(folder, name!), { model });
  const { commands, warnings, ...found } = adviseOn(facts);
  const own = (text: string) => text.replaceAll(folder, 'DIR');
  return {
    ...found,
    commands: commands.map(own),
    warnings: Object.fromEntries(warnings.map(({ rule, ...rest }) => [rule, rest])),
    warned: warnings.map(({ rule }) => rule),
    remedies: warnings.map(({ command }) => command && own(command)),
  };
}

const pairs = (size: number, from = 0) =>
  range(size, (i) => ({ query: `question ${from + i}`, positive: `answer of ${from + i}` }));
/** Folder of pairs with three splits, large enough that nothing hurts. */
const healthy = {
  'set/train.jsonl': lines(pairs(4000)),
  'set/dev.jsonl': lines(pairs(60, 10_000)),
  'set/test.jsonl': lines(pairs(60, 20_000)),
};

describe('adviseOn', () => {
  it('recommends negative-cache for pairs, and finds nothing that hurts', async () => {
    expect(await advice(healthy)).toMatchObject({
      method: 'negative-cache',
      rule: 'pairs',
      warned: [],
      commands: [
        'undrift train --data DIR/set --out runs/first --method negative-cache',
        'undrift eval --model runs/first --data DIR/set --split test',
        'undrift eval --model bm25 --data DIR/set --split test',
      ],
    });
    expect((await advice(healthy, 'transformer')).commands[0]).toContain(' --model transformer');
  });

  it('recommends in-batch with the negatives of the data', async () => {
    const train = pairs(4000).map((pair, i) => ({ ...pair, negative: [`wrong ${i}`, 'wrong', 'no'] }));
    expect(await advice({ ...healthy, 'set/train.jsonl': lines(train) })).toMatchObject({
      rule: 'given-negatives',
      commands: [
        'undrift train --data DIR/set --out runs/first --negatives 3',
        expect.anything(),
        expect.anything(),
      ],
    });
  });

  it("recommends distill for a teacher's scores", async () => {
    const train = pairs(4000).map((pair) => ({ ...pair, negative: 'wrong', scores: [5, 1] }));
    const found = await advice({ ...healthy, 'set/train.jsonl': lines(train) });
    expect(found).toMatchObject({ rule: 'teacher-scores', method: 'distill' });
    expect(found.commands[0]).toContain('--method distill --negatives 1');
    const small = await advice({ 'taught.jsonl': lines(train.slice(0, 600)) });
    expect(small.warnings['small-split']).toMatchObject({
      command: null,
      remedy: expect.stringContaining("cannot keep a teacher's scores"),
    });
  });

  it('recommends in-batch, in small batches, for few answers to many questions', async () => {
    const train = range(4000, (i) => ({ query: `question ${i}`, positive: `answer ${i % 40}` }));
    const found = await advice({ ...healthy, 'set/train.jsonl': lines(train) });
    expect(found).toMatchObject({ rule: 'small-corpus', method: 'in-batch', warned: ['batch-too-large'] });
    expect(found.commands[0]).toBe('undrift train --data DIR/set --out runs/first --batch-size 8');
    expect(found.remedies).toEqual([found.commands[0]]);
  });

  it('recommends in-batch where a document answers many queries', async () => {
    const train = range(4000, (i) => ({ query: `question ${i}`, positive: `answer ${i % 800}` }));
    const found = await advice({ ...healthy, 'set/train.jsonl': lines(train) });
    expect(found).toMatchObject({ rule: 'many-queries-per-document', method: 'in-batch', warned: [] });
    expect(found.reason).toContain('a right document answers 5 training queries');
  });

  it('recommends scored-pairs for scored pairs', async () => {
    const scored = lines(range(300, (i) => ({ sentence1: `a ${i}`, sentence2: `b ${i}`, score: i / 300 })));
    expect(await advice({ 'scored.jsonl': scored })).toMatchObject({
      method: 'scored-pairs',
      commands: [
        'undrift train --data DIR/scored.jsonl --out runs/first --method scored-pairs',
        'undrift eval --model runs/first --data DIR/scored.jsonl --split test --metrics spearman,pearson',
      ],
    });
  });

  it('recommends crop for documents alone, and where queries are only for evaluation', async () => {
    const texts = range(300, (i) => ({ _id: `d${i}`, text: `document number ${i}` }));
    expect(await advice({ 'notes.txt': 'one document\nanother\n' })).toMatchObject({
      rule: 'documents-alone',
      commands: ['undrift train --corpus DIR/notes.txt --out runs/first --method crop --model transformer'],
    });
    expect(
      await advice({
        'set/corpus.jsonl': lines(texts),
        'set/queries.jsonl': lines([{ _id: 'q', text: 'number 7' }]),
        'set/qrels/test.tsv': 'query-id\tcorpus-id\tscore\nq\td7\t1\n',
      }),
    ).toMatchObject({
      rule: 'no-training-queries',
      method: 'crop',
      warned: [],
      commands: [
        'undrift train --data DIR/set --out runs/first --method crop --model transformer',
        'undrift eval --model runs/first --data DIR/set --split test',
        'undrift eval --model bm25 --data DIR/set --split test',
      ],
    });
  });

  it('warns about queries in two splits, copies and queries that are their own answer', async () => {
    const found = await advice({
      ...healthy,
      'set/train.jsonl': lines([
        ...pairs(4000),
        ...range(30, (i) => ({ query: `again ${i}`, positive: `Answer  of ${i}` })),
        { query: 'QUESTION 20000', positive: 'other' },
        { query: 'the same', positive: 'The same' },
      ]),
    });
    expect(found.warned).toEqual(['shared-queries', 'copies', 'own-text']);
    expect(found.remedies).toEqual(found.warned.map(() => 'undrift data clean DIR/set --out data/clean'));
    expect(found.warnings['shared-queries']!.message).toContain('1 in test (1.7 % of its queries)');
    expect(found.warnings.copies!.message).toContain('30 of 4,15');
  });

  it('warns about splits that are absent or small', async () => {
    const judged = (splits: readonly string[]) => ({
      'set/corpus.jsonl': lines(range(4000, (i) => ({ _id: `d${i}`, text: `document ${i}` }))),
      'set/queries.jsonl': lines(range(4000, (i) => ({ _id: `q${i}`, text: `query ${i}` }))),
      ...Object.fromEntries(
        splits.map((split, k) => [
          `set/qrels/${split}.tsv`,
          range(k === 0 ? 3500 : 10, (i) => `q${3500 * Math.min(k, 1) + 10 * k + i}\td${i}\t1\n`).join(''),
        ]),
      ),
    });
    expect((await advice(judged(['train']))).warned).toEqual(['no-dev-split', 'no-test-split']);
    const small = await advice(judged(['train', 'dev', 'test']));
    expect(small.warned).toEqual(['small-split']);
    expect(small.warnings['small-split']!.message).toBe(
      'dev has 10 queries, test has 10 queries: one query changes a figure by up to 10 %',
    );
    expect(small.remedies).toEqual([null]);
    const held = await advice({ 'pairs.jsonl': lines(pairs(600)) });
    expect(held.warned).toEqual(['small-split']);
    expect(held.remedies[0]).toMatch(
      /^undrift data clean DIR\/pairs.jsonl --out data\/clean --dev-fraction 0\.\d+ --test-fraction 0\.\d+$/,
    );
  });

  it('warns about texts that are longer than the model reads, and says how far to read', async () => {
    const long = pairs(4000).map(({ query, positive }, i) => ({
      query: i % 4 ? query : `${query} ${'really '.repeat(70)}`,
      positive: i % 4 ? positive : `${positive} ${'long '.repeat(300)}`,
    }));
    const found = await advice({ ...healthy, 'set/train.jsonl': lines(long) });
    expect(found.warned).toEqual(['long-documents', 'long-queries']);
    expect(found.warnings['long-documents']!.message).toBe(
      'at least 24 % of the documents are longer than the 256 tokens that a new static model reads',
    );
    expect(found.remedies).toEqual([
      'undrift train --data DIR/set --out runs/first --method negative-cache --max-doc-tokens 384',
      'undrift train --data DIR/set --out runs/first --method negative-cache --max-query-tokens 96',
    ]);
    expect((await advice({ ...healthy, 'set/train.jsonl': lines(long) }, 'transformer')).warned).toContain(
      'long-documents',
    );
  });

  it('warns about few training queries, with an encoder where the language may be English', async () => {
    const files = (query: (i: number) => string) => ({
      'set/train.jsonl': lines(range(290, (i) => ({ query: query(i), positive: `${query(i)} ${i} ab` }))),
      'set/dev.jsonl': healthy['set/dev.jsonl'],
      'set/test.jsonl': healthy['set/test.jsonl'],
    });
    const english = await advice(files((i) => `question ${i}`));
    expect(english.warned).toEqual(['few-queries']);
    expect(english.remedies[0]).toContain('--model sentence-transformers/all-MiniLM-L6-v2');
    const thai = await advice(files((i) => `คำถาม${i}ภาษาไทยข้อความ`));
    expect(thai.warnings['few-queries']).toMatchObject({
      remedy: 'start from a trained encoder of your language',
      command: null,
    });
  });
});

describe('the tables of rules', () => {
  const quoted = METHOD_RULES.flatMap(({ id, evidence }) => (evidence ? [{ id, evidence }] : []));

  it('name methods that exist, and rules once', () => {
    for (const { method, alternatives = [] } of METHOD_RULES)
      for (const id of [method, ...alternatives.map((each) => each.method)])
        expect(findMethod(id).id).toBe(id);
    const ids = [...METHOD_RULES, ...WARNING_RULES].map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
  });

  it.each(quoted)('$id quotes figures that stand in their source', ({ evidence }) => {
    const [page, heading] = evidence.source.split('#');
    const text = readFileSync(new URL(`../../docs/${page}`, import.meta.url), 'utf8');
    const headings = [...text.matchAll(/^#+ (.*)$/gm)].map(([, title]) =>
      title!
        .toLowerCase()
        .replaceAll(' ', '-')
        .replace(/[^\w-]/g, ''),
    );
    expect(headings).toContain(heading);
    for (const figure of evidence.figures) expect(text).toContain(figure);
    for (const number of evidence.text.match(/\d*\.\d{3,}/g) ?? [])
      expect(evidence.figures.join(' ')).toContain(number);
  });
});
