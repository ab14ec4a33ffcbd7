/**
 * @file Trains the tokenizers of src/text/fixtures from corpus.txt with Undrift's own trainers:
 *
 *     npx tsx tools/reference/tokenizer-golden.ts
 *
 * Run tokenizer_golden.py afterwards. It writes the ids that Hugging Face's library gives with these files.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { trainVocabulary } from '../../src/text/train-vocabulary.ts';

const fixtures = new URL('../../src/text/fixtures/', import.meta.url);
const texts = readFileSync(new URL('corpus.txt', fixtures), 'utf8').trim().split('\n');
for (const model of ['wordpiece', 'bpe'] as const) {
  const json = trainVocabulary(texts, { model, vocabSize: 700, alphabetLimit: 250 });
  writeFileSync(new URL(`${model}.json`, fixtures), `${JSON.stringify(json)}\n`);
}
