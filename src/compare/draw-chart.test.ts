import { describe, expect, it } from 'vitest';
import { chartFile } from './chart-file.ts';
import { armClass, type DrawOptions, drawChart, type LineChart, type ScatterChart } from './draw-chart.ts';

const base = {
  id: 'c',
  title: 't',
  xLabel: 'step',
  yLabel: 'ndcg@10',
  xUnit: 'count',
  yUnit: 'value',
} as const;
const lines: LineChart = {
  ...base,
  kind: 'lines',
  series: [
    { arm: 0, x: [0, 50, 100], y: [0.1, 0.2, 0.3], sd: [0.01, 0.01, 0.02] },
    { arm: 1, x: [0, 100], y: [5, 9] },
  ],
};
const scatter: ScatterChart = {
  ...base,
  kind: 'scatter',
  points: [
    { arm: 0, x: 10, y: 0.5, ySd: 0.01, xSd: 1 },
    { arm: 1, x: 10, y: 0.5 },
    { arm: 2, x: 30, y: 0.9 },
  ],
};
const size: DrawOptions = { width: 400, height: 300, arms: ['one', 'two <b>', 'three'] };

/** Path coordinates of the line of an arm. */
function lineOf(markup: string, arm: number): [x: number, y: number][] {
  const d = new RegExp(`${armClass(arm)}">.*?class="line" d="M([^"]*)"`).exec(markup)![1]!;
  return d.split('L').map((pair) => pair.split(' ').map(Number) as [number, number]);
}

describe('a line chart', () => {
  it('has the points of each arm where the axes say', () => {
    const { markup, x, y } = drawChart(lines, size);
    for (const { arm, x: xs, y: ys } of lines.series) {
      for (const [i, [left, top]] of lineOf(markup, arm).entries()) {
        expect(left).toBeCloseTo(x.at(xs[i]!), 0);
        expect(top).toBeCloseTo(y.at(ys[i]!), 0);
      }
    }
    const [first, , last] = lineOf(markup, 0);
    expect(last![0]).toBeGreaterThan(first![0]);
    expect(last![1]).toBeLessThan(first![1]);
  });

  it('has a band where there is a spread', () => {
    const { markup } = drawChart(lines, size);
    expect(markup.match(/class="band"/g)).toHaveLength(1);
  });

  it('fits the axes to what is shown', () => {
    const all = drawChart(lines, size);
    const rest = drawChart(lines, { ...size, hidden: new Set([1]) });
    expect(all.y.ticks.at(-1)!.value).toBeGreaterThan(5);
    expect(rest.y.ticks.at(-1)!.value).toBeLessThan(0.5);
    expect(rest.markup).not.toContain(armClass(1));
    expect(drawChart(lines, { ...size, hidden: new Set([0, 1]) }).markup).toContain('no arm is shown');
  });

  it('tells of each measured step what the arms had, the best first', () => {
    const { stops, x } = drawChart(lines, size);
    expect(stops.map(({ title }) => title)).toEqual(['step 0', 'step 50', 'step 100']);
    expect(stops[1]!.left).toBeCloseTo(x.at(50), 9);
    expect(stops[2]!.entries.map(({ arm, text }) => [arm, text])).toEqual([
      [1, '9.0000'],
      [0, '0.3000 ± 0.0200'],
    ]);
    expect(stops[1]!.entries).toHaveLength(1);
  });
});

describe('a scatter chart of many points', () => {
  const points = [
    { arm: 0, x: 0.01, y: 0.001 },
    { arm: 0, x: 1, y: 0.1 },
    { arm: 1, x: 1, y: 2 },
  ];
  const many: ScatterChart = { ...scatter, points, xUnit: 'value', logX: true, logY: true };

  it('has a line where both axes say the same', () => {
    const { markup, x, y } = drawChart({ ...many, unlabelled: true, parity: true }, size);
    const ends = /class="trend" d="M(\S+) (\S+)L(\S+) (\S+)"/.exec(markup)!.slice(1).map(Number);
    for (const [i, value] of [0.001, 2].entries()) {
      expect(ends[2 * i]).toBeCloseTo(x.at(value), 0);
      expect(ends[2 * i + 1]).toBeCloseTo(y.at(value), 0);
    }
    // Decades are as long anywhere.
    expect(y.at(0.001) - y.at(0.01)).toBeCloseTo(y.at(0.1) - y.at(1), 6);
    expect(markup.match(/class="marker"/g)).toHaveLength(3);
  });

  it('names the arms once, in a legend, where points have no labels', () => {
    const names = (chart: ScatterChart) =>
      [...chartFile(chart, ['one', 'two']).matchAll(/>(one|two)</g)].map((match) => match[1]);
    expect(names({ ...many, unlabelled: true })).toEqual(['one', 'two']);
    expect(names(many)).toHaveLength(3);
  });
});

