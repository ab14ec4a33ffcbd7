/**
 * Makes the tables of docs/export.md, from what `undrift export … --json` and `npm run bench:parity -- --json` wrote:
 *
 *     undrift export --model … --format sentence-transformers,onnx,onnx-embedding --dtype f32,f16,int8 --json > bench/results/export/….json
 *     npm run --silent bench:parity -- --json > bench/results/export/parity.json
 *     npx tsx tools/docs/make-export-tables.ts
 */
import { readFileSync } from 'node:fs';
import type { ExportReport } from '../../src/export/export-model.ts';
import { fillBlock } from './fill-block.ts';

const PAGE = new URL('../../docs/export.md', import.meta.url);
const read = (file: string) =>
  JSON.parse(readFileSync(new URL(`../../bench/results/export/${file}`, import.meta.url), 'utf8'));

const table = (rows: readonly (readonly string[])[]): string => {
  const [head, ...body] = rows;
  return [head!, head!.map(() => '---'), ...body].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
};

const MODELS = { static: 'quick start (static)', transformer: 'transformer, 2 layers of 64' };

const exported = Object.entries(MODELS).flatMap(([name, title]) =>
  (read(`${name}.json`) as ExportReport).files
    .filter(
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
fillBlock(
  'export-differences',
  table([['model', 'file', 'size', 'largest difference', 'mean cosine', 'least cosine'], ...exported]),
  PAGE,
);

const { rows, versions } = read('parity.json') as {
  rows: { model: string; what: string; texts: number; largestDifference: number }[];
  versions: Record<string, string>;
};
fillBlock(
  'parity',
  `${table([
    ['model', 'by', 'texts', 'largest difference'],
    ...rows.map((row) => [row.model, row.what, String(row.texts), row.largestDifference.toExponential(1)]),
  ])}\n\n${Object.entries(versions)
    .map(([name, version]) => `${name} ${version}`)
    .join(', ')}.`,
  PAGE,
);
