/*
 * Loads the language models of src/models/language/fixtures/causal/, saves them with Undrift, and writes their logits and greedy
 * continuations, for saved_language_models.py to check:
 *
 *     npx tsx tools/reference/saved-language-models.ts FOLDER && python tools/reference/saved_language_models.py FOLDER
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CachedReading } from '../../src/models/language/cached-reading.ts';
import { generateText } from '../../src/models/language/generate.ts';
import { LanguageModel } from '../../src/models/language/language-model.ts';
import { saveLanguageModel } from '../../src/models/language/save-language-model.ts';

const FIXTURES = 'src/models/language/fixtures/causal';
const [, , out] = process.argv;
if (out === undefined) throw new Error('give a folder to write to');
const cases: Record<string, unknown> = {};
for (const name of readdirSync(FIXTURES)) {
  const { start } = JSON.parse(readFileSync(join(FIXTURES, name, 'golden.json'), 'utf8')) as {
    start: string;
  };
  const model = await LanguageModel.load(join(FIXTURES, name));
  await saveLanguageModel(join(out, name), model);
  const { logits } = await CachedReading.begin(model, [model.tokenizer.encode(start)], { threads: 1 });
  const { text } = await generateText(model, start, { tokens: 12, threads: 1 });
  cases[name] = { start, logits: [...logits], written: start + text };
  await model.dispose();
}
writeFileSync(join(out, 'cases.json'), JSON.stringify(cases));