describe('a scatter chart', () => {
  const labelBoxes = (markup: string) =>
    [...markup.matchAll(/class="name" x="([\d.-]+)" y="([\d.-]+)"[^>]*>([^<]*)</g)].map(([, x, y, text]) => ({
      left: Number(x),
      right: Number(x) + 6 * text!.length,
      y: Number(y),
      text,
    }));

  it('labels points that lie on one another without one label on the other', () => {
    const [a, b] = labelBoxes(drawChart(scatter, size).markup);
    expect(Math.abs(a!.y - b!.y) >= 12 || a!.right < b!.left || b!.right < a!.left).toBe(true);
  });

  it('puts no label on the bars of a point', () => {
    const points = [
      { arm: 0, x: 10, y: 0.5 },
      { arm: 1, x: 50, y: 0.5, xSd: 30, ySd: 0.1 },
    ];
    const { markup, y } = drawChart({ ...scatter, points }, size);
    const label = labelBoxes(markup).find(({ text }) => text!.startsWith('two'))!;
    // Half a line of text, and not so far that one has to look for it.
    expect(Math.abs(label.y - y.at(0.5))).toBeGreaterThanOrEqual(7.5);
    expect(Math.abs(label.y - y.at(0.5))).toBeLessThan(20);
    expect(label.left > 0 && label.right < size.width).toBe(true);
  });

  it('labels the best of two near points above it, not across the other', () => {
    const points = [
      { arm: 0, x: 99.5, y: 0.64 },
      { arm: 1, x: 100, y: 0.65 },
      { arm: 2, x: 10, y: 0.45 },
    ];
    const arms = ['one', 'two', 'three'];
    const { markup, y } = drawChart({ ...scatter, points }, { ...size, arms });
    const label = labelBoxes(markup).find(({ text }) => text === 'two')!;
    expect(label.y).toBeLessThan(y.at(0.65));
    expect(markup).not.toContain('leader');
  });

  it('keeps many labels on a narrow screen inside and apart', () => {
    const arms = Array.from({ length: 9 }, (_, i) => `a long name ${i}`);
    const points = arms.map((_, arm) => ({ arm, x: 100 + (arm % 3), y: 0.5 + 0.001 * arm }));
    const boxes = labelBoxes(drawChart({ ...scatter, points }, { width: 320, height: 270, arms }).markup);
    expect(boxes).toHaveLength(9);
    for (const [i, box] of boxes.entries()) {
      expect(box.left).toBeGreaterThan(0);
      expect(box.right).toBeLessThan(320);
      for (const other of boxes.slice(0, i)) {
        expect(Math.abs(box.y - other.y) >= 12 || box.right < other.left || other.right < box.left).toBe(
          true,
        );
      }
    }
  });

  it('escapes names', () => {
    expect(drawChart(scatter, size).markup).toContain('two &#60;b&#62;');
    expect(drawChart(scatter, size).markup).not.toContain('<b>');
  });

  it('draws bars for what has a spread, and joins points by their x', () => {
    const { markup } = drawChart({ ...scatter, joined: true }, size);
    expect(markup.match(/class="bar"/g)).toHaveLength(2);
    const [, trend] = /class="trend" d="M([^"]*)"/.exec(markup)!;
    expect(trend!.split('L')).toHaveLength(3);
  });

  it('is the same with logarithmic x, zeros included', () => {
    const points = [0, 0.001, 0.1, 1].map((x, arm) => ({ arm, x, y: 0.1 * arm, xSd: 0.5 }));
    const { markup, x, stops } = drawChart(
      { ...scatter, logX: true, points, xTicks: [0, 0.001, 0.1, 1] },
      { ...size, arms: ['a', 'b', 'c', 'd'] },
    );
    expect(markup).not.toMatch(/NaN|Infinity/);
    expect(x.ticks.map(({ value }) => value)).toEqual([0, 0.001, 0.1, 1]);
    expect(stops.map(({ left }) => left)).toEqual([...stops.map(({ left }) => left)].sort((a, b) => a - b));
  });
});

it('gives sixty arms different looks', () => {
  expect(new Set(Array.from({ length: 60 }, (_, arm) => armClass(arm))).size).toBe(60);
});
