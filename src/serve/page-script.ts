/** Script of the page of the server. Texts of passages are set as text, never as HTML. */
export const PAGE_SCRIPT = `
'use strict';
const $ = (id) => document.getElementById(id);
const make = (tag, text, className) => {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  if (className) node.className = className;
  return node;
};
let latest = 0;

async function call(path, body) {
  const token = $('token').value;
  const response = await fetch(path, {
    method: body ? 'POST' : 'GET',
    headers: { ...(body && { 'content-type': 'application/json' }), ...(token && { authorization: 'Bearer ' + token }) },
    ...(body && { body: JSON.stringify(body) }),
  });
  const json = await response.json();
  if (response.status === 401) $('token-row').hidden = false;
  if (!response.ok) throw new Error(json.error.message + (json.error.help ? ' (' + json.error.help + ')' : ''));
  return json;
}

function highlighted(text, words) {
  const node = make('p');
  if (words.length === 0) return make('p', text);
  const pattern = new RegExp('(' + words.map((word) => word.replace(/[.*+?^$()|[\\]\\\\{}]/g, '\\\\$&')).join('|') + ')', 'giu');
  for (const [i, part] of text.split(pattern).entries()) node.append(i % 2 ? make('mark', part) : part);
  return node;
}

function resultOf(hit, words) {
  const item = make('li');
  item.tabIndex = 0;
  if (hit.title) item.append(make('h3', hit.title));
  const facts = make('div', undefined, 'facts');
  facts.append(make('span', hit.rank + '.'), make('span', hit.id), make('span', 'score ' + hit.score.toFixed(4)));
  const { dense, bm25 } = hit.parts || {};
  if (dense !== undefined) facts.append(make('span', 'dense ' + dense.toFixed(3)));
  if (bm25 !== undefined) facts.append(make('span', 'BM25 ' + bm25.toFixed(2)));
  item.append(facts, highlighted(hit.text, words));
  return item;
}

async function search() {
  const query = $('query').value.trim();
  if (query === '') return;
  const run = ++latest;
  const modes = [...document.querySelectorAll('[name=mode]:checked')].map((box) => box.value);
  const filter = $('filter').value.split(',').map((part) => part.trim()).filter(Boolean);
  const words = [...new Set(query.match(/[\\p{L}\\p{N}]{2,}/gu) || [])];
  $('message').textContent = 'Searching…';
  try {
    const found = await Promise.all(modes.map((mode) => call('/search', { query, mode, ...(filter.length && { filter }) })));
    if (run !== latest) return;
    const columns = found.map(({ mode, results, seconds }) => {
      const column = make('section');
      const list = make('ol');
      list.append(...results.map((hit) => resultOf(hit, words)));
      column.append(make('h2', mode + ' · ' + results.length + ' · ' + Math.round(seconds * 1000) + ' ms'), list);
      return column;
    });
    $('results').replaceChildren(...columns);
    $('message').textContent = found.every(({ results }) => results.length === 0) ? 'Nothing was found.' : '';
    history.replaceState(null, '', '#' + encodeURIComponent(query));
  } catch (error) {
    if (run === latest) $('message').textContent = error.message;
  }
}

async function showStatus() {
  try {
    const { passages, spaces } = await call('/status');
    const current = spaces.find((space) => space.current);
    $('store').textContent = passages.toLocaleString() + ' passages' + (current ? ' · ' + current.model : '');
    const rows = spaces.map((space) => {
      const row = make('div', undefined, 'space');
      const bar = make('div', undefined, 'bar');
      bar.setAttribute('role', 'img');
      const share = (100 * space.share).toFixed(1) + ' %';
      bar.setAttribute('aria-label', share + ' of the passages are embedded by ' + space.model);
      const part = make('span');
      part.style.width = share.replace(' ', '');
      bar.append(part);
      const time = space.oldest ? ' · since ' + new Date(space.oldest).toLocaleString() : '';
      const facts = (space.current ? '● ' : '') + space.model + ' · ' + share + ' · D ' + space.dimension + ' · step ' + space.steps + time;
      row.append(make('p', facts, 'soft'), bar);
      return row;
    });
    $('ages').replaceChildren(make('h2', 'Vectors by encoder'), ...rows);
  } catch (error) {
    $('message').textContent = error.message;
  }
}

$('search').addEventListener('submit', (event) => {
  event.preventDefault();
  search();
});
$('search').addEventListener('change', () => $('query').value && search());
$('token').addEventListener('change', showStatus);
document.addEventListener('keydown', (event) => {
  const isTyping = event.target instanceof HTMLInputElement;
  if (event.key === '/' && !isTyping) {
    event.preventDefault();
    $('query').select();
  }
  if (event.key === 'ArrowDown' || event.key === 'ArrowUp') {
    const items = [...document.querySelectorAll('li')];
    const at = items.indexOf(document.activeElement);
    const next = items[event.key === 'ArrowDown' ? at + 1 : at - 1];
    if (next && (at >= 0 || event.key === 'ArrowDown')) {
      event.preventDefault();
      next.focus();
    }
  }
});
showStatus();
setInterval(showStatus, 10_000);
if (location.hash.length > 1) {
  $('query').value = decodeURIComponent(location.hash.slice(1));
  search();
}
`.trim();
