import { joinTitle } from '../data/corpus.ts';
import { documentsOfPart, type PART_OPTION } from '../data/corpus-part.ts';
import { BLOCK_SIZE, blockEnds } from '../models/retriever/encode-blocks.ts';
import type { Retriever } from '../models/retriever/retriever.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import type { TokenStore } from '../text/token-store.ts';
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

/** Passages of one commit. Embedding them should take seconds, so that a kill loses little and a commit costs little. */
const COMMIT_TEXTS = 1024;
const COMMIT_TEXTS_STATIC = 16_384;
/** Characters of one commit, which bound its memory, and those from which on passages do not wait for a whole block. */
const COMMIT_CHARACTERS = 1 << 24;
const MOST_CHARACTERS = 1 << 26;
/** Commits between two compactions. */
const OPTIMIZE_EVERY = 64;

/**
 * Stores passages with their embeddings. A passage of a known id is replaced if it has changed, and skipped if it is stored with a
 * vector of this model: repeating a call after a kill goes on where it was.
 *
 * Passages are read, embedded and committed in parts. Memory is bounded by one part, whatever their number. Passages of a new store are
 * embedded in the blocks of `Retriever.encodeTokens`, so that its vectors have the same bits however the work was divided or stopped.
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
  let pending: PassageInput[] = [];
  const own = documentsOfPart(passages, options.part);
  /** Commits pending passages: whole blocks of them, or all. */
  const commit = async (isLast: boolean) => {
    checkPassages(pending);
    const report = (done: number) =>
      options.onProgress?.({
        stage: 'index',
        done: counts.read + done,
        total: options.total,
        unit: 'passages',
      });
    const part = { passages: pending, isLast };
    const found = await store.commit((draft) =>
      indexPart(draft, part, { retriever, space, rows, options, report }),
    );
    counts = sum(counts, found);
    report(0);
    const taken = pending.splice(0, found.read);
    if (counts.embedded > 0) await ensure(taken.map(({ title, text }) => joinTitle(title, text)));
    commits += 1;
    if (commits % OPTIMIZE_EVERY === 0) await store.optimize();
  };
  for await (const part of inParts(own, isStatic ? COMMIT_TEXTS_STATIC : COMMIT_TEXTS)) {
    pending = [...pending, ...part];
    await commit(characters(pending) >= MOST_CHARACTERS);
    if (options.signal?.aborted) break;
  }
  if (pending.length > 0 && !options.signal?.aborted) await commit(true);
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

/** Passages read, of which the first are to be committed. */
interface Part {
  readonly passages: readonly PassageInput[];
  /** Whether all are to be committed. */
  readonly isLast: boolean;
}

/**
 * Stores and embeds the first passages of a part.
 *
 * @returns  counts; `read` is the number of passages that were taken
 */
async function indexPart(
  draft: StoreDraft,
  part: Part,
  { retriever, space, rows, options, report }: Indexer,
): Promise<IndexCounts> {
  const own = draft.embeddings(space.id);
  const isMissing = await missingFrom(draft, space.id, part.passages);
  const plan = planPart(part, isMissing, retriever);
  const taken = part.passages.slice(0, plan.taken);
  const { numbered, added, changed } = await upsertPassages(draft, taken, rows);
  const missing = taken.filter(isMissing);
  if (missing.length > 0) {
    const before = taken.length - missing.length;
    const tokens = plan.tokens ?? tokenized(retriever, missing);
    const vectors = await retriever.encodeTokens('document', tokens, {
      ...options,
      rows: Uint32Array.from(missing, (_, row) => row),
      onProgress: ({ done }) => report(before + done),
    });
    const pids = Int32Array.from(missing, ({ id }) => numbered.get(id)!);
    await own.add(stampNow(pids, vectors, space.steps));
  }
  return {
    read: taken.length,
    added,
    changed,
    unchanged: taken.length - added - changed,
    embedded: missing.length,
  };
}

/**
 * Decides how many passages of a part to take, so that new passages are embedded in the blocks in which they would be embedded all at once:
 * the bits of a vector then do not depend on the parts, nor on where an earlier call was stopped.
 *
 * @returns  number of passages, and the tokens of all, if all of them are missing
 */
function planPart(
  { passages, isLast }: Part,
  isMissing: (input: PassageInput) => boolean,
  retriever: Retriever,
): { taken: number; tokens?: TokenStore } {
  const first = passages.findIndex(isMissing);
  if (isLast || first < 0 || !passages.slice(first).every(isMissing)) return { taken: passages.length };
  // The last new passages may belong to a block with those that come next.
  if (first > 0) return { taken: first };
  const tokens = tokenized(retriever, passages);
  const ends = blockEnds(tokens.lengths);
  const last = ends.at(-2) ?? 0;
  return { taken: passages.length - last === BLOCK_SIZE.rows ? passages.length : last, tokens };
}

const tokenized = (retriever: Retriever, passages: readonly PassageInput[]): TokenStore =>
  retriever.tokenize('document', passages.length, (row) => {
    const { title, text } = passages[row]!;
    return joinTitle(title, text);
  });

/** Tells which passages have no vector of their text in a space. */
async function missingFrom(
  draft: StoreDraft,
  space: string,
  part: readonly PassageInput[],
): Promise<(input: PassageInput) => boolean> {
  const known = await draft.passages.known(part.map(({ id }) => id));
  const same = part.flatMap((input) => {
    const now = known.get(input.id);
    return now && haveSameText(now.digest, digestOf(input)) ? [{ input, pid: now.pid }] : [];
  });
  const present = await draft.embeddings(space).having(same.map(({ pid }) => pid));
  const stored = new Set(same.flatMap(({ input, pid }) => (present.has(pid) ? input : [])));
  return (input) => !stored.has(input);
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

const characters = (passages: readonly PassageInput[]): number =>
  passages.reduce((total, { text }) => total + text.length, 0);

/** Collects passages up to a number, or to `COMMIT_CHARACTERS`. */
async function* inParts(
  passages: AsyncIterable<PassageInput> | Iterable<PassageInput>,
  most: number,
): AsyncGenerator<PassageInput[]> {
  let part: PassageInput[] = [];
  let length = 0;
  for await (const passage of passages) {
    part.push(passage);
    length += passage.text.length;
    if (part.length < most && length < COMMIT_CHARACTERS) continue;
    yield part;
    part = [];
    length = 0;
  }
  if (part.length > 0) yield part;
}
