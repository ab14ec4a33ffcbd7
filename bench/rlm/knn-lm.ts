/**
 * Measures kNN-LM: datastore sizes, numbers of neighbours, kinds of keys, random keys, and the continuous cache.
 *
 *     npx tsx bench/rlm/knn-lm.ts NAME --model FOLDER --datastore FOLDER --dev FILE --test FILE [--arms full,half,quarter,random]
 *         [--window 512] [--dev-articles 100] [--test-articles 200] [--article-tokens 128] [--out bench/results/rlm]
 *
 * NAME names the result files, such as `wikipedia` or `medquad`. The datastore is built beforehand, by `undrift lm datastore`; one for
 * each kind of keys, under a NAME of its own. Of each article of the dev and test files, the first tokens are scored. An arm reads
 * both sets once, looks up 1,024 neighbours of each token, and gives all rows of its table: the language model alone (`none`), k
 * neighbours (`k1`, `k8`, `k64`, `k1024`), the cache alone, both. Temperatures and weights of each row are chosen on dev, and test is
 * scored once with them. `random` searches the same keys with the tokens of other places.
 *
 * Each arm writes OUT/knn-lm-NAME-ARM.json when it is done, with the nats of every article, and is not run again while that file has its
 * settings. Costs of an arm with SmolLM2 of 135 M parameters on two cores: about 4 ms a token to read, and 0.015 ms for each thousand
 * tokens of the datastore and token to search.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { thisMachine } from '../../src/compare/machine.ts';
import { streamTextCorpus } from '../../src/data/text-corpus.ts';
import { bootstrapInterval } from '../../src/eval/significance.ts';
import { LanguageModel } from '../../src/models/language/language-model.ts';
import { documentSegments } from '../../src/rlm/evaluate-text.ts';
import { countScored, type Segment } from '../../src/rlm/language-system.ts';
import { withRandomTokens } from '../../src/rlm/random-tokens.ts';
import { mixLogProbabilities } from '../../src/rlm/recalled-tokens.ts';
import { Recaller, type SegmentRecall } from '../../src/rlm/recaller.ts';
import { TokenDatastore, type TokenMemory } from '../../src/rlm/token-datastore.ts';
import { type TunedWeights, tuneKnnLm } from '../../src/rlm/tune-knn-lm.ts';
import { storedResult } from './results.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    model: { type: 'string' },
    datastore: { type: 'string' },
    dev: { type: 'string' },
    test: { type: 'string' },
    arms: { type: 'string', default: 'full,half,quarter,random' },
    window: { type: 'string', default: '512' },
    'dev-articles': { type: 'string', default: '100' },
    'test-articles': { type: 'string', default: '200' },
    'article-tokens': { type: 'string', default: '128' },
    out: { type: 'string', default: 'bench/results/rlm' },
  },
});
const [name] = positionals;
const { model: modelFolder, datastore: folder, dev, test, out } = values;
if (!name || !modelFolder || !folder || !dev || !test) {
  throw new Error(
    'usage: npx tsx bench/rlm/knn-lm.ts NAME --model FOLDER --datastore FOLDER --dev FILE --test FILE',
  );
}

/** Neighbours that are looked up, and those that the rows of the table use. */
const MOST = 1024;
const NEIGHBOURS = [1, 8, 64, MOST];
const SHARES: Readonly<Record<string, number>> = { full: 1, half: 0.5, quarter: 0.25, random: 1 };
/** Number of resamples of the intervals. */
const SAMPLES = 10_000;

/** Content of a result file. */
interface KnnResult {
  readonly settings: unknown;
  readonly tokens: number;
  readonly rows: Readonly<Record<string, Row>>;
  readonly [more: string]: unknown;
}

/** Row of the table: what is mixed with the language model, and with which weights. */
interface Row {
  readonly weights: TunedWeights | undefined;
  readonly devPerplexity: number;
  readonly perplexity: number;
  /** Nats of each test article. */
  readonly nats: readonly number[];
  /** Difference from the language model alone, in nats per token, with its interval over articles. */
  readonly difference: number;
  readonly low: number;
  readonly high: number;
}

const say = (text: string): void => {
  process.stderr.write(process.stderr.isTTY ? `\r\x1b[K${text}` : `${text}\n`);
};

/** First tokens of the first articles of a file that have as many. */
async function segmentsOf(model: LanguageModel, file: string, articles: number): Promise<Segment[]> {
  const window = Number(values.window);
  const tokens = Number(values['article-tokens']);
  const segments: Segment[] = [];
  const ids = new Set<string>();
  for await (const document of streamTextCorpus(file)) {
    const found = documentSegments({ model }, document, { window, stride: window }, tokens).segments;
    if (countScored(found) < tokens) continue;
    segments.push(...found);
    ids.add(document.id);
    if (ids.size === articles) break;
  }
  return segments;
}

async function recall(
  model: LanguageModel,
  memory: TokenMemory,
  segments: readonly Segment[],
  stage: string,
): Promise<SegmentRecall[]> {
  const recaller = new Recaller(model, { memory, neighbours: MOST, cache: true });
  const found: SegmentRecall[] = [];
  let tokens = 0;
  for await (const each of recaller.recall(segments)) {
    found.push(each);
    tokens += each.base.length;
    if (found.length % 32 === 0 || found.length === segments.length) say(`${stage}: ${tokens} tokens`);
  }
  await recaller.dispose();
  return found;
}

