/**
 * @file Script of the report page. Draws the charts, shows and hides arms, and shows the values under the
 *   pointer or at the position of the arrow keys.
 *
 * The script runs in a browser, inlined after `chart-scale.ts` and `draw-chart.ts`, and uses nothing of Node.
 */
import {
  armClass,
  type Chart,
  type Drawing,
  drawChart,
  escapeText,
  marker,
  type Stop,
} from './draw-chart.ts';

/** Data in the element `#report-data` of the page. */
export interface PageData {
  /** Names of the arms. */
  readonly arms: readonly string[];
  /** All charts of the page. */
  readonly charts: readonly Chart[];
}

/**
 * Part of the browser's DOM interface that is used here. The package is compiled without the types of
 * browsers.
 */
interface PageElement {
  innerHTML: string;
  hidden: boolean;
  checked: boolean;
  readonly textContent: string | null;
  readonly offsetWidth: number;
  readonly clientWidth: number;
  readonly clientHeight: number;
  readonly dataset: Record<string, string | undefined>;
  readonly style: { left: string; top: string };
  querySelector(selector: string): PageElement | null;
  querySelectorAll(selector: string): Iterable<PageElement>;
  setAttribute(name: string, value: string): void;
  getBoundingClientRect(): { left: number; top: number };
  addEventListener(type: string, listener: (event: PageEvent) => void): void;
}
interface PageEvent {
  readonly clientX: number;
  readonly clientY: number;
  readonly key: string;
  preventDefault(): void;
}
declare const document: PageElement;
declare const ResizeObserver: new (resized: () => void) => { observe(element: PageElement): void };

/** Draws all charts of the page and keeps them up to date. */
export function startReport(): void {
  const data = JSON.parse(document.querySelector('#report-data')!.textContent!) as PageData;
  const hidden = new Set<number>();
  const redraw = data.charts.map((chart) => startChart(chart, data.arms, hidden));
  const boxes = [...document.querySelectorAll('.legend input')];
  const update = () => {
    hidden.clear();
    for (const box of boxes) if (!box.checked) hidden.add(Number(box.dataset.arm));
    for (const draw of redraw) draw();
  };
  for (const box of boxes) box.addEventListener('change', update);
  document.querySelector('.legend button')?.addEventListener('click', () => {
    for (const box of boxes) box.checked = true;
    update();
  });
  // A browser that navigates back to the page restores the state of the boxes.
  update();
}

/**
 * Draws one chart and handles its pointer and key events.
 *
 * @returns  function that redraws the chart
 */
function startChart(chart: Chart, arms: readonly string[], hidden: ReadonlySet<number>): () => void {
  const plot = document.querySelector(`#chart-${chart.id} .plot`)!;
  const svg = plot.querySelector('svg')!;
  const tip = plot.querySelector('.tip')!;
  let drawing: Drawing | undefined;
  /** Number of the stop that is shown. */
  let current: number | undefined;

  const draw = () => {
    const { clientWidth: width, clientHeight: height } = plot;
    // A chart in a collapsed part of the page has no width yet.
    if (width === 0) return;
    drawing = drawChart(chart, { width, height, arms, hidden });
    svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
    svg.innerHTML = `${drawing.markup}<g class="cursor"></g>`;
    leave();
  };
  const leave = () => {
    current = undefined;
    tip.hidden = true;
    const cursor = svg.querySelector('.cursor');
    if (cursor) cursor.innerHTML = '';
  };
  const show = (index: number) => {
    const stop = drawing!.stops[index];
    if (!stop || index === current) return;
    current = index;
    svg.querySelector('.cursor')!.innerHTML = cursorMarkup(stop, drawing!);
    tip.innerHTML = tipMarkup(stop, arms);
    tip.hidden = false;
    const room = plot.clientWidth - tip.offsetWidth - 4;
    const beside = stop.left > plot.clientWidth / 2 ? stop.left - tip.offsetWidth - 14 : stop.left + 14;
    tip.style.left = `${Math.max(4, Math.min(beside, room))}px`;
    tip.style.top = `${stop.top === undefined ? drawing!.plot.top : Math.max(4, stop.top - 34)}px`;
  };

  plot.addEventListener('pointermove', ({ clientX, clientY }) => {
    if (!drawing) return;
    const { left, top } = plot.getBoundingClientRect();
    const found = nearestStop(drawing.stops, clientX - left, clientY - top);
    if (found >= 0) show(found);
  });
  plot.addEventListener('pointerleave', leave);
  plot.addEventListener('blur', leave);
  plot.addEventListener('keydown', (event) => {
    if (!drawing) return;
    const last = drawing.stops.length - 1;
    const next: Record<string, number> = {
      ArrowRight: Math.min(last, (current ?? -1) + 1),
      ArrowLeft: Math.max(0, (current ?? last + 1) - 1),
      Home: 0,
      End: last,
    };
    const index = next[event.key];
    if (event.key === 'Escape') leave();
    if (index === undefined) return;
    event.preventDefault();
    show(index);
  });
  new ResizeObserver(draw).observe(plot);
  return draw;
}

function nearestStop(stops: readonly Stop[], left: number, top: number): number {
  let best = -1;
  let least = Infinity;
  for (const [i, stop] of stops.entries()) {
    const distance = Math.hypot(stop.left - left, stop.top === undefined ? 0 : stop.top - top);
    if (distance < least) [best, least] = [i, distance];
  }
  return best;
}

function cursorMarkup({ left, top, entries }: Stop, { plot }: Drawing): string {
  if (top !== undefined) return `<circle cx="${left}" cy="${top}" r="10"/>`;
  const dots = entries.map((entry) => `<circle cx="${left}" cy="${entry.top}" r="6"/>`).join('');
  return `<path d="M${left} ${plot.top}V${plot.bottom}"/>${dots}`;
}

function tipMarkup({ title, entries }: Stop, arms: readonly string[]): string {
  const rows = entries.map(
    ({ arm, text }) =>
      `<li class="arm ${armClass(arm)}"><svg width="12" height="12" viewBox="-6 -6 12 12" aria-hidden="true">${marker(arm, '0 0')}</svg>` +
      `<span>${escapeText(arms[arm]!)}: ${escapeText(text)}</span></li>`,
  );
  return `${title === '' ? '' : `<b>${escapeText(title)}</b>`}<ul>${rows.join('')}</ul>`;
}
