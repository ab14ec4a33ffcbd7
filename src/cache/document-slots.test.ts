import { describe, expect, it } from 'vitest';
import { randomInts, rngKey } from '../util/rng.ts';
import { NONE } from '../util/vector-rows.ts';
import { DocumentSlots } from './document-slots.ts';

describe('DocumentSlots', () => {
  it.each([1, 7, 64, 500])(
    'agrees with a search of all of %i rows, after thousands of replacements',
    (rows) => {
      const documents = new Int32Array(rows).fill(NONE);
      const slots = new DocumentSlots(documents);
      const numbers = new Int32Array(6000);
      randomInts(rngKey(2, rows, 'documents'), 3 * rows, numbers);
      const [targets, wrong] = [new Int32Array(6000), new Set<number>()];
      randomInts(rngKey(2, rows, 'slots'), rows, targets);
      for (const [i, document] of numbers.entries()) {
        const slot = targets[i]!;
        if (documents.includes(document)) continue;
        if (documents[slot] !== NONE) slots.remove(slot);
        documents[slot] = document;
        slots.add(slot);
        for (let asked = 0; asked < 3 * rows; asked += Math.ceil(rows / 20)) {
          if (slots.find(asked) !== documents.indexOf(asked)) wrong.add(asked);
        }
      }
      expect([...wrong]).toEqual([]);
      const again = new DocumentSlots(documents);
      expect(Array.from(documents, (document) => again.find(document))).toEqual([...documents.keys()]);
    },
  );

  it('does not find what is not there, in a full table', () => {
    const slots = new DocumentSlots(Int32Array.from({ length: 100 }, (_, slot) => slot));
    expect(slots.find(100)).toBe(NONE);
    expect(slots.bytes).toBeLessThan(100 * 6 + 8);
  });
});
