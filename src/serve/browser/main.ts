/**
 * @file Script of the page of the server.
 */
import { readAddress, writeAddress } from './address.ts';
import { askModel, clearAnswer, stopAnswer } from './answer-view.ts';
import { call, type Hit, keepToken } from './api.ts';
import { followCluster } from './cluster-view.ts';
import { byId, fieldOf, make, page } from './dom.ts';
import { listenForKeys } from './keys.ts';
import { queryWords } from './passage-text.ts';
import {
  compareRankings,
  type Ranking,
  type RankingChoice,
  type RankingFacts,
  rankingChoices,
} from './rankings.ts';
import { type Column, columnsOf, comparisonText } from './result-list.ts';
import { followStore } from './store-view.ts';

declare const location: { hash: string };
declare const history: { replaceState(state: null, title: string, address: string): void };
declare const window: { addEventListener(name: string, listener: () => void): void };

interface Found extends Pick<Column, 'seconds' | 'shards' | 'missing'> {
  readonly results: readonly Hit[];
}

let choices: readonly RankingChoice[] = [];
let running: AbortController | undefined;
/** Address that the page has written itself, so that it does not search again for it. */
let written = '';

/** Shows a message about a search, or about the description of the store. */
function say(message: string, { isError = false, of = 'search' } = {}): void {
  const line = byId('message');
  line.textContent = message;
  line.classList.toggle('error', isError);
  line.dataset.of = of;
}

const chosen = (id: string): RankingChoice | undefined =>
  choices.find(({ key }) => key === fieldOf(id).value);

function bodyOf({ mode, space, rerank }: Ranking, query: string): { query: string } {
  const filter = fieldOf('filter')
    .value.split(',')
    .map((part) => part.trim());
  const conditions = filter.filter((part) => part !== '');
  return {
    query,
    mode,
    ...(space !== undefined && { space }),
    ...(rerank && { rerank }),
    ...(conditions.length > 0 && { filter: conditions }),
  } as { query: string };
}

async function search(): Promise<void> {
  const query = fieldOf('query').value.trim();
  const [first, second] = [chosen('first'), chosen('second')];
  if (query === '' || !first) return;
  running?.abort();
  const own = new AbortController();
  running = own;
  keepAddress(query);
  byId('results').setAttribute('aria-busy', 'true');
  say('Searching…');
  try {
    const rankings = second ? [first, second] : [first];
    const found = await Promise.all(
      rankings.map((ranking) => call<Found>('search', bodyOf(ranking, query), own.signal)),
    );
    if (running !== own) return;
    show(
      query,
      rankings.map(({ name }, i) => {
        const { results: hits, seconds, shards, missing } = found[i]!;
        return { name, hits, seconds, shards, missing };
      }),
    );
  } catch (error) {
    if (running === own) say((error as Error).message, { isError: true });
  } finally {
    if (running === own) byId('results').setAttribute('aria-busy', 'false');
  }
}

function show(query: string, columns: readonly Column[]): void {
  byId('results').replaceChildren(...columnsOf(columns, queryWords(query)));
  byId('results').classList.toggle('pair', columns.length === 2);
  const ids = columns.map(({ hits }) => hits.map(({ id }) => id));
  const hits = columns.reduce((sum, column) => sum + column.hits.length, 0);
  if (hits === 0) say('Nothing was found. Other words, or fewer conditions, may find something.');
  else if (columns.length === 2) say(comparisonText(compareRankings(ids[0]!, ids[1]!)));
  else say(`${hits} passages, best first.`);
}

function keepAddress(query: string): void {
  written = writeAddress({
    query,
    first: fieldOf('first').value,
    second: fieldOf('second').value,
    filter: fieldOf('filter').value.trim(),
  });
  history.replaceState(null, '', written);
  page.title = query === '' ? 'Undrift' : `${query} · Undrift`;
}

async function ask(): Promise<void> {
  const query = fieldOf('query').value.trim();
  const ranking = chosen('first');
  if (query === '' || !ranking) return;
  await Promise.all([askModel(bodyOf(ranking, query), queryWords(query)), search()]);
}

/** Offers the rankings that the store or cluster allows. The choice stays where it can. */
function offer(facts: RankingFacts): void {
  const offered = rankingChoices(facts);
  if (JSON.stringify(offered) === JSON.stringify(choices)) return;
  const isFirst = choices.length === 0;
  choices = offered;
  const address = readAddress(location.hash);
  for (const [id, wanted] of [
    ['first', isFirst ? address.first : fieldOf('first').value],
    ['second', isFirst ? address.second : fieldOf('second').value],
  ] as const) {
    const none = id === 'second' ? [make('option', { value: '' }, 'nothing')] : [];
    const options = offered.map(({ key, name }) => make('option', { value: key }, name));
    byId(id).replaceChildren(...none, ...options);
    fieldOf(id).value = offered.some(({ key }) => key === wanted)
      ? wanted
      : id === 'second'
        ? ''
        : offered[0]!.key;
    fieldOf(id).disabled = false;
  }
  if (isFirst) openAddress();
}

/** Searches for what the address names. */
function openAddress(): void {
  const address = readAddress(location.hash);
  fieldOf('query').value = address.query;
  fieldOf('filter').value = address.filter;
  const known = (key: string) => choices.some((choice) => choice.key === key);
  if (known(address.first)) fieldOf('first').value = address.first;
  fieldOf('second').value = known(address.second) ? address.second : '';
  void search();
}

/** Marks the same passage in the other column. */
function markTwins(): void {
  const mark = (id: string | undefined) => {
    for (const hit of page.querySelectorAll('.hit')) {
      hit.classList.toggle('twin', id !== undefined && hit.dataset.id === id);
    }
  };
  byId('results').addEventListener('pointerover', ({ target }) => mark(target.closest('.hit')?.dataset.id));
  byId('results').addEventListener('pointerleave', () => mark(undefined));
  byId('results').addEventListener('focusin', ({ target }) => mark(target.closest('.hit')?.dataset.id));
  byId('results').addEventListener('focusout', () => mark(undefined));
}

byId('search').addEventListener('submit', (event) => {
  event.preventDefault();
  if (event.submitter?.getAttribute('id') === 'ask') {
    void ask();
    return;
  }
  clearAnswer();
  void search();
});
for (const id of ['first', 'second', 'filter']) byId(id).addEventListener('change', () => void search());
byId('answer-stop').addEventListener('click', stopAnswer);
window.addEventListener('hashchange', () => location.hash !== written && openAddress());
listenForKeys();
markTwins();
keepToken(() => {
  look();
  void search();
});
const showTrouble = (message: string): void => {
  // The next success takes its own failure away, and no message about a search.
  if (message !== '' || byId('message').dataset.of === 'store') say(message, { isError: true, of: 'store' });
};
const look = page.getElementById('cluster')
  ? followCluster(offer, showTrouble)
  : followStore(({ spaces, server }) => offer({ spaces, reranker: server.reranker }), showTrouble);
