/**
 * @file Columns of results.
 */
import type { Hit } from './api.ts';
import { make, type PageElement } from './dom.ts';
import { excerptOf, markWords } from './passage-text.ts';
import { type Change, type Comparison, changesIn } from './rankings.ts';

/** Results of one ranking. */
export interface Column {
  readonly name: string;
  readonly hits: readonly Hit[];
  /** Time of the search at the server, in seconds. */
  readonly seconds: number;
  /** Shards of a cluster that were asked, and those of them that have not answered. */
  readonly shards?: number | undefined;
  readonly missing?: readonly MissingShard[] | undefined;
}

/** Shard whose passages an answer lacks, with the reason. */
export interface MissingShard {
  readonly shard: string;
  readonly reason: string;
}

const LETTERS = ['A', 'B'];

/** Makes the columns of one or two rankings. */
export function columnsOf(columns: readonly Column[], words: readonly string[]): PageElement[] {
  const ids = columns.map(({ hits }) => hits.map(({ id }) => id));
  return columns.map((column, i) => {
    const { name, hits, seconds } = column;
    const other = columns.length === 2 ? ids[1 - i] : undefined;
    const changes = other && changesIn(ids[i]!, other);
    const top = Math.max(0, ...hits.map(({ score }) => score));
    const items = hits.map((hit, row) =>
      itemOf(hit, {
        words,
        share: top > 0 ? hit.score / top : 0,
        change: changes?.[row],
        letter: LETTERS[1 - i]!,
      }),
    );
    items[0]?.setAttribute('tabindex', '0');
    const title = make('h2', { id: `column-${i}` }, columns.length === 2 ? `${LETTERS[i]} · ${name}` : name);
    const facts = make('span', { class: 'soft' }, `${hits.length} passages · ${timeText(seconds)}`);
    return make(
      'section',
      { class: 'column', 'aria-labelledby': `column-${i}` },
      make('div', { class: 'column-head' }, title, facts),
      ...partialNotice(column),
      hits.length > 0 ? make('ol', {}, ...items) : make('p', { class: 'soft' }, 'Nothing was found.'),
    );
  });
}

/** Tells which shards an answer lacks. */
function partialNotice({ shards = 0, missing = [] }: Column): PageElement[] {
  if (missing.length === 0) return [];
  const reasons = missing.map(({ shard, reason }) => `${shard} (${reason})`);
  const text = `Partial: ${missing.length} of ${shards} shards missing: ${reasons.join('; ')}`;
  return [make('p', { class: 'partial' }, text)];
}

function timeText(seconds: number): string {
  if (seconds >= 1) return `${seconds.toFixed(1)} s`;
  return `${(seconds * 1000).toFixed(seconds < 0.0095 ? 1 : 0)} ms`;
}

/** Describes the comparison of two columns. */
export function comparisonText({ shared, size, meanMove }: Comparison): string {
  if (size === 0) return '';
  if (shared === 0) return `None of ${size} passages is in both columns.`;
  const moved = meanMove === 0 ? 'at equal ranks' : `which differ by ${meanMove.toFixed(1)} ranks on average`;
  return `${shared} of ${size} passages are in both columns, ${moved}.`;
}

interface ItemOptions {
  readonly words: readonly string[];
  /** Score as a share of the best, for the bar. */
  readonly share: number;
  readonly change: Change | undefined;
  /** Letter of the other column. */
  readonly letter: string;
}

function itemOf(hit: Hit, { words, share, change, letter }: ItemOptions): PageElement {
  const shown = excerptOf(hit.text, words);
  const bar = make('span', { class: 'score-bar', 'aria-hidden': 'true' }, make('span'));
  bar.children[0]!.style.width = `${Math.max(0, Math.min(1, share)) * 100}%`;
  const facts = [
    make('span', { class: 'score' }, bar, scoreText(hit.score)),
    ...Object.entries(hit.parts ?? {}).flatMap(([name, value]) =>
      value === undefined ? [] : make('span', {}, `${PART_NAMES[name] ?? name} ${scoreText(value)}`),
    ),
    ...Object.entries(hit.metadata ?? {})
      .slice(0, 6)
      .map(([name, value]) => make('span', {}, fieldText(name, value))),
  ];
  const head = make(
    'div',
    { class: 'hit-head' },
    make('span', { class: 'rank', 'aria-label': `rank ${hit.rank}` }, String(hit.rank)),
    make('h3', {}, ...(hit.title === '' ? [hit.id] : markedNodes(hit.title, words))),
    ...(change ? [changeOf(change, letter)] : []),
  );
  const text = make('p', { class: 'text' });
  const item = make(
    'li',
    { class: 'hit', tabindex: -1 },
    head,
    text,
    make('div', { class: 'facts' }, ...facts),
  );
  item.dataset.id = hit.id;
  if (hit.title !== '') item.querySelector('.facts')!.append(make('span', { class: 'id' }, hit.id));
  if (hit.shard !== undefined) item.querySelector('.facts')!.append(make('span', {}, `shard ${hit.shard}`));
  const show = (whole: boolean) => {
    text.replaceChildren(...markedNodes(whole ? hit.text : shown, words));
    item.classList.toggle('whole', whole);
  };
  show(false);
  if (shown === hit.text) return item;
  const button = make(
    'button',
    { type: 'button', class: 'more', 'aria-expanded': 'false', tabindex: -1 },
    'Show all',
  );
  button.addEventListener('click', () => {
    const whole = button.getAttribute('aria-expanded') !== 'true';
    button.setAttribute('aria-expanded', String(whole));
    button.textContent = whole ? 'Show less' : 'Show all';
    show(whole);
  });
  item.querySelector('.facts')!.append(button);
  return item;
}

const markedNodes = (text: string, words: readonly string[]): (PageElement | string)[] =>
  markWords(text, words).map((part) => (part.isMatch ? make('mark', {}, part.text) : part.text));

const PART_NAMES: Readonly<Record<string, string>> = { dense: 'dense', bm25: 'BM25', rerank: 'reranker' };

const scoreText = (score: number): string => score.toFixed(Math.abs(score) < 1 ? 4 : 2);

function fieldText(name: string, value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return `${name} ${text.length > 60 ? `${text.slice(0, 60)}…` : text}`;
}

/** Shows how a result stands in the other column. */
function changeOf({ other, higher }: Change, letter: string): PageElement {
  if (other === undefined) {
    return make('span', { class: 'change only', title: `not in column ${letter}` }, `not in ${letter}`);
  }
  const words =
    higher === 0 ? 'the same rank' : `${Math.abs(higher)} ${higher > 0 ? 'higher' : 'lower'} here`;
  const sign = higher === 0 ? '=' : `${higher > 0 ? '▲' : '▼'} ${Math.abs(higher)}`;
  const kind = higher === 0 ? 'same' : higher > 0 ? 'up' : 'down';
  return make(
    'span',
    { class: `change ${kind}`, title: `rank ${other} in column ${letter}: ${words}` },
    make('span', { 'aria-hidden': 'true' }, sign),
    make('span', { class: 'unseen' }, `rank ${other} in column ${letter}: ${words}`),
  );
}
