import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { writeFacts } from '../bench/rlm/facts-data.ts';
import { loadData } from '../src/data/load.ts';
import { tempFiles } from './temp-files.ts';

const OPTIONS = { entities: 20, warmEntities: 10, texts: 60, values: 40, seed: 3 };
const folder = tempFiles({});
writeFacts(join(folder, 'one'), OPTIONS);
const load = (name: string) => loadData(join(folder, 'one', name), { answers: true });
const nameOf = (document: string) =>
  /(?:of )?(\w{4} \w{4}) (?:is|lives|works|walks|eats|wears|keeps|plays|sails)/.exec(document)![1]!;

it('asks for each fact in words that its document does not have, and answers by its last word', async () => {
  const data = await load('facts');
  const { corpus, queries, answers } = data;
  expect([corpus.size, queries.size]).toEqual([160, 160]);
  let rows = 0;
  for (const split of ['train', 'dev', 'test']) {
    const { queryRows, positives } = data.examples(split);
    for (const [i, query] of queryRows.entries()) {
      const document = corpus.text(positives.rows[positives.offsets[i]!]!);
      const shared = queries
        .text(query)
        .split(' ')
        .filter((word) => document.split(' ').includes(word));
      expect(shared.join(' ')).toBe(nameOf(document));
      expect(answers!(query)).toEqual([document.split(' ').at(-1)]);
    }
    rows += queryRows.length;
  }
  expect(rows).toBe(160);
});

it('has no entity in two splits or two sets', async () => {
  const data = await load('facts');
  const namesOf = (split: string) => {
    const { positives } = data.examples(split);
    return new Set([...positives.rows].map((row) => nameOf(data.corpus.text(row))));
  };
  const sets = [...['train', 'dev', 'test'].map(namesOf)];
  for (const name of ['cloze', 'copy']) {
    const { corpus } = await load(name);
    sets.push(new Set(Array.from({ length: corpus.size }, (_, row) => nameOf(corpus.text(row)))));
  }
  expect(sets.map(({ size }) => size)).toEqual([12, 2, 6, 10, 10]);
  expect(new Set(sets.flatMap((names) => [...names])).size).toBe(40);
});

it('writes texts with documents of other entities, a sixth without, and the same bytes for the same seed', async () => {
  const texts = readFileSync(join(folder, 'one', 'texts', 'train.jsonl'), 'utf8')
    .trim()
    .split('\n');
  const own = texts.map((line) => (JSON.parse(line) as { text: string }).text.split('\n'));
  expect(own.filter((lines) => lines.length === 2).length).toBe(10);
  const { corpus } = await load('facts');
  const names = new Set(Array.from({ length: corpus.size }, (_, row) => nameOf(corpus.text(row))));
  for (const lines of own.filter((each) => each.length === 3)) {
    expect(names.has(nameOf(lines[0]!))).toBe(false);
    expect(lines[2]).toBe(`Answer: ${lines[0]!.split(' ').at(-1)}`);
  }
  writeFacts(join(folder, 'two'), OPTIONS);
  for (const name of readdirSync(join(folder, 'one'), { recursive: true, encoding: 'utf8' })) {
    if (!/\.(jsonl|tsv)$/.test(name)) continue;
    const [a, b] = ['one', 'two'].map((each) => readFileSync(join(folder, each, name)));
    expect(a!.equals(b!), name).toBe(true);
  }
});
