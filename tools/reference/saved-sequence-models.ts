/*
 * Loads the encoder-decoders of src/models/encoder-decoder/fixtures/, saves them with Undrift, and a new one beside them, and writes
 * log-probabilities and greedy outputs, for saved_sequence_models.py to check:
 *
 *     npx tsx tools/reference/saved-sequence-models.ts FOLDER && python tools/reference/saved_sequence_models.py FOLDER
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createSequenceToSequence } from '../../src/models/encoder-decoder/create-sequence-to-sequence.ts';
import { generateTargets } from '../../src/models/encoder-decoder/generate-targets.ts';
import { saveSequenceToSequence } from '../../src/models/encoder-decoder/save-sequence-to-sequence.ts';
import { SequenceToSequenceModel } from '../../src/models/encoder-decoder/sequence-to-sequence.ts';

const FIXTURES = 'src/models/encoder-decoder/fixtures';
const [, , out] = process.argv;
if (out === undefined) throw new Error('give a folder to write to');
const models = new Map<string, SequenceToSequenceModel>();
for (const name of readdirSync(FIXTURES))
  models.set(name, await SequenceToSequenceModel.load(join(FIXTURES, name)));
const { tokenizer } = models.get('t5-tied')!;
models.set('new', createSequenceToSequence({ tokenizer, hidden: 16, layers: 2, heads: 2, tied: false }));
const { inputs, targets } = JSON.parse(readFileSync(join(FIXTURES, 't5-tied', 'golden.json'), 'utf8')) as {
  inputs: string[];
  targets: string[];
};
const cases: Record<string, unknown> = {};
for (const [name, model] of models) {
  await saveSequenceToSequence(join(out, name), model);
  const examples = inputs.map((text, i) => ({
    inputs: [model.inputIds(text, { specialTokens: true })],
    target: model.targetIds(targets[i]!),
  }));
  const scores = await model.scoreTokens(examples, { threads: 1 });
  const written = await generateTargets(
    model,
    examples.map((example) => example.inputs),
    { tokens: 12, threads: 1 },
  );
  cases[name] = {
    inputs,
    targets,
    logProbabilities: scores.map(({ logProbabilities }) => [...logProbabilities]),
    written: written.map(({ text }) => text),
  };
  await model.dispose();
}
writeFileSync(join(out, 'cases.json'), JSON.stringify(cases));
