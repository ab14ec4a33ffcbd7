import type { CircleEntry, CircleResults } from '../../bench/corrector/circle-toy.ts';
import { chartFile } from '../../src/compare/chart-file.ts';
import type { Chart } from '../../src/compare/draw-chart.ts';
import { count } from '../../src/util/format.ts';
import { circleFile } from './correctors-circle-chart.ts';
import { readResult, markdownTable as table } from './page.ts';

const { config, entries, example } = readResult<CircleResults>('corrector/circle.json');
const { drift, pairs, width } = config.example;
const mlp = `mlp ${width}`;

const nats = (value: number): string => (value === 0 ? '0' : value < 1e-4 ? '< 1e-4' : value.toPrecision(2));
const spread = ({ kl, sd }: CircleEntry): string =>
  kl < 1e-4 ? nats(kl) : sd > kl / 3 ? `${nats(kl)} ± ${Number(sd.toPrecision(1))}` : nats(kl);

/** Makes a table with one row for each corrector and sample size, and one column for each drift. */
function divergences(noise: number): string {
  const correctors = [...new Set(entries.map(({ corrector }) => corrector))];
  const rows = correctors.flatMap((corrector) => {
    const own = entries.filter((entry) => entry.corrector === corrector && entry.noise === noise);
    return [...new Set(own.map((entry) => entry.pairs))].map((count) => {
      const cells = config.drift.map((size) => {
        const entry = own.find((one) => one.drift === size && one.pairs === count)!;
        return spread(entry);
      });
      const parameters = own[0]!.parameters === 0 ? '' : String(own[0]!.parameters);
      return [`\`${corrector}\``, parameters, count === 0 ? '' : String(count), ...cells];
    });
  });
  return table(['', 'parameters', 'pairs', ...config.drift.map((size) => `drift ${size}`)], rows);
}

const names = ['true', 'stale', 'ridge', mlp];
const bins = example.distribution.fresh!.length;
const chart: Chart = {
  kind: 'lines',
  id: 'circle-distribution',
  title: `What a query at ${config.example.queryDegrees}° is likely to draw, β = ${config.inverseTemperature}`,
  xLabel: 'where a target truly is (degrees)',
  yLabel: `share of the probability, for every ${360 / bins}°`,
  xUnit: 'value',
  yUnit: 'value',
  series: ['fresh', 'stale', 'ridge', mlp].map((name, arm) => ({
    arm,
    x: example.distribution[name]!.map((_, i) => ((i + 0.5) * 360) / bins),
    y: example.distribution[name]!,
  })),
};

/** Charts of the unit circle, from bench/results/corrector/circle.json (`bench/corrector/circle.ts`). */
export const circleCharts: Readonly<Record<string, string>> = {
  'docs/correctors/circle.svg': circleFile(example, { mlp }),
  'docs/correctors/circle-distribution.svg': chartFile(chart, names),
};

const clean = divergences(0);
const noisy = config.noise.filter((noise) => noise > 0);
/** Tables of the unit circle, from the same file, with links to the charts. */
export const circleBlock: string = [
  '![Stale, corrected and true targets on the unit circle](correctors/circle.svg)',
  '![Distribution of one query over the targets](correctors/circle-distribution.svg)',
  '',
  `Both: drift ${drift}, correctors fitted to ${pairs} pairs.`,
  '',
  `KL(P ‖ ·) in nats, mean over ${config.queries} queries and ${config.seeds.length} seeds, ${count(config.points)} ` +
    'targets; ± the standard deviation over seeds where it is above a third of the mean:',
  '',
  clean,
  ...noisy.flatMap((noise) => [
    '',
    `<details><summary>Each target also moves by itself, by ${noise} radians (one standard deviation)</summary>\n\n${divergences(noise)}\n</details>`,
  ]),
  '',
  'From [`bench/results/corrector/circle.json`](../bench/results/corrector/circle.json).',
].join('\n');
