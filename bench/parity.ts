/**
 * Compares the vectors of Undrift with those of Python:
 *
 *     npm run bench:parity -- [--model FOLDER] [--steps N] [--json]
 *
 * Trains the model of the quick start, a transformer, and a pair of towers with a projection, or takes the
 * model of `--model`. Embeds 200 texts of each side with Undrift and with sentence-transformers, and runs the
 * snippets of the model cards. Exits with code 1 if any element differs by more than 1e-5.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { buildApiDocs } from '../src/data/api-docs.ts';
import { compareVectors } from '../src/export/compare-vectors.ts';
import { parityTexts } from '../src/export/parity-texts.ts';
import { F32_TOLERANCE } from '../src/export/tolerances.ts';
import { loadRetriever, saveRetriever } from '../src/models/folder/model-folder.ts';
import type { Retriever, Side } from '../src/models/retriever/retriever.ts';
import type { TrainOptions } from '../src/train/settings.ts';
import { trainRetriever } from '../src/train/train-retriever.ts';
import { freshProcess } from './fresh-process.ts';
import { peersPython } from './peers/python.ts';
import { table } from './statistics.ts';

const { values: options } = parseArgs({
  options: {
    model: { type: 'string', multiple: true },
    steps: { type: 'string', default: '300' },
    json: { type: 'boolean', default: false },
  },
});

const TEXTS = 200;
const SIDES = ['query', 'document'] as const;

interface Answer {
  readonly vectors: Readonly<Record<string, readonly (readonly number[])[]>>;
  readonly versions: Readonly<Record<string, string>>;
}

/**
 * Returns 200 texts of a side. Queries that would be truncated are left out, since sentence-transformers has
 * one maximum length for both sides, which is longer than Undrift's for queries.
 */
function textsOf(retriever: Retriever, side: Side): string[] {
  const { maxTokens } = retriever.config;
  const all = parityTexts(2 * TEXTS);
  const store = retriever.tokenize(side, all.length, (row) => all[row]!);
  const longest = Math.max(...Object.values(maxTokens));
  const same = all.filter((_, row) => maxTokens[side] === longest || store.length(row) < maxTokens[side]);
  if (same.length < TEXTS) throw new Error(`only ${same.length} texts of at most ${maxTokens[side]} tokens`);
  return same.slice(0, TEXTS);
}

async function compare(name: string, folder: string, scratch: string) {
  const retriever = await loadRetriever(folder);
  const texts = Object.fromEntries(SIDES.map((side) => [side, textsOf(retriever, side)])) as Record<
    Side,
    string[]
  >;
  const input = join(scratch, 'input.json');
  const { towers } = retriever.config;
  await writeFile(input, JSON.stringify({ ...texts, card: join(folder, 'README.md'), towers }));
  const script = fileURLToPath(new URL('peers/parity.py', import.meta.url));
  const { vectors, versions } = await freshProcess<Answer>(peersPython(), [script, folder, input]);
  const rows = [];
  for (const [what, made] of Object.entries(vectors)) {
    const side: Side = what.includes('query') ? 'query' : 'document';
    const compared = what.startsWith('card') ? ['a text'] : texts[side];
    const expected = await retriever.encode(side, compared);
    const found = Float32Array.from(made.flat());
    if (found.length !== expected.length)
      throw new Error(`${name}, ${what}: ${found.length} numbers, not ${expected.length}`);
    rows.push({
      model: name,
      what,
      texts: compared.length,
      ...compareVectors(found, expected, retriever.dimension),
    });
  }
  await retriever.dispose();
  return { rows, versions };
}

const scratch = await mkdtemp(join(tmpdir(), 'undrift-parity-'));
try {
  const models =
    options.model?.map((folder) => [basename(folder), folder] as const) ?? (await trained(scratch));
  const rows = [];
  let versions = {};
  for (const [name, folder] of models) {
    const found = await compare(name, folder, scratch);
    rows.push(...found.rows);
    versions = found.versions;
  }
  const differs = rows.some(({ largestDifference }) => !(largestDifference <= F32_TOLERANCE));
  if (options.json) console.log(JSON.stringify({ versions, tolerance: F32_TOLERANCE, rows }));
  else {
    console.log(
      table([
        ['model', 'by', 'texts', 'largest difference'],
        ...rows.map((row) => [
          row.model,
          row.what,
          String(row.texts),
          row.largestDifference.toExponential(1),
        ]),
      ]),
    );
    console.log(
      Object.entries(versions)
        .map(([name, version]) => `${name} ${version}`)
        .join(', '),
    );
  }
  process.exitCode = differs ? 1 : 0;
} finally {
  await rm(scratch, { recursive: true, force: true });
}

/** Trains the models to compare. Each one also gets a copy with prompts. */
async function trained(folder: string): Promise<[string, string][]> {
  const data = join(folder, 'api-docs');
  await buildApiDocs({ out: data });
  const kinds: [string, Partial<TrainOptions>][] = [
    ['quick start', { model: 'static' }],
    ['transformer', { model: 'transformer', hidden: 64, steps: Number(options.steps) }],
  ];
  const models: [string, string][] = [];
  for (const [name, more] of kinds) {
    console.error(`train: ${name}`);
    const out = join(folder, name.replaceAll(' ', '-'));
    const { model } = await trainRetriever({ data, out, ...more });
    models.push([name, model]);
    const prompted = await loadRetriever(model, { prompts: { query: 'query: ', document: 'passage: ' } });
    await saveRetriever(`${out}-prompts`, prompted);
    models.push([`${name}, prompts`, `${out}-prompts`]);
  }
  const pair = await loadRetriever(models.at(-1)![1], { towers: 'separate', projectionSize: 32, seed: 1 });
  for (const [key, { data: weights }] of Object.entries(pair.weights)) {
    // Makes the two towers different.
    if (key.startsWith('query/'))
      for (let i = 0; i < weights.length; i += 3) (weights as Float32Array)[i]! *= 1.1;
  }
  await saveRetriever(join(folder, 'pair'), pair);
  models.push(['pair, projection', join(folder, 'pair')]);
  return models;
}
