/*
 * Loads the masked language models of src/models/masked/fixtures/, saves them with Undrift, and a new one beside them, and writes the
 * log-probabilities of answers behind masks, for saved_masked_models.py to check:
 *
 *     npx tsx tools/reference/saved-masked-models.ts FOLDER && python tools/reference/saved_masked_models.py FOLDER
 */
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createMaskedLanguageModel } from '../../src/models/masked/create-masked-language-model.ts';
import { MaskedLanguageModel } from '../../src/models/masked/masked-language-model.ts';
import { MaskedPrompt } from '../../src/models/masked/masked-prompt.ts';
import { saveMaskedLanguageModel } from '../../src/models/masked/save-masked-language-model.ts';

const FIXTURES = 'src/models/masked/fixtures';
const [, , out] = process.argv;
if (out === undefined) throw new Error('give a folder to write to');
const names = readdirSync(FIXTURES).filter((name) => !name.includes('.'));
const models = new Map<string, MaskedLanguageModel>();
for (const name of names) models.set(name, await MaskedLanguageModel.load(join(FIXTURES, name)));
const { tokenizer } = models.get('bert')!;
models.set('new', createMaskedLanguageModel({ tokenizer, hidden: 16, layers: 2, heads: 2 }));
const cases: Record<string, unknown> = {};
for (const [name, model] of models) {
  await saveMaskedLanguageModel(join(out, name), model);
  const asked = { query: 'the cat sat on the ___ .', answer: 'red house', passage: 'a red house' };
  const sequence = new MaskedPrompt().tokens(model, asked);
  const [scores] = await model.scoreTokens([sequence], { threads: 1 });
  const [places, answer] = [[...sequence.places], [...sequence.answer]];
  cases[name] = { ids: [...sequence.ids], places, answer, logProbabilities: [...scores!] };
  await model.dispose();
}
writeFileSync(join(out, 'cases.json'), JSON.stringify(cases));
