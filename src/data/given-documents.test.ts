import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { tempFiles } from '../../test/temp-files.ts';
import { Corpus } from './corpus.ts';
import { lacksDocuments, loadData } from './load.ts';

const folder = tempFiles({
  'beir/queries.jsonl': '{"_id": "q", "text": "z"}\n',
  'beir/qrels/test.tsv': 'query-id\tcorpus-id\tscore\nq\ta\t1\nq\tb\t1\n',
  'whole/corpus.jsonl': '{"_id": "a", "text": "x"}\n',
  'whole/queries.jsonl': '{"_id": "q", "text": "z"}\n',
  'marco/queries.dev.tsv': '1\tq\n',
  'marco/qrels.dev.tsv': '1\t0\ta\t1\n',
  'pairs.jsonl': '{"query": "q", "positive": {"title": "T", "text": "x"}, "negative": ["y", "absent"]}\n',
});
const path = (name: string) => join(folder, name);

async function documents() {
  const records = [
    { id: 'z', text: 'other' },
    { id: 'a', title: 'T', text: 'x' },
    { id: 'y', text: 'y' },
  ];
  return { name: 'the store S', corpus: await Corpus.from(records), fingerprint: 'f00' };
}

describe('documents in place of those of the data', () => {
  it('are needed by a folder of queries and judgements', async () => {
    const names = ['beir', 'marco', 'whole', 'pairs.jsonl'];
    expect(await Promise.all(names.map((name) => lacksDocuments(path(name))))).toEqual([
      true,
      true,
      false,
      false,
    ]);
  });

  it('have the ids of judgements, in either layout', async () => {
    for (const [name, split] of [
      ['beir', 'test'],
      ['marco', 'dev'],
    ] as const) {
      const data = await loadData(path(name), { documents: await documents() });
      expect(data.corpus.size).toBe(3);
      expect([...data.examples(split).positives.rows]).toEqual([1]);
      expect(data.fingerprint).toMatch(/\+f00$/);
    }
    await expect(
      loadData(path('beir'), { documents: await documents(), missingDocuments: 'error' }),
    ).rejects.toThrow('unknown document id "b": the store S has none such');
  });

  it('have the texts of pairs, with their titles', async () => {
    const options = { documents: await documents(), devFraction: 0, testFraction: 0 };
    await expect(loadData(path('pairs.jsonl'), options)).rejects.toThrow(
      'the store S has no passage "absent"',
    );
    const data = await loadData(path('pairs.jsonl'), { ...options, missingDocuments: 'drop' });
    const { positives, negatives } = data.examples('train');
    expect([[...positives.rows], [...negatives!.rows]]).toEqual([[1], [2]]);
    expect(data.notes).toContain('1 passage of the pairs left out, because the store S has no such text');
  });
});
