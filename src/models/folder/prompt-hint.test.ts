import { cpSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { tempFiles } from '../../../test/temp-files.ts';
import { asFlags } from '../../util/option-name.ts';
import { loadRetriever } from './load-retriever.ts';
import { promptHint } from './prompt-hint.ts';

const BERT = join(import.meta.dirname, '..', 'architectures', 'fixtures', 'bert');

test.each([
  ['"query: how much", "passage: as much"', '--query-prompt "query: " --doc-prompt "passage: "'],
  ["f'search_query: {q}'", '--query-prompt "search_query: " --doc-prompt "search_document: "'],
  [
    'use `Represent this sentence for searching relevant passages: `',
    '--query-prompt "Represent this sentence for searching relevant passages: "',
  ],
  ["return f'Instruct: {task}\\nQuery: {query}'", '--query-prompt "Instruct: Given a web search query'],
  ['{"query": "text"}\nquery: value\n', undefined],
  ['An encoder of sentences.', undefined],
])('a card that says %s', async (card, flags) => {
  const hint = await promptHint(tempFiles({ 'README.md': card }));
  if (flags === undefined) expect(hint).toBeUndefined();
  else expect(asFlags(hint!)).toContain(flags);
});

test.each([
  ['e5-small-v2', true],
  ['multilingual-e5-base', true],
  ['models--org--nomic-embed-text-v1.5/snapshots/0123', true],
  ['bge-small-en-v1.5', true],
  ['all-MiniLM-L6-v2', false],
  ['bge-m3', false],
  ['code5-model', false],
])('a folder named %s, without a card', async (name, isKnown) => {
  const hint = await promptHint(join(tempFiles(), name));
  expect(hint?.includes('models of this name were trained with prompts') ?? false).toBe(isKnown);
});

test('is given when a model is loaded without prompts, and not if it has some', async () => {
  const folder = join(tempFiles(), 'e5-tiny');
  cpSync(BERT, folder, { recursive: true });
  const hints = async (options: Parameters<typeof loadRetriever>[1] = {}) => {
    const notes: string[] = [];
    const plain: string[] = [];
    await loadRetriever(folder, {
      ...options,
      onNote: (note, marked = note) => {
        plain.push(note);
        notes.push(asFlags(marked));
      },
    });
    expect(plain.join()).not.toContain('--');
    return notes.filter((note) => note.includes('prompt'));
  };
  expect(await hints()).toEqual([expect.stringContaining('--query-prompt "query: "')]);
  expect(await hints({ prompts: { query: '' } })).toEqual([]);
  const prompts = (value: object) =>
    writeFileSync(join(folder, 'config_sentence_transformers.json'), JSON.stringify({ prompts: value }));
  prompts({ query: 'query: ', passage: 'passage: ' });
  expect(await hints()).toEqual([]);
  prompts({ 'Clustering-query': 'cluster: ', empty: '' });
  expect(await hints()).toEqual([
    expect.stringContaining('has prompts for Clustering-query, and none that is for queries'),
  ]);
});
