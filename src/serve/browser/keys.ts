/**
 * @file Keys of the page: / to the search field, arrows through the results, Enter to open one, Escape back.
 */
import { isAnswering, stopAnswer } from './answer-view.ts';
import { fieldOf, type PageElement, type PageEvent, page } from './dom.ts';

/** Listens for keys. */
export function listenForKeys(): void {
  page.addEventListener('keydown', (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const { target, key } = event;
    const isTyping = target.matches('input, select, textarea');
    if (key === '/' && !isTyping) {
      event.preventDefault();
      fieldOf('query').select();
    } else if (key === 'Escape') {
      goBack(event);
    } else if (key === 'Enter' && target.matches('.hit')) {
      event.preventDefault();
      (target.querySelector('.more') as (PageElement & { click(): void }) | null)?.click();
    } else if (key.startsWith('Arrow') && (!isTyping || target.matches('#query'))) {
      const next = neighbour(target, key);
      if (!next) return;
      event.preventDefault();
      next.focus({ preventScroll: true });
      next.scrollIntoView({ block: 'nearest', inline: 'nearest' });
    }
  });
}

function goBack({ target }: PageEvent): void {
  if (isAnswering()) stopAnswer();
  else if (!target.matches('#query')) fieldOf('query').select();
}

/** Finds the element that an arrow key leads to; undefined where the key has its usual meaning. */
function neighbour(from: PageElement, key: string): PageElement | undefined {
  const columns = [...page.querySelectorAll('.column')].map((column) => [...column.querySelectorAll('.hit')]);
  if (from.matches('#query')) return key === 'ArrowDown' ? columns[0]?.[0] : undefined;
  const column = columns.findIndex((hits) => hits.includes(from));
  if (column < 0) return undefined;
  const row = columns[column]!.indexOf(from);
  switch (key) {
    case 'ArrowDown':
      return columns[column]![row + 1];
    case 'ArrowUp':
      return columns[column]![row - 1] ?? fieldOf('query');
    case 'ArrowRight':
    case 'ArrowLeft': {
      const beside = columns[column + (key === 'ArrowRight' ? 1 : -1)];
      return beside?.[Math.min(row, beside.length - 1)];
    }
  }
  return undefined;
}
