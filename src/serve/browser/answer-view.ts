/**
 * @file The answer of the language model, which grows while it is written, with links to its passages.
 */
import { type Hit, stream } from './api.ts';
import { splitCitations } from './citations.ts';
import { byId, make, type PageElement, page } from './dom.ts';
import { excerptOf } from './passage-text.ts';

let running: AbortController | undefined;

/** Whether an answer is being written. */
export const isAnswering = (): boolean => running !== undefined;

/** Stops the answer that is being written. */
export function stopAnswer(): void {
  running?.abort();
}

/** Hides the answer to an earlier question. */
export function clearAnswer(): void {
  stopAnswer();
  byId('answer').hidden = true;
}

/** Asks the language model, and shows the answer as it arrives. */
export async function askModel(body: { query: string }, words: readonly string[]): Promise<void> {
  stopAnswer();
  const own = new AbortController();
  running = own;
  byId('answer').hidden = false;
  byId('answer').setAttribute('aria-busy', 'true');
  byId('answer-stop').hidden = false;
  byId('answer-text').replaceChildren();
  byId('answer-passages').replaceChildren();
  say('Looking for passages…');
  let text = '';
  let passages: readonly Hit[] = [];
  try {
    for await (const { event, data } of stream('answer', body, own.signal)) {
      if (running !== own) return;
      if (event === 'passages') {
        passages = data.passages as readonly Hit[];
        byId('answer-passages').replaceChildren(...passages.map((hit, i) => sourceOf(hit, i + 1, words)));
        say(`${data.model} is reading ${passages.length} passages…`);
      }
      if (event === 'text') {
        text += data.text as string;
        byId('answer-text').replaceChildren(...answerNodes(text, passages.length));
        say('Writing…');
      }
      if (event === 'done') finish(data, passages.length);
      if (event === 'error')
        say(data.help === undefined ? `${data.message}` : `${data.message} (${data.help})`, true);
    }
  } catch (error) {
    if (running !== own) return;
    say(own.signal.aborted ? 'Stopped.' : (error as Error).message, !own.signal.aborted);
  } finally {
    if (running === own) {
      running = undefined;
      byId('answer').setAttribute('aria-busy', 'false');
      byId('answer-stop').hidden = true;
    }
  }
}

function finish({ citations, isCut, seconds }: Record<string, unknown>, passages: number): void {
  const cited = citations as readonly number[];
  for (const source of byId('answer-passages').children) {
    source.classList.toggle('uncited', !cited.includes(Number(source.dataset.number)));
  }
  const kinds = cited.length === 0 ? 'cites no passage' : `cites ${cited.length} of ${passages} passages`;
  say(
    `The answer ${kinds}${isCut ? ', and was cut at its longest length' : ''} · ${(seconds as number).toFixed(1)} s`,
  );
}

function say(message: string, isError = false): void {
  const line = byId('answer-message');
  if (line.textContent !== message) line.textContent = message;
  line.classList.toggle('error', isError);
}

function answerNodes(text: string, passages: number): (PageElement | string)[] {
  return splitCitations(text, passages).map((span) => {
    if ('text' in span) return span.text;
    const link = make(
      'a',
      { href: `#source-${span.cited}`, class: 'citation', 'aria-label': `passage ${span.cited}` },
      String(span.cited),
    );
    link.addEventListener('click', (event) => {
      // The part of the address after # keeps the search.
      event.preventDefault();
      const source = page.getElementById(`source-${span.cited}`);
      source?.focus();
      source?.scrollIntoView({ block: 'nearest' });
    });
    return link;
  });
}

function sourceOf({ id, title, text }: Hit, number: number, words: readonly string[]): PageElement {
  const item = make(
    'li',
    { id: `source-${number}`, tabindex: -1 },
    make('b', {}, `${number}  ${title || id}`),
    make('p', {}, excerptOf(text, words, 240)),
  );
  item.dataset.number = String(number);
  return item;
}
