/**
 * @file The part of the page that describes the store: models, migration, ages. It follows the server while the page is seen.
 */
import { type Ages, ageLegend, agePicture, blockText } from './age-picture.ts';
import { call } from './api.ts';
import { byId, fieldOf, make, type PageElement, type PageEvent } from './dom.ts';
import { follow } from './follow.ts';
import { bytesText, grouped, RateMeter, workText } from './progress.ts';
import { shortName } from './rankings.ts';

/** The answer of `GET /status`, as far as the page uses it. */
export interface Status {
  readonly passages: number;
  readonly bytes: number;
  readonly spaces: readonly {
    readonly id: string;
    readonly model: string;
    readonly dimension: number;
    readonly steps: number;
    readonly current: boolean;
    readonly rows: number;
    readonly share: number;
  }[];
  /** Migration that is under way. */
  readonly migration?: { readonly from: string; readonly to: string } | null;
  /** Work left for the refresh of vectors. */
  readonly refresh?: {
    readonly stale: number;
    readonly queue: number;
    readonly secondsLeft: number | null;
  } | null;
  readonly server: {
    readonly readOnly: boolean;
    /** Name of the language model that answers; null if there is none. */
    readonly answers: string | null;
    readonly reranker?: string | null;
  };
}

declare const matchMedia: (query: string) => {
  readonly matches: boolean;
  addEventListener(name: 'change', listener: () => void): void;
};

const meter = new RateMeter();
const isNarrow = matchMedia('(max-width: 40rem)');
let ages: Ages | undefined;

/**
 * Follows the store.
 *
 * @param onStatus  called with every status
 * @param onError  called with the message of a failure, and with the empty text after the next success
 */
export function followStore(
  onStatus: (status: Status) => void,
  onError: (message: string) => void,
): () => void {
  fieldOf('age-by').addEventListener('change', showAges);
  isNarrow.addEventListener('change', showAges);
  followPointer();
  return follow(async () => {
    const status = await call<Status>('status');
    onStatus(status);
    const isBusy = showStatus(status);
    ages = await call<Ages>('ages');
    showAges();
    // Shown late, so that nothing moves before the eyes of the reader.
    byId('corpus').classList.toggle('absent', false);
    return isBusy;
  }, onError);
}

/** Shows the status, and returns whether vectors are being made. */
function showStatus(status: Status): boolean {
  const { passages, bytes, spaces } = status;
  const current = spaces.find((space) => space.current);
  const facts = [
    `${grouped(passages)} passages`,
    bytesText(bytes),
    current ? shortName(current.model) : 'no vectors',
  ];
  byId('store').textContent = facts.join(' · ');
  byId('models').replaceChildren(...spaces.map(modelRow));
  const isBusy = showWork(status);
  return isBusy;
}

/** Shows the progress of a migration or a refresh, and returns whether there is any. */
function showWork({ migration, refresh, spaces, passages }: Status): boolean {
  const box = byId('work');
  const to = spaces.find(({ id }) => id === migration?.to) ?? spaces.find((space) => space.current);
  const done = refresh ? passages - refresh.stale : (to?.rows ?? 0);
  const isBusy = to !== undefined && (migration !== null && migration !== undefined ? true : done < passages);
  box.hidden = !isBusy;
  if (!isBusy) return false;
  const from = spaces.find(({ id }) => id === migration?.from);
  const rate = meter.add(done, performance.now());
  const secondsLeft = rate === undefined ? (refresh?.secondsLeft ?? undefined) : (passages - done) / rate;
  const title = from
    ? `Migration from ${shortName(from.model)} to ${shortName(to.model)}`
    : `Embedding by ${shortName(to.model)}`;
  byId('work-title').textContent = title;
  byId('work-text').textContent =
    migration && done >= passages
      ? `All ${grouped(passages)} passages are embedded: ready for undrift migrate cutover.`
      : workText({ done, total: passages, rate, secondsLeft });
  const percent = passages === 0 ? 100 : (100 * done) / passages;
  const bar = byId('work-bar');
  bar.setAttribute('aria-valuenow', percent.toFixed(1));
  bar.children[0]!.style.width = `${percent}%`;
  return done < passages;
}

function modelRow({ model, current, share, dimension, steps, rows }: Status['spaces'][number]): PageElement {
  const percent = `${(100 * share).toFixed(share === 1 ? 0 : 1)} %`;
  const bar = make('div', { class: 'bar', 'aria-hidden': 'true' }, make('span'));
  bar.children[0]!.style.width = `${100 * share}%`;
  return make(
    'li',
    {},
    make(
      'div',
      { class: 'model-name' },
      make('b', {}, shortName(model)),
      ...(current ? [make('span', { class: 'tag' }, 'current')] : []),
    ),
    bar,
    make(
      'div',
      { class: 'soft' },
      `${grouped(rows)} vectors (${percent}) · ${dimension} dimensions · step ${grouped(steps)}`,
    ),
  );
}

function showAges(): void {
  if (!ages) return;
  const by = fieldOf('age-by').value as 'version' | 'time';
  byId('age-picture').replaceChildren(agePicture(ages, by, isNarrow.matches ? 30 : 60));
  byId('age-legend').replaceChildren(...ageLegend(ages, by, Date.now()));
}

/** Describes the block under the pointer. */
function followPointer(): void {
  const show = ({ target }: PageEvent) => {
    const block = target.closest('.block')?.dataset.block;
    if (ages && block !== undefined)
      byId('age-block').textContent = blockText(ages, Number(block), Date.now());
  };
  byId('age-picture').addEventListener('pointermove', show);
  byId('age-picture').addEventListener('click', show);
  byId('age-picture').addEventListener('pointerleave', () => {
    byId('age-block').textContent = '\u00a0';
  });
}
