import { join } from 'node:path';
import { expect, it } from 'vitest';
import { tempFiles } from '../../../test/temp-files.ts';
import { Tokenizer } from '../../text/tokenizer.ts';
import { trainVocabulary } from '../../text/train-vocabulary.ts';
import { UsageError } from '../../util/errors.ts';
import { createRetriever } from '../retriever/create-retriever.ts';
import { embeddingSpaceId } from '../retriever/embedding-space.ts';
import { loadRetriever } from './open-retriever.ts';
import { saveRetriever } from './save-retriever.ts';

const tokenizer = Tokenizer.fromJson(trainVocabulary(['a few words'], { model: 'wordpiece', vocabSize: 40 }));
const retriever = () => createRetriever({ kind: 'static', tokenizer, hidden: 8, seed: 1 });

it('loads a model folder and the best model of a training run', async () => {
  const run = tempFiles({ 'settings.json': '{}' });
  await saveRetriever(join(run, 'model'), retriever());
  for (const named of [run, join(run, 'model')]) {
    const loaded = await loadRetriever(named, { prompts: { query: 'q: ' } });
    expect(loaded.config.prompts.query).toBe('q: ');
    expect(embeddingSpaceId(await loadRetriever(named))).toBe(embeddingSpaceId(retriever()));
  }
});

it('names what is no model', async () => {
  await expect(loadRetriever(tempFiles())).rejects.toThrow(
    /^model .*: the folder is empty\n {2}help: give the folder of a model/,
  );
  const absent = join(tempFiles(), 'absent');
  await expect(loadRetriever(absent)).rejects.toThrow(
    /^model .*absent: no such folder\n {2}help: name a training run/,
  );
  await expect(loadRetriever(absent)).rejects.toBeInstanceOf(UsageError);
});
