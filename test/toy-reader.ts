import { join } from 'node:path';
import { createSequenceToSequence } from '../src/models/encoder-decoder/create-sequence-to-sequence.ts';
import { saveSequenceToSequence } from '../src/models/encoder-decoder/save-sequence-to-sequence.ts';
import { createMaskedLanguageModel } from '../src/models/masked/create-masked-language-model.ts';
import { saveMaskedLanguageModel } from '../src/models/masked/save-masked-language-model.ts';
import { tempFiles } from './temp-files.ts';
import { toyTokenizer } from './toy-training.ts';

/** Writes a small T5 with the vocabulary of the toy texts. Returns its folder. */
export async function toyReader(): Promise<string> {
  const folder = join(tempFiles({}), 'reader');
  const model = createSequenceToSequence({
    ...{ tokenizer: toyTokenizer(), hidden: 16, layers: 1, heads: 2, intermediate: 24, seed: 2 },
  });
  await saveSequenceToSequence(folder, model);
  await model.dispose();
  return folder;
}

/** Writes a small BERT with the vocabulary of the toy texts. Returns its folder. */
export async function toyMaskedReader(): Promise<string> {
  const folder = join(tempFiles({}), 'reader');
  const model = createMaskedLanguageModel({
    ...{
      tokenizer: toyTokenizer(),
      hidden: 16,
      layers: 1,
      heads: 2,
      intermediate: 24,
      maxTokens: 64,
      seed: 2,
    },
  });
  await saveMaskedLanguageModel(folder, model);
  await model.dispose();
  return folder;
}