/** Log-probabilities of the tokens of each segment under tuned weights. */
const mixed = (recalled: readonly SegmentRecall[], weights: TunedWeights | undefined): Float32Array[] =>
  recalled.map(({ base, neighbours, cache }) => {
    if (!weights) return base;
    const { temperature, lambda, neighbours: k, cacheTheta, cacheLambda } = weights;
    return mixLogProbabilities(base, [
      ...(lambda > 0
        ? [{ logProbabilities: neighbours!.logProbabilities(1 / temperature, k), weight: lambda }]
        : []),
      ...(cacheLambda > 0
        ? [{ logProbabilities: cache!.logProbabilities(cacheTheta), weight: cacheLambda }]
        : []),
    ]);
  });

const sumOf = (values: Iterable<number>): number => {
  let sum = 0;
  for (const value of values) sum += value;
  return sum;
};

/** Runs one arm: recalls dev and test, tunes every row on dev and scores test. */
async function runArm(model: LanguageModel, memory: TokenMemory): Promise<Readonly<Record<string, Row>>> {
  const devSegments = await segmentsOf(model, dev!, Number(values['dev-articles']));
  const testSegments = await segmentsOf(model, test!, Number(values['test-articles']));
  const onDev = await recall(model, memory, devSegments, 'dev');
  const onTest = await recall(model, memory, testSegments, 'test');
  const ids = [...new Set(testSegments.map(({ document }) => document!))];
  const places = new Map(ids.map((id, i) => [id, i]));
  const perArticle = (scores: readonly Float32Array[]): number[] => {
    const nats = new Array<number>(ids.length).fill(0);
    for (const [i, own] of scores.entries()) nats[places.get(testSegments[i]!.document!)!]! -= sumOf(own);
    return nats;
  };
  const tokens = onTest.reduce((sum, { base }) => sum + base.length, 0);
  const perToken = tokens / ids.length;
  const alone = perArticle(mixed(onTest, undefined));
  const row = (weights: TunedWeights | undefined, devPerplexity: number): Row => {
    const nats = perArticle(mixed(onTest, weights));
    const differences = Float64Array.from(nats, (own, i) => (own - alone[i]!) / perToken);
    const { low, high } = bootstrapInterval(differences, { samples: SAMPLES });
    const difference = sumOf(differences) / differences.length;
    const perplexity = Math.exp(sumOf(nats) / tokens);
    return { weights, devPerplexity, perplexity, nats, difference, low, high };
  };
  const without = (of: 'neighbours' | 'cache') => onDev.map((each) => ({ ...each, [of]: undefined }));
  const rows: Record<string, Row> = {};
  const add = (label: string, { best }: { readonly best: TunedWeights }) => {
    rows[label] = row(best, best.perplexity);
  };
  const cache = tuneKnnLm(without('neighbours'));
  rows.none = row(undefined, cache.basePerplexity);
  for (const k of NEIGHBOURS.filter((each) => each <= memory.size))
    add(`k${k}`, tuneKnnLm(without('cache'), { neighbours: [k] }));
  add('cache', cache);
  add('both', tuneKnnLm(onDev));
  return rows;
}

mkdirSync(out, { recursive: true });
const arms = values.arms.split(',');
const unknown = arms.find((arm) => !(arm in SHARES));
if (unknown !== undefined)
  throw new Error(`unknown arm "${unknown}"; there are ${Object.keys(SHARES).join(', ')}`);
const model = await LanguageModel.load(modelFolder);
for (const arm of arms) {
  const share = SHARES[arm]!;
  const datastore = await TokenDatastore.open(folder, { share });
  datastore.check(model);
  const settings = {
    ...{ model: basename(modelFolder), dev: basename(dev), test: basename(test), share, neighbours: MOST },
    window: Number(values.window),
    devArticles: Number(values['dev-articles']),
    testArticles: Number(values['test-articles']),
    articleTokens: Number(values['article-tokens']),
    datastore: datastore.manifest,
  };
  const file = join(out, `knn-lm-${name}-${arm}.json`);
  let stored = storedResult<KnnResult>(file, settings);
  if (!stored) {
    const start = performance.now();
    const rows = await runArm(model, arm === 'random' ? withRandomTokens(datastore) : datastore);
    const seconds = (performance.now() - start) / 1000;
    stored = { name, arm, settings, machine: thisMachine(), tokens: datastore.size, seconds, rows };
    writeFileSync(file, `${JSON.stringify(stored)}\n`);
    say(`${arm}: ${seconds.toFixed(0)} s\n`);
  }
  await datastore.dispose();
  console.log(
    `\n${name}, ${arm}: ${stored.tokens} tokens; test perplexity, difference in nats per token (95 %), weights`,
  );
  for (const [label, row] of Object.entries(stored.rows)) {
    const { perplexity, difference, low, high, weights } = row;
    const cells = [perplexity.toFixed(3), ...[difference, low, high].map((each) => each.toFixed(4))];
    const chosen = weights
      ? `τ ${weights.temperature} λ ${weights.lambda} θ ${weights.cacheTheta} λ_c ${weights.cacheLambda}`
      : '';
    console.log(`  ${label.padEnd(7)}${cells.map((cell) => cell.padStart(9)).join(' ')}  ${chosen}`);
  }
}
await model.dispose();
