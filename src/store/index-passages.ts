import { joinTitle } from '../data/corpus.ts';
import { documentsOfPart, type PART_OPTION } from '../data/corpus-part.ts';
import type { Retriever } from '../models/retriever/retriever.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import type { GivenOptions } from '../util/option-table.ts';
import type { Progress } from '../util/progress.ts';
import { ensureCanaries, writeCanaries } from './canaries.ts';
import { stampNow } from './columns.ts';
import { checkPassages, digestOf, haveSameText, type PassageInput, PassageRows } from './passage-input.ts';
import { type Store, type StoreDraft, spaceOf } from './store.ts';
import type { StoredSpace } from './store-head.ts';
import { saveEncoder } from './stored-encoder.ts';

/** Settings of {@link indexPassages}. */
export interface IndexOptions extends ComputeOptions, GivenOptions<typeof PART_OPTION> {
  /** Name of the model, to be shown to users. Default `(memory)`. */
  readonly model?: string | undefined;
  /** Number of passages, if it is known, for progress. */
  readonly total?: number | undefined;
  /**
   * Canary texts of the model's space, at most 8: whoever loads the model checks that it reproduces their vectors. They replace those that
   * the space has. Default passages of the first part, if the space has none.
   */
  readonly canaries?: readonly string[] | undefined;
  /** Whether passages are embedded. Without, others embed them later, such as the workers of a cluster. Default true. */
  readonly embeds?: boolean | undefined;
  /** Aborting ends the work after the current commit. What is committed stays. */
  readonly signal?: AbortSignal | undefined;
  /** Called after every forward pass and every commit, with progress in passages. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

/** Counts of passages that were indexed. */
export interface IndexCounts {
  /** Passages read. */
  readonly read: number;
  /** Passages that the store did not have. */
  readonly added: number;
  /** Passages whose text or fields have changed. */
  readonly changed: number;
  /** Passages that were stored as they are. */
  readonly unchanged: number;
  /** Passages that were embedded: new and changed texts, and texts without a vector of this model. */
  readonly embedded: number;
}

/**
 * Passages of one commit, whole groups of blocks. Embedding them should take seconds, so that a kill loses little and a commit costs little.
 */
const COMMIT_TEXTS = 1024;
const COMMIT_TEXTS_STATIC = 16_384;
/** Characters of one commit, which bound its memory. */
const COMMIT_CHARACTERS = 1 << 26;
/** Commits between two compactions. */
const OPTIMIZE_EVERY = 64;

/**
 * Stores passages with their embeddings. A passage of a known id is replaced if it has changed, and skipped if it is stored with a
 * vector of this model: repeating a call after a kill goes on where it was.
 *
 * Passages are read, embedded and committed in parts. Memory is bounded by one part, whatever their number. A new store gets the bits of
 * `Retriever.encodeTokens` on all passages at once, unless they have more than 65,536 characters on average.
 *
 * @param passages  passages in any order
 * @throws DataError for a passage without id, for an id that occurs twice within a part, and for a model that does not reproduce the
 *   canary texts of its space
 */
export async function indexPassages(
  store: Store,
  retriever: Retriever,
  passages: AsyncIterable<PassageInput> | Iterable<PassageInput>,
  options: IndexOptions = {},
): Promise<IndexCounts> {
  const space = spaceOf(retriever, options.model ?? '(memory)');
  const { canaries, device, threads } = options;
  const compute = { ...(device && { device }), ...(threads && { threads }) };
  const ensure = (texts: readonly string[]) => ensureCanaries(store, space.id, retriever, { texts, compute });
  // Before anything is stored: a model that computes other vectors must not add any.
  await ensure([]);
  await saveEncoder(store, retriever, space.id);
  if (canaries) await writeCanaries(store, space.id, retriever, { texts: canaries, compute });
  if (!store.space(space.id) || store.head.current === null) {
    await store.commit(async (draft) => {
      await draft.addSpace(space);
      if (draft.head.current === null) draft.set({ current: space.id });
    });
  }
  const rows = new PassageRows(store.head.terms);
  const isStatic = retriever.encoder.moduleClass === 'StaticEmbedding';
  let counts: IndexCounts = { read: 0, added: 0, changed: 0, unchanged: 0, embedded: 0 };
  let commits = 0;
  const own = documentsOfPart(passages, options.part);
  for await (const part of inParts(own, isStatic ? COMMIT_TEXTS_STATIC : COMMIT_TEXTS)) {
    checkPassages(part);
    const report = (done: number) =>
      options.onProgress?.({
        stage: 'index',
        done: counts.read + done,
        total: options.total,
        unit: 'passages',
      });
    counts = sum(
      counts,
      await store.commit((draft) => indexPart(draft, part, { retriever, space, rows, options, report })),
    );
    report(0);
    if (counts.embedded > 0 || options.embeds === false)
      await ensure(part.map(({ title, text }) => joinTitle(title, text)));
    commits += 1;
    if (commits % OPTIMIZE_EVERY === 0) await store.optimize();
    if (options.signal?.aborted) break;
  }
  await store.optimize();
  return counts;
}

/** Model, and what is derived from it once, to index parts with. */
interface Indexer {
  readonly retriever: Retriever;
  readonly space: StoredSpace;
  readonly rows: PassageRows;
  readonly options: IndexOptions;
  /** Reports how many passages of the part are embedded. */
  readonly report: (done: number) => void;
}

async function indexPart(
  draft: StoreDraft,
  part: readonly PassageInput[],
  { retriever, space, rows, options, report }: Indexer,
): Promise<IndexCounts> {
  const own = draft.embeddings(space.id);
  const { known, numbered, added, changed } = await upsertPassages(draft, part, rows);

  const present = await own.having([...known.values()].map(({ pid }) => pid));
  const missing = options.embeds === false ? [] : part.filter(({ id }) => !present.has(numbered.get(id)!));
  if (missing.length > 0) {
    const texts = missing.map(({ title, text }) => joinTitle(title, text));
    const before = part.length - missing.length;
    const vectors = await retriever.encode('document', texts, {
      ...options,
      onProgress: ({ done }) => report(before + done),
    });
    const pids = Int32Array.from(missing, ({ id }) => numbered.get(id)!);
    await own.add(stampNow(pids, vectors, space.steps));
  }
  return {
    read: part.length,
    added,
    changed,
    unchanged: part.length - added - changed,
    embedded: missing.length,
  };
}

/** Outcome of {@link upsertPassages}. */
export interface UpsertedPassages {
  /** Passages that the store had. */
  readonly known: ReadonlyMap<string, { readonly pid: number }>;
  /** Numbers of all passages by their ids. */
  readonly numbered: ReadonlyMap<string, number>;
  /** Number of passages that the store did not have. */
  readonly added: number;
  /** Number of passages that were replaced. */
  readonly changed: number;
}

/** Stores passages: adds those of new ids, and replaces those that have changed. Vectors of another text are removed from every space. */
export async function upsertPassages(
  draft: StoreDraft,
  part: readonly PassageInput[],
  rows: PassageRows,
): Promise<UpsertedPassages> {
  const { passages } = draft;
  const known = await passages.known(part.map(({ id }) => id));
  const added = part.filter(({ id }) => !known.has(id));
  const changed = part.filter(
    (input) => known.has(input.id) && known.get(input.id)!.digest !== digestOf(input),
  );
  const otherText = changed.filter((input) => !haveSameText(known.get(input.id)!.digest, digestOf(input)));

  const newPids = draft.takePids(added.length);
  const numbered = new Map<string, number>([...known].map(([id, { pid }]) => [id, pid]));
  for (const [i, { id }] of added.entries()) numbered.set(id, newPids[i]!);
  const row = (input: PassageInput) => rows.row(input, numbered.get(input.id)!);
  await passages.add(added.map(row));
  await passages.replace(changed.map(row));
  // A vector of the former text is wrong in every space.
  const removed = otherText.map(({ id }) => numbered.get(id)!);
  if (removed.length > 0)
    for (const each of draft.head.spaces) await draft.embeddings(each.id).remove(removed);
  return { known, numbered, added: added.length, changed: changed.length };
}

const sum = (a: IndexCounts, b: IndexCounts): IndexCounts => ({
  read: a.read + b.read,
  added: a.added + b.added,
  changed: a.changed + b.changed,
  unchanged: a.unchanged + b.unchanged,
  embedded: a.embedded + b.embedded,
});

/** Collects passages up to a number, or to `COMMIT_CHARACTERS`. */
async function* inParts(
  passages: AsyncIterable<PassageInput> | Iterable<PassageInput>,
  most: number,
): AsyncGenerator<PassageInput[]> {
  let part: PassageInput[] = [];
  let characters = 0;
  for await (const passage of passages) {
    part.push(passage);
    characters += passage.text.length;
    if (part.length < most && characters < COMMIT_CHARACTERS) continue;
    yield part;
    part = [];
    characters = 0;
  }
  if (part.length > 0) yield part;
}
