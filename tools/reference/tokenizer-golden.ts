/**
 * Trains the tokenizers of src/text/fixtures from corpus.txt with our own trainers:
 *
 *     npx tsx tools/reference/tokenizer-golden.ts
 *
 * Run tokenizer_golden.py afterwards: it asks Hugging Face's library for the ids that these files give.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { trainVocabulary } from '../../src/text/train-vocabulary.ts';

const fixtures = new URL('../../src/text/fixtures/', import.meta.url);
const texts = readFileSync(new URL('corpus.txt', fixtures), 'utf8').trim().split('\n');
for (const model of ['wordpiece', 'bpe'] as const) {
  const json = trainVocabulary(texts, { model, vocabSize: 700, alphabetLimit: 250 });
  writeFileSync(new URL(`${model}.json`, fixtures), `${JSON.stringify(json)}\n`);
}
