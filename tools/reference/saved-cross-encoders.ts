/*
 * Loads the cross-encoders of src/models/cross-encoder/fixtures/ with 13 tokens a pair, saves them with Undrift, and writes
 * the scores of their pairs, for saved_cross_encoders.py to check:
 *
 *     npx tsx tools/reference/saved-cross-encoders.ts FOLDER && python tools/reference/saved_cross_encoders.py FOLDER
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadCrossEncoder } from '../../src/models/cross-encoder/load-cross-encoder.ts';
import { saveCrossEncoder } from '../../src/models/cross-encoder/save-cross-encoder.ts';

const FIXTURES = 'src/models/cross-encoder/fixtures';
const [, , out] = process.argv;
if (out === undefined) throw new Error('give a folder to write to');
const { pairs } = JSON.parse(readFileSync(join(FIXTURES, 'cases.json'), 'utf8')) as {
  pairs: [string, string][];
};
const scores: Record<string, number[]> = {};
for (const name of readdirSync(FIXTURES).filter((each) => !each.endsWith('.json'))) {
  const activation = name === 'roberta' ? 'identity' : 'sigmoid';
  const crossEncoder = await loadCrossEncoder(join(FIXTURES, name), { maxTokens: 13, activation });
  await saveCrossEncoder(join(out, name), crossEncoder);
  scores[name] = [...(await crossEncoder.score(pairs, { threads: 1 }))];
  await crossEncoder.dispose();
}
writeFileSync(join(out, 'scores.json'), JSON.stringify({ pairs, scores }));
