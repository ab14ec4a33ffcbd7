import type { CircleExample } from '../../bench/corrector/circle-toy.ts';
import { armClass, escapeText, LETTER, marker } from '../../src/compare/draw-chart.ts';
import { CHART_STYLE } from '../../src/compare/report-style.ts';

const WIDTH = 640;
const TITLE = 'Targets on the unit circle: stale inside, true outside, corrected between';
const CENTRE = { x: WIDTH / 2, y: 270 };
const HEIGHT = 510;

/**
 * Draws targets on rings, so that they do not hide each other. A line leads from the stale position of each
 * target over the corrected positions to the true one. A line that does not turn after a ring shows that the
 * corrector of that ring is right.
 */
export function circleFile(example: CircleExample, { mlp }: { mlp: string }): string {
  const rings = [
    { name: 'stale', arm: 1, radius: 105, degrees: example.stale },
    { name: 'ridge', arm: 2, radius: 150, degrees: example.corrected.ridge! },
    { name: mlp, arm: 3, radius: 190, degrees: example.corrected[mlp]! },
    { name: 'true', arm: 0, radius: 215, degrees: example.fresh },
  ];
  const point = (radius: number, degrees: number): string => {
    const angle = (degrees * Math.PI) / 180;
    return `${px(CENTRE.x + radius * Math.cos(angle))} ${px(CENTRE.y - radius * Math.sin(angle))}`;
  };
  const circles = rings.map(
    ({ radius }) => `<circle class="grid" cx="${CENTRE.x}" cy="${CENTRE.y}" r="${radius}"/>`,
  );
  const lines = example.stale.map(
    (_, i) =>
      `<path class="leader" fill="none" d="M${rings.map(({ radius, degrees }) => point(radius, degrees[i]!)).join('L')}"/>`,
  );
  const markers = rings.map(
    ({ arm, radius, degrees }) =>
      `<g class="arm ${armClass(arm)}">${degrees.map((angle) => marker(arm, point(radius, angle), 0.8)).join('')}</g>`,
  );
  let left = 2;
  const legend = rings.map(({ name, arm }) => {
    const entry =
      `<g class="arm ${armClass(arm)}" transform="translate(${Math.round(left)} 34)">${marker(arm, '6 0')}` +
      `<text x="16" y="0" dy="0.35em">${escapeText(name)}</text></g>`;
    left += 32 + name.length * LETTER;
    return entry;
  });
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escapeText(TITLE)}">` +
    `<style>${CHART_STYLE}\nsvg{background:var(--page)}svg .title{font-weight:600;fill:var(--ink)}</style>` +
    `<text class="title" x="2" y="15">${escapeText(TITLE)}</text>${legend.join('')}${circles.join('')}${lines.join('')}${markers.join('')}</svg>\n`
  );
}

const px = (value: number): string => String(Math.round(value * 10) / 10);
