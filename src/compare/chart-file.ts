import { armClass, type Chart, drawChart, escapeText, LETTER, marker } from './draw-chart.ts';
import { CHART_STYLE } from './report-style.ts';

const WIDTH = 640;
const PLOT_HEIGHT = 330;
const ROW_HEIGHT = 22;

/**
 * Draws a chart as a self-contained SVG file with title, legend and plot. The file follows the reader's light
 * or dark mode.
 *
 * @param arms  names of all arms, by arm number
 */
export function chartFile(chart: Chart, arms: readonly string[]): string {
  const { markup } = drawChart(chart, { width: WIDTH, height: PLOT_HEIGHT, arms });
  const legend = legendRows(
    legendArms(chart).map((arm) => ({ arm, name: arms[arm]! })),
    chart.kind,
  );
  const top = ROW_HEIGHT * (1 + legend.length) + 4;
  const rows = legend.map((row, i) => `<g transform="translate(2 ${ROW_HEIGHT * (i + 1) + 10})">${row}</g>`);
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${top + PLOT_HEIGHT}" role="img" aria-label="${escapeText(chart.title)}">` +
    `<style>${CHART_STYLE}\nsvg{background:var(--page)}svg .title{font-weight:600;fill:var(--ink)}</style>` +
    `<text class="title" x="2" y="15">${escapeText(chart.title)}</text>${rows.join('')}` +
    `<g transform="translate(0 ${top})">${markup}</g></svg>\n`
  );
}

/** Lists the arms that the legend must name. Points that carry their own labels need no legend. */
function legendArms(chart: Chart): readonly number[] {
  if (chart.kind === 'lines') return chart.series.map(({ arm }) => arm);
  return chart.unlabelled ? [...new Set(chart.points.map(({ arm }) => arm))].sort((a, b) => a - b) : [];
}

/**
 * Draws the legend: for each arm a marker and its name, in lines charts also a line. Breaks the entries into
 * rows.
 */
function legendRows(entries: readonly { arm: number; name: string }[], kind: Chart['kind']): string[] {
  const line = kind === 'lines' ? '<path class="line" d="M0 0H30"/>' : '';
  const rows: string[] = [];
  let left = WIDTH;
  for (const { arm, name } of entries) {
    const width = 36 + name.length * LETTER + 14;
    if (left + width > WIDTH) {
      rows.push('');
      left = 0;
    }
    rows[rows.length - 1] +=
      `<g class="arm ${armClass(arm)}" transform="translate(${Math.round(left)} 0)">${line}` +
      `${marker(arm, '15 0')}<text x="36" y="0" dy="0.35em">${escapeText(name)}</text></g>`;
    left += width;
  }
  return rows;
}
