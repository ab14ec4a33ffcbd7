/**
 * @file Makes all generated parts of the documentation that need no measurement: references from the code,
 *   and tables and charts from the result files in bench/results/.
 *
 *     npm run docs          writes them
 *     npm run docs:check    writes nothing; lists outdated files, with exit code 1
 */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { clusterPage } from './cluster.ts';
import { correctorsPage } from './correctors.ts';
import { dataPage } from './data.ts';
import { experimentsPage } from './experiments.ts';
import { exportPage } from './export.ts';
import { folderFieldsPage } from './folder-fields.ts';
import { methodGuide } from './guides.ts';
import { languageModelExperimentsPage } from './language-model-experiments.ts';
import { languageModelsPage } from './language-models.ts';
import { lossesPage } from './losses.ts';
import { references } from './make-reference.ts';
import { migrationPage } from './migration.ts';
import { filesOf, inRepository, writeFiles } from './page.ts';
import { performancePage } from './performance.ts';
import { readmePage } from './readme.ts';
import { storePage } from './store.ts';

/** Makes the contents of all generated files, by their path. */
export async function generatedFiles(): Promise<Record<string, string>> {
  const pages = [
    clusterPage(),
    correctorsPage(),
    dataPage(),
    await experimentsPage(),
    exportPage(),
    folderFieldsPage(),
    languageModelExperimentsPage(),
    languageModelsPage(),
    lossesPage(),
    migrationPage(),
    methodGuide(),
    performancePage(),
    readmePage(),
    storePage(),
  ];
  const whole = await Promise.all(
    Object.entries(references).map(async ([name, make]) => [`docs/${name}`, await make()]),
  );
  return { ...Object.fromEntries(whole), ...Object.assign({}, ...pages.map(filesOf)) };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const files = await generatedFiles();
  const isStale = (name: string) =>
    !existsSync(inRepository(name)) || readFileSync(inRepository(name), 'utf8') !== files[name];
  const stale = Object.keys(files).filter(isStale);
  const check = process.argv.includes('--check');
  if (!check) writeFiles(files);
  for (const name of stale) console.log(`${name} ${check ? 'is out of date: run npm run docs' : 'written'}`);
  if (check && stale.length > 0) process.exitCode = 1;
}
