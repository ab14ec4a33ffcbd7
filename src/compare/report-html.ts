import { formatBytes } from '../util/format.ts';
import { exactLabel } from './chart-scale.ts';
import { armClass, type Chart, escapeText, type LineChart, marker } from './draw-chart.ts';
import { pageScript } from './page-script.ts';
import { chartsOf } from './report-charts.ts';
import type { PageData } from './report-page.ts';
import { CHART_STYLE, PAGE_STYLE } from './report-style.ts';
import type { ComparisonResults } from './results.ts';
import {
  commonSettings,
  differingSettingsTable,
  ledgerTable,
  resultTable,
  type Table,
  tableNotes,
} from './tables.ts';

/**
 * Makes the report of a comparison as one HTML page. The page contains its styles, script and data, and loads
 * nothing; a content security policy forbids loading.
 */
export async function reportHtml(results: ComparisonResults): Promise<string> {
  const charts = chartsOf(results);
  const arms = results.arms.map(({ name }) => name);
  const data: PageData = { arms, charts: [...charts.main, ...charts.more] };
  const figures = (list: readonly Chart[]) => list.map((chart) => figure(chart, arms)).join('\n');
  const differing = differingSettingsTable(results);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none';style-src 'unsafe-inline';script-src 'unsafe-inline'">
<meta name="generator" content="undrift compare">
<title>${escapeText(results.name)}: comparison</title>
<style>
${CHART_STYLE}
${PAGE_STYLE}
</style>
</head>
<body>
<header>
<h1>${escapeText(results.name)}</h1>
${tableNotes(results)
  .map((note) => `<p class="soft">${escapeText(note)}</p>`)
  .join('\n')}
</header>
<main>
<section aria-labelledby="results"><h2 id="results">Results</h2>
${table(resultTable(results), 'Results')}
</section>
<section aria-labelledby="charts"><h2 id="charts">Charts</h2>
<noscript><p>A script inside this page draws the charts. The tables contain their values.</p></noscript>
${legend(arms)}
<div class="charts">
${figures(charts.main)}
</div>
${
  charts.more.length === 0
    ? ''
    : `<details class="more"><summary>${charts.more.length} more logged values</summary>
<div class="charts">
${figures(charts.more)}
</div>
</details>`
}
</section>
<section aria-labelledby="ledger"><h2 id="ledger">Cost of a run</h2>
${table(ledgerTable(results), 'Cost of a run')}
</section>
<section aria-labelledby="settings"><h2 id="settings">Settings</h2>
${differing.rows.length === 0 ? '' : table(differing, 'Settings that differ between the arms', 'text')}
<details><summary>Settings of all arms</summary>
${definitions(commonSettings(results))}
</details>
</section>
<section aria-labelledby="provenance"><h2 id="provenance">Provenance</h2>
${definitions(provenance(results))}
</section>
</main>
<script type="application/json" id="report-data">${JSON.stringify(data).replaceAll('<', '\\u003c')}</script>
<script>
${await pageScript()}</script>
</body>
</html>
`;
}

function table({ header, rows }: Table, label: string, className = ''): string {
  const head = header.map((cell) => `<th scope="col">${escapeText(cell)}</th>`).join('');
  const body = rows.map(([first, ...cells]) => {
    const data = cells.map((cell) => `<td>${escapeText(cell)}</td>`).join('');
    // A part of the row above keeps its dot with the first word if the name wraps.
    const name = escapeText(first!).replace(/^· /, '·&#160;');
    return `<tr><th scope="row">${name}</th>${data}</tr>`;
  });
  return (
    `<div class="scroll" tabindex="0" role="region" aria-label="${escapeText(label)}">` +
    `<table${className && ` class="${className}"`}><thead><tr>${head}</tr></thead><tbody>\n${body.join('\n')}\n</tbody></table></div>`
  );
}

function legend(arms: readonly string[]): string {
  const boxes = arms.map(
    (name, arm) =>
      `<label class="arm ${armClass(arm)}"><input type="checkbox" checked data-arm="${arm}">` +
      `<svg width="34" height="12" viewBox="-17 -6 34 12" aria-hidden="true"><path class="line" d="M-17 0H17"/>${marker(arm, '0 0')}</svg>` +
      `<span>${escapeText(name)}</span></label>`,
  );
  return (
    `<div class="legend" role="group" aria-labelledby="arms"><span id="arms" class="soft">Arms shown</span>` +
    `${boxes.join('\n')}<button type="button">Show all</button></div>`
  );
}

function figure(chart: Chart, arms: readonly string[]): string {
  const shown = chart.kind === 'lines' ? chart.series : chart.points;
  const names = shown.map(({ arm }) => arms[arm]!).join(', ');
  const notes = [
    ...(chart.kind === 'lines' && chart.series.some(({ sd }) => sd)
      ? ['bands: ± standard deviation over seeds']
      : []),
    ...(chart.note ? [chart.note] : []),
  ].join('; ');
  const label = `${chart.title}: ${chart.yLabel} against ${chart.xLabel} for ${names}. Use the arrow keys to read the values.`;
  return (
    `<figure class="chart" id="chart-${chart.id}"><figcaption><h3>${escapeText(chart.title)}</h3>` +
    `${notes && `<p class="soft">${escapeText(notes)}</p>`}</figcaption>` +
    `<div class="plot" tabindex="0" role="group" aria-roledescription="chart" aria-label="${escapeText(label)}">` +
    '<svg aria-hidden="true"></svg><div class="tip" role="status" hidden></div></div>' +
    `<details><summary>Values</summary>${table(chartValues(chart, arms), chart.title)}</details></figure>`
  );
}

/** Makes a table of the values of a chart. Long lines are sampled at even distances. */
function chartValues(chart: Chart, arms: readonly string[]): Table {
  if (chart.kind === 'scatter') {
    return {
      header: ['arm', chart.xLabel, chart.yLabel],
      rows: chart.points.map(({ arm, x, y, xSd, ySd }) => [
        arms[arm]!,
        exactLabel(x, chart.xUnit, xSd),
        exactLabel(y, chart.yUnit, ySd),
      ]),
    };
  }
  const { series } = chart;
  const cell = ({ x, y, sd }: LineChart['series'][number], at: number) => {
    const i = x.indexOf(at);
    return i < 0 ? '' : exactLabel(y[i]!, chart.yUnit, sd?.[i]);
  };
  const xs = evenlySpaced([...new Set(series.flatMap(({ x }) => x))].sort((a, b) => a - b));
  return {
    header: [chart.xLabel, ...series.map(({ arm }) => arms[arm]!)],
    rows: xs.map((x) => [exactLabel(x, chart.xUnit), ...series.map((line) => cell(line, x))]),
  };
}

const TABLE_ROWS = 12;

function evenlySpaced(values: readonly number[]): number[] {
  const stride = Math.ceil(values.length / TABLE_ROWS);
  return values.filter((_, i) => i % stride === 0 || i === values.length - 1);
}

const definitions = (rows: readonly (readonly [string, string])[]): string =>
  `<dl>${rows.map(([name, value]) => `<dt>${escapeText(name)}</dt><dd>${escapeText(value)}</dd>`).join('\n')}</dl>`;

/** Lists the provenance of the numbers: data, seeds, dates and machines. */
export function provenance(results: ComparisonResults): [string, string][] {
  const finished = results.arms.flatMap(({ runs }) => runs.map((run) => run.finished)).sort();
  const first = finished[0]?.slice(0, 10);
  const last = finished.at(-1)?.slice(0, 10);
  return [
    ['data', `${results.data.name}, fingerprint ${results.data.fingerprint}`],
    ['seeds', results.seeds.join(', ')],
    ...(first && last
      ? [['runs finished', first === last ? first : `${first} to ${last}`] satisfies [string, string]]
      : []),
    ...results.machines.map((machine): [string, string] => [
      'machine',
      `${machine.processor}, ${machine.cores} cores, ${formatBytes(machine.memoryBytes)}, ${machine.platform}; ` +
        Object.entries(machine.versions)
          .map(([name, version]) => `${name} ${version}`)
          .join(', '),
    ]),
  ];
}
