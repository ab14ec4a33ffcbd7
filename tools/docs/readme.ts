/**
 * @file Makes the generated parts of README.md.
 *
 * The table of speed is made from a result file, as those of docs/performance.md are:
 *
 *     npm run bench:all -- --only step
 *
 * The chart and the output of the quick start come from real runs, which take about five minutes:
 *
 *     npm run docs:quickstart
 *
 * This command runs the quick start as a user does and copies its output. Then it trains again with the same
 * seed and more frequent evaluations, and draws docs/quickstart.svg.
 */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { filesOf, inRepository, type MadePage, writeFiles } from './page.ts';
import { stepSummary } from './performance-step.ts';

const PAGE = 'README.md';
const DATA = 'quickstart-data';
const METRICS = ['ndcg@10', 'mrr@10', 'recall@10'];

/** Generated parts of README.md. */
export const readmePage = (): MadePage => ({
  page: PAGE,
  blocks: {
    speed: stepSummary(),
  },
});

interface Measured {
  /** nDCG@10 on the dev split during training. */
  readonly curve: readonly { step: number; value: number }[];
  readonly bm25OnDev: number;
  /** Metrics on the test split. */
  readonly bm25: Readonly<Record<string, number>>;
  readonly trained: Readonly<Record<string, number>>;
}

/** Runs the quick start, and a second run for the curve. */
async function quickstartPage(): Promise<MadePage> {
  const { evaluateBm25, evaluateRetriever, loadData, loadRetriever, trainRetriever } = await import(
    'undrift'
  );
  process.chdir(fileURLToPath(inRepository('')));
  const printed = execFileSync(process.execPath, ['--import', 'tsx', 'examples/quickstart.ts'], {
    encoding: 'utf8',
  });
  process.stdout.write(printed);
  const data = await loadData(DATA);
  const curve: { step: number; value: number }[] = [];
  const run = await trainRetriever(
    { data: DATA, out: 'runs/quickstart-chart', evalEvery: 12, overwrite: true },
    { onEvaluation: ({ step, metrics }) => curve.push({ step, value: metrics['ndcg@10']! }) },
  );
  const retriever = await loadRetriever(run.model);
  const bm25OnDev = (await evaluateBm25(data, 'dev', { metrics: METRICS })).metrics['ndcg@10']!;
  const bm25 = (await evaluateBm25(data, 'test', { metrics: METRICS })).metrics;
  const trained = (await evaluateRetriever(retriever, data, 'test', { metrics: METRICS })).metrics;
  return {
    page: PAGE,
    blocks: { quickstart: `\`\`\`text\n${printed.replace(/ +$/gm, '').trim()}\n\`\`\`` },
    charts: { 'docs/quickstart.svg': draw({ curve, bm25OnDev, bm25, trained }) },
  };
}

/** Draws two panels: the learning curve on dev, and the final metrics on test. */
function draw({ curve, bm25OnDev, bm25, trained }: Measured): string {
  const lastStep = curve.at(-1)!.step;
  const x = (step: number) => 50 + (330 * step) / lastStep;
  const y = (value: number) => 220 - 180 * value;
  const at = (value: number) => value.toFixed(1);
  const grid = [0, 0.2, 0.4, 0.6, 0.8, 1]
    .map(
      (v) =>
        `<path class="grid" d="M50 ${at(y(v))}H380M440 ${at(y(v))}H730"/>` +
        `<text class="faint end" x="44" y="${at(y(v) + 4)}">${v.toFixed(1)}</text>`,
    )
    .join('\n');
  const line = curve.map(({ step, value }, i) => `${i ? 'L' : 'M'}${at(x(step))} ${at(y(value))}`).join('');
  const steps = [0, lastStep / 2, lastStep]
    .map((step) => `<text class="faint middle" x="${at(x(step))}" y="238">${Math.round(step)}</text>`)
    .join('');
  const bars = METRICS.map((name, i) => {
    const left = 455 + 95 * i;
    const bar = (kind: string, offset: number, value: number) =>
      `<rect class="${kind}" x="${left + offset}" y="${at(y(value))}" width="36" height="${at(220 - y(value))}"/>` +
      `<text class="middle" x="${left + offset + 18}" y="${at(y(value) - 5)}">${value.toFixed(3)}</text>`;
    const label = name.replace('ndcg', 'nDCG').replace('mrr', 'MRR');
    return (
      bar('bm25', 0, bm25[name]!) +
      bar('trained', 39, trained[name]!) +
      `<text class="faint middle" x="${left + 37.5}" y="238">${label}</text>`
    );
  }).join('\n');
  const title = `nDCG@10 on the test split: BM25 ${bm25['ndcg@10']!.toFixed(3)}, trained ${trained['ndcg@10']!.toFixed(3)}`;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 750 270" width="750" height="270" role="img" aria-label="${title}">
<title>${title}</title>
<style>
text { font: 12px system-ui, sans-serif; fill: #1f2328 } .head { font-weight: 600; font-size: 13px } .faint { fill: #59636e }
.middle { text-anchor: middle } .end { text-anchor: end } .grid { stroke: #d1d9e0; stroke-width: 1; fill: none }
.trained { fill: #0969da } .bm25 { fill: #9a6700 } path.trained { fill: none; stroke: #0969da; stroke-width: 2.5 }
path.bm25 { fill: none; stroke: #9a6700; stroke-width: 2; stroke-dasharray: 6 4 }
text.trained, text.bm25 { font-weight: 600 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc } .faint { fill: #9198a1 } .grid { stroke: #3d444d }
  .trained { fill: #4493f8 } .bm25 { fill: #d29922 } path.trained { stroke: #4493f8 } path.bm25 { stroke: #d29922 }
}
</style>
<text class="head" x="50" y="20">While it trains: nDCG@10 on the dev split</text>
<text class="head" x="440" y="20">Afterwards: the test split</text>
${grid}
<path class="bm25" d="M50 ${at(y(bm25OnDev))}H380"/><text class="bm25 end" x="378" y="${at(y(bm25OnDev) + 16)}">BM25</text>
<path class="trained" d="${line}"/><text class="trained end" x="378" y="${at(y(curve.at(-1)!.value) - 10)}">trained</text>
${steps}<text class="faint middle" x="215" y="258">training steps</text>
${bars}
</svg>
`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFiles(filesOf(await quickstartPage()));
