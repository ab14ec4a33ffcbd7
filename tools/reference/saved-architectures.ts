/**
 * @file Writes each of the tiny models of src/models/architectures/fixtures as an Undrift model folder, for
 *   saved_architectures.py:
 *
 *     npx tsx tools/reference/saved-architectures.ts FOLDER && python tools/reference/saved_architectures.py FOLDER
 */
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadRetriever, saveRetriever } from '../../src/models/folder/model-folder.ts';

const FIXTURES = 'src/models/architectures/fixtures';
const [out] = process.argv.slice(2);
if (!out) throw new Error('name a folder to write to');
for (const name of readdirSync(FIXTURES)) {
  if (!existsSync(join(FIXTURES, name, 'config.json'))) continue;
  const folder = mkdtempSync(join(tmpdir(), 'architecture-'));
  cpSync(join(FIXTURES, 'bert', 'tokenizer.json'), join(folder, 'tokenizer.json'));
  cpSync(join(FIXTURES, name), folder, { recursive: true });
  const { pooling } = JSON.parse(readFileSync(join(folder, 'golden.json'), 'utf8'));
  await saveRetriever(join(out, name), await loadRetriever(folder, { pooling }));
  rmSync(folder, { recursive: true });
}
