import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ChromiumPage, chromiumPath, NO_CHROMIUM } from '../../test/chromium.ts';
import { sampleComparison } from '../../test/fake-comparison.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { pageScript } from './page-script.ts';
import { chartsOf } from './report-charts.ts';
import { type ComparisonResults, combineRuns } from './results.ts';
import { formatResults, resultsAsMarkdown, writeCharts, writeMarkdown, writeReport } from './write-report.ts';

const { comparison, runs } = sampleComparison();
const facts = { name: 'api-docs', fingerprint: 'f1', documents: 9600 };
const results = combineRuns(comparison, facts, runs, { tests: false });
const dev = '#chart-eval-ndcg-10-steps .plot';
const encodes = '#chart-ndcg-10-documentencodes .plot';

describe('the charts of a comparison', () => {
  const charts = chartsOf(results);

  it('show quality over time, against cost, staleness and loss', () => {
    expect(charts.main.map(({ title }) => title)).toEqual([
      'ndcg@10 on dev while training',
      'ndcg@10 on dev while training, by document encodes',
      'ndcg@10 on dev while training, by time',
      'ndcg@10 on test against document encodes',
      'ndcg@10 on test against time',
      'Staleness of the cached embeddings',
      'Interpretable loss',
    ]);
    expect(charts.more.map(({ title }) => title)).toEqual([
      'trainingLoss (train)',
      'gradientNorm (train)',
      'maskedRatio (train)',
    ]);
  });

  it('have the means over the seeds, and logarithmic costs where one arm is far off', () => {
    const [learning, byEncodes, , cost] = charts.main;
    if (learning?.kind !== 'lines' || cost?.kind !== 'scatter') throw new Error('other kinds of chart');
    const curves = results.arms[3]!.runs.map(({ curves }) => curves.find(({ kind }) => kind === 'eval')!);
    const atLast = curves.map(({ values }) => values.at(-1)!);
    const { x, y, sd } = learning.series[3]!;
    expect(x.at(-1)).toBe(1000);
    expect(y.at(-1)).toBeCloseTo((atLast[0]! + atLast[1]! + atLast[2]!) / 3, 4);
    expect(sd!.at(-1)).toBeGreaterThan(0);
    expect(cost.logX).toBe(true);
    expect(cost.points[8]).toMatchObject({ arm: 8, y: results.arms[8]!.metrics['ndcg@10']!.mean });
    if (byEncodes?.kind !== 'lines') throw new Error('another kind of chart');
    // 16 documents a step and 1, 2, 3 % more by the seed.
    expect(byEncodes.series[0]!.x.slice(0, 2)).toEqual([1632, 3264]);
    expect(byEncodes.series[0]!.y).toEqual(learning.series[0]!.y);
    expect(byEncodes.logX).toBe(true);
    const staleness = charts.main[5];
    expect(staleness?.kind === 'lines' && staleness.series.map(({ arm }) => arm)).toEqual([4, 5, 6, 7, 8]);
  });

  it('draw the metric against the only number in which the settings differ', () => {
    const sizes = [0, 64, 256, 1024];
    const swept: ComparisonResults = {
      ...results,
      arms: sizes.map((maxGradNorm, i) => {
        const arm = results.arms[i]!;
        return { ...arm, settings: { ...results.arms[0]!.settings!, maxGradNorm } };
      }),
    };
    const chart = chartsOf(swept).main.find(({ title }) => title === 'ndcg@10 on test against max grad norm');
    expect(chart).toMatchObject({ kind: 'scatter', joined: true, logX: true, xTicks: sizes });
    expect(charts.main.some(({ title }) => title.includes('against method'))).toBe(false);
  });

  it('are none where nothing is done', () => {
    expect(chartsOf(combineRuns(comparison, facts, []))).toEqual({ main: [], more: [] });
  });

  it('go into SVG files that need nothing else', async () => {
    const folder = tempFiles();
    const files = await writeCharts(results, folder);
    expect(files).toHaveLength(7);
    for (const file of files) {
      const svg = await readFile(file, 'utf8');
      expect(svg).toMatch(/^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg".*<\/svg>\n$/s);
      expect(svg).toContain('prefers-color-scheme:dark');
      expect(svg).not.toMatch(/NaN|undefined|href|url\(/);
      const shown = file.includes('staleness') ? comparison.arms.slice(4) : comparison.arms;
      for (const { name } of shown) expect(svg).toContain(`>${name}</text>`);
    }
  });
});

describe('the Markdown', () => {
  it('is a page, or fills its place in one', async () => {
    const folder = tempFiles({
      'page.md': `# Mine\n\n<!-- ${results.name} -->\nold\n<!-- /${results.name} -->\nprose\n`,
    });
    await writeMarkdown(results, join(folder, 'new.md'));
    const whole = await readFile(join(folder, 'new.md'), 'utf8');
    expect(whole).toContain('| negative-cache | 0.');
    await writeMarkdown(results, join(folder, 'new.md'));
    expect(await readFile(join(folder, 'new.md'), 'utf8')).toBe(whole);
    for (let time = 0; time < 2; time++) {
      await writeMarkdown(results, join(folder, 'page.md'));
      const page = await readFile(join(folder, 'page.md'), 'utf8');
      expect(page).toBe(
        `# Mine\n\n<!-- ${results.name} -->\n\n${resultsAsMarkdown(results)}\n<!-- /${results.name} -->\nprose\n`,
      );
    }
  });

  it('does not replace what somebody wrote', async () => {
    const folder = tempFiles({ 'mine.md': '# Years of work\n', 'half.md': `<!-- ${results.name} -->\n` });
    await expect(writeMarkdown(results, join(folder, 'mine.md'))).rejects.toThrow(
      /mine\.md holds something else/,
    );
    await expect(writeMarkdown(results, join(folder, 'half.md'))).rejects.toThrow(
      /half\.md: no line <!-- \/Ways/,
    );
    expect(await readFile(join(folder, 'mine.md'), 'utf8')).toBe('# Years of work\n');
  });
});

it('fits a terminal of 120 columns with three metrics and nine arms', () => {
  const table = formatResults(results).split('\n').slice(0, 10);
  expect(table[0]).toMatch(/^arm +ndcg@10 +mrr@10 +recall@100 +steps +document encodes +time$/);
  for (const line of table) expect(line.length).toBeLessThan(121);
});

it('has a script that is only its modules', async () => {
  const script = await pageScript();
  expect(script).not.toMatch(/\b(import|export|require)\b|sourceMappingURL|\/\*\*/);
  expect(() => new Function(script)).not.toThrow();
  expect(script.length).toBeLessThan(25_000);
});

describe.skipIf(chromiumPath() === undefined)(
  `the report in Chromium${chromiumPath() ? '' : ` (skipped: ${NO_CHROMIUM})`}`,
  () => {
    let page: ChromiumPage;
    let file: string;
    beforeAll(async () => {
      const folder = tempFiles();
      file = await writeReport(combineRuns(comparison, facts, runs.slice(0, 18)), folder);
      page = await ChromiumPage.open(chromiumPath()!);
      await page.screen({ width: 1200, height: 900 });
      await page.goto(pathToFileURL(file).href);
    });
    afterAll(() => page?.close());

    const value = <T>(expression: string) => page.evaluate<T>(expression);
    const shownArms = (plot: string) =>
      value<string[]>(
        `[...document.querySelectorAll('${plot} > svg .arm')].map((arm) => arm.getAttribute('class'))`,
      );
    const tick = () =>
      value<string>(
        `[...document.querySelectorAll('${dev} .frame text[text-anchor=end]')].map((t) => t.textContent).join()`,
      );
    const tip = (plot: string) =>
      value<string | null>(
        `(() => { const t = document.querySelector('${plot} .tip'); return t.hidden ? null : t.innerText; })()`,
      );

    it('is one small file that asks for nothing and complains of nothing', async () => {
      expect((await stat(file)).size).toBeLessThan(2_000_000);
      expect(await value('performance.getEntriesByType("resource").length')).toBe(0);
      expect(await value('document.title')).toBe('Ways to get <negatives>: comparison');
      expect(await value('document.querySelectorAll("section > .charts .frame").length')).toBe(7);
      expect(await shownArms(dev)).toHaveLength(9);
      expect(page.complaints).toEqual([]);
    });

    it('would notice an error on the page', async () => {
      await value('setTimeout(() => { throw new Error("on purpose"); }), 0');
      await expect.poll(() => page.complaints.join()).toContain('on purpose');
      await value('fetch("https://example.invalid/").catch(() => 0)');
      await expect.poll(() => page.complaints.join()).toMatch(/Content Security Policy/);
      page.complaints.length = 0;
    });

    it('shows values under the pointer', async () => {
      expect(await tip(dev)).toBeNull();
      await page.hover(dev, 0.97, 0.5);
      expect(await tip(dev)).toMatch(/^step 1,000\n(.+: 0\.\d{4} ± 0\.\d{4}\s*){9}$/);
      await page.hover('h1', 0.1, 0.5);
      expect(await tip(dev)).toBeNull();
      await page.hover(encodes, 0.97, 0.15);
      expect(await tip(encodes)).toMatch(
        /^exhaustive: ndcg@10 0\.\d{4} ± .*, document encodes \d{3},\d{3} ± /,
      );
    });

    it('hides arms, fits the axes to the rest, and shows them again', async () => {
      const before = await tick();
      for (const arm of [0, 1, 2, 3, 4, 5, 6]) await page.click(`.legend input[data-arm="${arm}"]`);
      expect(await shownArms(dev)).toEqual(['arm arm-7 dash-7', 'arm arm-0 dash-1']);
      expect(await shownArms(encodes)).toHaveLength(2);
      expect(await tick()).not.toBe(before);
      await page.click('.legend button');
      expect(await shownArms(dev)).toHaveLength(9);
      expect(await tick()).toBe(before);
    });

    it('can be used with the keyboard alone', async () => {
      await value(`document.querySelector('.legend input').focus()`);
      await page.press(' ');
      expect(await shownArms(dev)).toHaveLength(8);
      await page.press(' ');
      expect(await shownArms(dev)).toHaveLength(9);
      for (let i = 0; i < 20 && !(await value(`document.activeElement.matches('${dev}')`)); i++)
        await page.press('Tab');
      await page.press('End');
      expect(await tip(dev)).toMatch(/^step 1,000/);
      await page.press('ArrowLeft');
      expect(await tip(dev)).toMatch(/^step 900/);
      await page.press('Home');
      expect(await tip(dev)).toMatch(/^step 100/);
      await page.press('Escape');
      expect(await tip(dev)).toBeNull();
    });

    it('names everything that can be reached', async () => {
      const nameless = await value<string[]>(
        `[...document.querySelectorAll('[tabindex], input, button, [role]')].filter((e) =>
        !e.getAttribute('aria-label') && !e.getAttribute('aria-labelledby') && !e.closest('label') && !e.textContent.trim() &&
        e.getAttribute('role') !== 'status').map((e) => e.outerHTML.slice(0, 80))`,
      );
      expect(nameless).toEqual([]);
      expect(await value('document.documentElement.lang')).toBe('en');
    });

    it.each([
      { name: 'a phone', width: 360, height: 740, phone: true, dark: false },
      { name: 'a phone in dark mode', width: 360, height: 740, phone: true, dark: true },
      { name: 'a wide screen in dark mode', width: 1400, height: 900, dark: true },
    ])('is readable on $name', async (screen) => {
      await page.screen(screen);
      // Nothing is wider than the screen but what scrolls by itself.
      expect(await value('document.documentElement.scrollWidth <= innerWidth')).toBe(true);
      const small = await value<number>(
        `Math.min(...[...document.querySelectorAll('section > .charts .plot > svg text')].map((t) => parseFloat(getComputedStyle(t).fontSize) * t.getScreenCTM().a))`,
      );
      expect(small).toBeGreaterThanOrEqual(11.5);
      const cut = await value<string[]>(
        `[...document.querySelectorAll('section > .charts .plot > svg text')].filter((t) => { const p = t.closest('.plot').getBoundingClientRect(), b = t.getBoundingClientRect();
        return (b.left < p.left - 1 || b.right > p.right + 1 || b.top < p.top - 1 || b.bottom > p.bottom + 1); }).map((t) => t.textContent)`,
      );
      expect(cut).toEqual([]);
      const contrasts = await value<number[]>(CONTRASTS);
      expect(contrasts.length).toBeGreaterThan(9);
      expect(Math.min(...contrasts)).toBeGreaterThanOrEqual(3);
      expect(await value('getComputedStyle(document.body).backgroundColor')).toBe(
        screen.dark ? 'rgb(20, 23, 28)' : 'rgb(255, 255, 255)',
      );
      expect(page.complaints).toEqual([]);
    });

    it('holds other values in a part that opens', async () => {
      await page.screen({ width: 1200, height: 900 });
      await page.click('.more > summary');
      await expect.poll(() => value('document.querySelectorAll(".more .plot > svg .frame").length')).toBe(3);
      expect(page.complaints).toEqual([]);
    });
  },
);

/** Contrast of each line, and of soft text, to the page: (L₁ + 0.05) / (L₂ + 0.05) by WCAG 2. */
const CONTRASTS = `(() => {
  const rgb = (text) => text.match(/[\\d.]+/g).slice(0, 3).map((c) => c / 255);
  const luminance = (text) => {
    const [r, g, b] = rgb(text).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const page = luminance(getComputedStyle(document.body).backgroundColor);
  const contrast = (text) => { const l = luminance(text); return (Math.max(l, page) + 0.05) / (Math.min(l, page) + 0.05); };
  return [...document.querySelectorAll('.line')].map((e) => contrast(getComputedStyle(e).stroke))
    .concat([...document.querySelectorAll('.soft, svg text')].map((e) => contrast(getComputedStyle(e).fill === 'rgb(0, 0, 0)' ? getComputedStyle(e).color : getComputedStyle(e).fill)));
})()`;
