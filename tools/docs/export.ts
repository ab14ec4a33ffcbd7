/**
 * @file Makes the tables of docs/export.md from the output of these commands:
 *
 *     undrift export --model … --format sentence-transformers,onnx,onnx-embedding --dtype f32,f16,int8 --json > bench/results/export/….json
 *     npm run --silent bench:parity -- --json > bench/results/export/parity.json
 */
import type { ExportReport } from '../../src/export/export-model.ts';
import { type MadePage, markdownTable, readResult } from './page.ts';

const MODELS = { static: 'quick start (static)', transformer: 'transformer, 2 layers of 64' };

interface Parity {
  readonly rows: readonly { model: string; what: string; texts: number; largestDifference: number }[];
  readonly versions: Readonly<Record<string, string>>;
}

/** Generated parts of docs/export.md. */
export const exportPage = (): MadePage => ({
  page: 'docs/export.md',
  blocks: { 'export-differences': differences(), parity: parity() },
});

/** Makes a table with one row for each exported file. */
function differences(): string {
  const rows = Object.entries(MODELS).flatMap(([name, title]) =>
    readResult<ExportReport>(`export/${name}.json`)
      .files.filter(
        ({ vectors, side }) =>
          vectors === 'sentence_embedding' || (vectors === 'loaded' && side === 'document'),
      )
      .filter(({ path }) => !path.includes('embedding'))
      .map((file) => [
        title,
        `\`${file.path}\``,
        `${(file.bytes / 1e6).toFixed(1)} MB`,
        file.largestDifference.toExponential(1),
        file.meanCosine.toFixed(6),
        file.minCosine.toFixed(6),
      ]),
  );
  return markdownTable(['model', 'file', 'size', 'largest difference', 'mean cosine', 'least cosine'], rows);
}

function parity(): string {
  const { rows, versions } = readResult<Parity>('export/parity.json');
  const table = markdownTable(
    ['model', 'by', 'texts', 'largest difference'],
    rows.map((row) => [row.model, row.what, String(row.texts), row.largestDifference.toExponential(1)]),
  );
  const made = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  return `${table}\n\n${made.join(', ')}.`;
}
