/**
 * @file The part of the page that describes a cluster: shards by version, rate, time left, workers, blocks given up. It follows the server
 * while the page is seen.
 */
import { type Ages, sharesText, versionBands, versionLegend } from './age-picture.ts';
import { call } from './api.ts';
import { byId, make, type PageElement } from './dom.ts';
import { follow } from './follow.ts';
import { grouped, workText } from './progress.ts';
import type { RankingFacts } from './rankings.ts';

/** Shard, as far as the page uses it. */
interface Shard {
  readonly name: string;
  /** Version that all rows ought to have; empty while there is none. */
  readonly version: string;
  readonly rows: number;
  readonly stale: number;
  readonly versions: readonly { readonly id: string; readonly step: number; readonly rows: number }[];
  readonly rowsPerSecond: number;
  /** Time left in seconds; null if nothing is stored at present. */
  readonly secondsLeft: number | null;
  readonly workers: number;
  readonly deadLetters: number;
  readonly hasOwner: boolean;
  readonly coordinator: string;
  /** What keeps the owner from storing; empty if nothing does. */
  readonly problem: string;
}

/** The answer of `GET /status` of a server over a cluster, as far as the page uses it. */
export interface ClusterFacts {
  readonly address: string;
  readonly rows: number;
  readonly stale: number;
  readonly rowsPerSecond: number;
  readonly secondsLeft: number | null;
  readonly shards: readonly Shard[];
  readonly workers: readonly {
    readonly host: string;
    readonly pid: number;
    readonly threads: number;
    readonly rows: number;
    readonly rowsPerSecond: number;
    readonly shard: string;
  }[];
  readonly deadLetters: readonly {
    readonly shard: string;
    readonly rows: string;
    readonly reason: string;
    readonly by: string;
  }[];
}

/**
 * Follows the cluster.
 *
 * @param onRankings  called with what the rankings depend on, at every look
 * @param onError  called with the message of a failure, and with the empty text after the next success
 */
export function followCluster(
  onRankings: (facts: RankingFacts) => void,
  onError: (message: string) => void,
): () => void {
  return follow(async () => {
    const facts = await call<ClusterFacts>('status');
    onRankings(rankingFactsOf(facts));
    showCluster(facts);
    return facts.stale > 0;
  }, onError);
}

/** Describes the rankings of a cluster: its shards are searched by one model, once any row has a vector. */
const rankingFactsOf = ({ shards }: ClusterFacts): RankingFacts => {
  const rows = shards.reduce((sum, { versions }) => sum + sumOf(versions), 0);
  return { spaces: rows > 0 ? [{ id: '', model: '', current: true, rows }] : [] };
};

const sumOf = (versions: Shard['versions']): number => versions.reduce((sum, { rows }) => sum + rows, 0);

/**
 * Describes the versions of a cluster as the ages of a corpus, with a block for each shard. Versions that a shard wants come first, then
 * those of more training steps.
 */
export function clusterAges({ rows, shards }: Pick<ClusterFacts, 'rows' | 'shards'>): Ages {
  const wanted = new Set(shards.map(({ version }) => version));
  const found = new Map<string, { model: string; step: number; current: boolean; passages: number }>();
  for (const { versions } of shards) {
    for (const { id, step, rows: passages } of versions) {
      const known = found.get(id) ?? { model: id, step, current: wanted.has(id), passages: 0 };
      found.set(id, { ...known, passages: known.passages + passages });
    }
  }
  const versions = [...found.values()].sort(
    (a, b) => Number(b.current) - Number(a.current) || b.step - a.step || (a.model < b.model ? -1 : 1),
  );
  const cells = shards.map((shard) => ({
    passages: shard.rows,
    versions: versions.map(({ model }) => sumOf(shard.versions.filter(({ id }) => id === model))),
    time: null,
  }));
  return {
    passages: rows,
    missing: rows - versions.reduce((sum, { passages }) => sum + passages, 0),
    versions: versions.map(({ step, ...version }) => ({ ...version, steps: [step, step] as const })),
    cells,
  };
}

