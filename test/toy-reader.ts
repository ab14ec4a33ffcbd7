import { join } from 'node:path';
import { createSequenceToSequence } from '../src/models/encoder-decoder/create-sequence-to-sequence.ts';
import { saveSequenceToSequence } from '../src/models/encoder-decoder/save-sequence-to-sequence.ts';
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
