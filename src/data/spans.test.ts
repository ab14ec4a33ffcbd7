import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { tempFiles } from '../../test/temp-files.ts';
import { loadData } from './load.ts';
import { cutSpan, salientSpans, writeSpans } from './spans.ts';

describe('salientSpans', () => {
  it.each([
    ['The bridge opened on 24 May 1883 in New York.', ['24 May 1883', 'New York']],
    ['It sold 1,200.5 tons by March 3, 1999, and B2B grew.', ['1,200.5', 'March 3, 1999', 'B2B']],
    ['Marie Curie met Pierre there.', ['Marie Curie', 'Pierre']],
    ['Later it rained.', []],
    ['In Rome they said that Rome is old.', []],
    ['Élodie saw Zoë Müller.', ['Zoë Müller']],
    ['Version v1.2 has 3rd parties.', []],
  ])('%s', (sentence, wanted) => {
    expect(salientSpans(sentence).map(({ start, end }) => sentence.slice(start, end))).toEqual(wanted);
  });
});

it('cuts one span out of one sentence, by the seed', () => {
  const text = 'We went to Oslo. She came from Bergen.\nThey paid 40 crowns.';
  const cuts = new Set(
    Array.from({ length: 40 }, (_, number) => {
      const { query, answer } = cutSpan(text, { seed: 1, number })!;
      expect(text).toContain(query.replace('___', answer));
      return answer;
    }),
  );
  expect([...cuts].sort()).toEqual(['40', 'Bergen', 'Oslo']);
  expect(cutSpan('nothing here', { seed: 1, number: 0 })).toBeUndefined();
});

it('writes a data set whose right document is the own passage', async () => {
  const texts = Array.from({ length: 20 }, (_, i) => ({
    id: `t${i}`,
    text: `We saw City${'abcdefghijklmnopqrst'[i]} again. It was cold and wet there all day long. Then ${i + 10} of them came along.`,
  }));
  const out = join(tempFiles({}), 'data');
  const given = { passageWords: 12, devFraction: 0.2, testFraction: 0.2, out };
  const written = await writeSpans({ texts: [...texts, { id: 'plain', text: 'a b c' }] }, given);
  const { train, dev, test } = written.splits;
  expect(written.documents).toBe(21);
  expect(train! + dev! + test!).toBeGreaterThan(20);
  const data = await loadData(out, { answers: true });
  expect(data.corpus.size).toBe(written.passages);
  for (const split of data.splits) {
    for (const [id, grades] of data.qrels(split)) {
      expect([...grades.keys()]).toEqual([id]);
      const row = data.queries.row(id)!;
      const [answer] = data.answers!(row);
      expect(data.corpus.text(data.corpus.row(id)!)).toContain(
        data.queries.text(row).replace('___', answer!),
      );
    }
  }
  const none = join(tempFiles({}), 'data');
  await expect(writeSpans({ texts: ['a b c d e'] }, { out: none })).rejects.toThrow(
    /no text to train on has a date/,
  );
  expect(existsSync(none)).toBe(false);
});
