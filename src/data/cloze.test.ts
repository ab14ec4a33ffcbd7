import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { tempFiles } from '../../test/temp-files.ts';
import { cutSentence, writeCloze } from './cloze.ts';
import { loadData } from './load.ts';

it('cuts one sentence out of a text, by the seed', () => {
  const text = 'We went to Oslo. She came later.\nThey paid 40 crowns. She came later.';
  const cuts = Array.from({ length: 40 }, (_, number) => cutSentence(text, { seed: 1, number })!);
  const rests = new Map(cuts.map(({ query, rest }) => [query, rest]));
  // A sentence that occurs twice is never cut out.
  expect([...rests].sort()).toEqual([
    ['They paid 40 crowns.', 'We went to Oslo. She came later. She came later.'],
    ['We went to Oslo.', 'She came later.\nThey paid 40 crowns. She came later.'],
  ]);
  expect(cutSentence('Only one sentence.', { seed: 1, number: 0 })).toBeUndefined();
});

it('writes a data set whose right document is the rest of the passage', async () => {
  const texts = Array.from({ length: 60 }, (_, i) => ({
    id: `t${i}`,
    text: `First we saw number ${i} there. Then it was cold for ${i + 100} days.`,
  }));
  const kept = async (keepFraction: number) => {
    const out = join(tempFiles({}), 'data');
    const written = await writeCloze({ texts }, { out, keepFraction, devFraction: 0.2, testFraction: 0.2 });
    const data = await loadData(out);
    expect(written).toMatchObject({ documents: 60, passages: 60 });
    expect(data.corpus.size).toBe(60);
    expect(existsSync(join(out, 'answers.jsonl'))).toBe(false);
    let [whole, all] = [0, 0];
    for (const split of data.splits) {
      for (const [id, grades] of data.qrels(split)) {
        const [right] = [...grades.keys()];
        const document = data.corpus.text(data.corpus.row(right!)!);
        const query = data.queries.text(data.queries.row(id)!);
        all += 1;
        whole += Number(document.includes(query));
        expect(texts.map(({ text }) => text.replace(query, '').trim())).toContain(
          document.replace(query, '').trim(),
        );
      }
    }
    expect(all).toBe(60);
    return whole;
  };
  expect(await kept(0)).toBe(0);
  expect(await kept(1)).toBe(60);
  const some = await kept(0.3);
  expect(some > 6 && some < 32).toBe(true);
});

it('refuses texts of single sentences, and writes nothing', async () => {
  const out = join(tempFiles({}), 'data');
  await expect(writeCloze({ texts: ['One sentence only.'] }, { out })).rejects.toThrow(
    /no text to train on has a passage of two sentences/,
  );
  expect(existsSync(out)).toBe(false);
});
