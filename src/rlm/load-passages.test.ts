import { expect, it } from 'vitest';
import { tempFiles } from '../../test/temp-files.ts';
import { loadPassages } from './load-passages.ts';

it('cuts documents into passages that begin with their title and know their document', async () => {
  const sentence = (n: number) => `Sentence number ${n} has exactly seven words.`;
  const long = Array.from({ length: 5 }, (_, i) => sentence(i)).join(' ');
  const folder = tempFiles({
    'texts.jsonl': [
      { id: 'long', title: 'Numbers', text: long },
      { id: 'short', title: '', text: 'Two words.' },
    ]
      .map((record) => JSON.stringify(record))
      .join('\n'),
  });
  const passages = await loadPassages(`${folder}/texts.jsonl`, { words: 14 });
  const rows = Array.from({ length: passages.size }, (_, row) => row);
  expect(rows.map((row) => passages.id(row))).toEqual(['long#1', 'long#2', 'long#3', 'short']);
  expect(rows.map((row) => passages.document(row))).toEqual(['long', 'long', 'long', 'short']);
  expect(passages.text(0)).toBe(`Numbers ${sentence(0)} ${sentence(1)}`);
  expect(passages.text(3)).toBe('Two words.');
});
