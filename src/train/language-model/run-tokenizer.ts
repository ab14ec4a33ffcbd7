import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Tokenizer } from '../../text/tokenizer.ts';
import type { VocabularyOptions } from '../../text/train-vocabulary.ts';
import { UsageError } from '../../util/errors.ts';
import { option } from '../../util/option-name.ts';
import { TOKENIZER } from '../run-folder.ts';
import type { TextSettings } from './text-run-settings.ts';
import type { RunTexts } from './texts.ts';

/**
 * Makes the tokenizer of a new model: that of the run which is resumed, or a given one, or one whose vocabulary is trained on the texts.
 *
 * @param options.fromRun  folder of the run to resume
 * @param options.kind  kind of a trained vocabulary. Default: byte-level BPE for a decoder
 */
export async function runTokenizer(
  { tokenizer, vocabSize }: Pick<TextSettings, 'tokenizer' | 'vocabSize'>,
  texts: RunTexts,
  {
    fromRun,
    kind,
  }: { fromRun: string | undefined; kind?: Pick<VocabularyOptions, 'model' | 'purpose'> | undefined },
): Promise<Tokenizer> {
  const stored = fromRun && join(fromRun, TOKENIZER);
  const file = stored && existsSync(stored) ? stored : tokenizer;
  return file ? Tokenizer.fromFile(file) : Tokenizer.fromJson(await texts.vocabulary(vocabSize!, kind));
}

/** @throws UsageError where a given model does not read windows of the length asked for */
export function checkWindow(
  { model, window }: Pick<TextSettings, 'model' | 'window'>,
  maxTokens: number | undefined,
): void {
  if (maxTokens === undefined || window <= maxTokens) return;
  throw new UsageError(`${option('window', window)}: ${model} reads ${maxTokens} tokens`, {
    help: `use ${option('window', maxTokens)} or less`,
  });
}