/** Describes the work on rows: how many are of the wanted version, the rate, and the time left. */
export function shardText({
  rows,
  stale,
  rowsPerSecond,
  secondsLeft,
}: Pick<Shard, 'rows' | 'stale' | 'rowsPerSecond' | 'secondsLeft'>): string {
  const isMoving = stale > 0 && secondsLeft !== null;
  const text = workText({
    ...{ done: rows - stale, total: rows },
    rate: isMoving ? rowsPerSecond : undefined,
    secondsLeft: isMoving ? secondsLeft : undefined,
  });
  return stale > 0 && secondsLeft === null ? `${text} · nothing is being stored` : text;
}

function showCluster(facts: ClusterFacts): void {
  const { address, rows, shards, workers, deadLetters } = facts;
  const ages = clusterAges(facts);
  const counts = [`${grouped(rows)} passages`, many(shards.length, 'shard'), many(workers.length, 'worker')];
  byId('store').textContent = [...counts, address].join(' · ');
  byId('cluster-text').textContent = shardText(facts);
  const all = { passages: rows, versions: ages.versions.map(({ passages }) => passages), time: null };
  byId('cluster-bar').replaceChildren(...bandsOf(all));
  byId('cluster-bar').setAttribute('aria-label', sharesText(ages) || 'no passages');
  byId('age-legend').replaceChildren(...versionLegend(ages, 'stale'));
  byId('shards').replaceChildren(...shards.map((shard, i) => shardRow(shard, ages.cells[i]!)));
  byId('workers').replaceChildren(
    ...(workers.length > 0 ? workers.map(workerRow) : [make('li', { class: 'soft' }, 'No worker runs.')]),
  );
  byId('given-up').hidden = deadLetters.length === 0;
  byId('letters').replaceChildren(
    ...deadLetters
      .map(({ shard, rows: block, reason, by }) =>
        make('li', {}, make('b', {}, `${shard} `), `rows ${block}: ${reason} (${by})`),
      )
      .reverse(),
  );
  // Shown late, so that nothing moves before the eyes of the reader.
  byId('cluster').classList.toggle('absent', false);
}

const many = (count: number, noun: string): string => `${grouped(count)} ${noun}${count === 1 ? '' : 's'}`;

/** Makes the parts of a bar, the newest version at the left. */
const bandsOf = (cell: Ages['cells'][number]): PageElement[] =>
  versionBands(cell).map(({ height, color }) => {
    const band = make('i', { class: color });
    band.style.width = `${100 * height}%`;
    return band;
  });

function shardRow(shard: Shard, cell: Ages['cells'][number]): PageElement {
  const { name, hasOwner, coordinator, stale, deadLetters, workers, problem } = shard;
  const warnings = [
    ...(hasOwner ? [] : ['no owner']),
    ...(coordinator === '' && stale > 0 ? ['no coordinator'] : []),
    ...(deadLetters > 0 ? [`${many(deadLetters, 'block')} given up`] : []),
  ];
  const tags = warnings.map((text) => make('span', { class: 'tag warning' }, text));
  const head = make('div', { class: 'model-name' }, make('b', {}, name), ...tags);
  const bar = make('div', { class: 'bar shares', 'aria-hidden': 'true' }, ...bandsOf(cell));
  const facts = [shardText(shard), ...(workers > 0 ? [many(workers, 'worker')] : [])];
  const trouble =
    problem === '' ? [] : [make('div', { class: 'soft error' }, `The owner cannot store: ${problem}`)];
  return make('li', {}, head, bar, make('div', { class: 'soft' }, facts.join(' · ')), ...trouble);
}

const workerRow = ({ host, pid, threads, rows, rowsPerSecond, shard }: ClusterFacts['workers'][number]) =>
  make(
    'li',
    {},
    make('div', { class: 'model-name' }, make('b', {}, `${host} ${pid}`)),
    make(
      'div',
      { class: 'soft' },
      [
        many(threads, 'thread'),
        `${grouped(rows)} embedded`,
        `${grouped(Math.round(rowsPerSecond))} per second`,
        ...(shard === '' ? [] : [`last for ${shard}`]),
      ].join(' · '),
    ),
  );
