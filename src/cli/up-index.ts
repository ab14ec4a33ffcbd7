import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { DOCUMENT_OPTIONS } from '../data/load-options.ts';
import { streamDocuments } from '../data/stream-documents.ts';
import { embeddingSpaceId } from '../models/retriever/embedding-space.ts';
import type { Retriever } from '../models/retriever/retriever.ts';
import { type IndexCounts, indexPassages } from '../store/index-passages.ts';
import { claimSource, SeenPassages } from '../store/mirror.ts';
import { Store } from '../store/store.ts';
import { loadEncoder } from '../store/stored-encoder.ts';
import { TERM_OPTIONS } from '../text/bm25-options.ts';
import { trainRetriever } from '../train/train-retriever.ts';
import { count } from '../util/format.ts';
import { type OptionValues, optionValues } from '../util/option-table.ts';
import type { Io } from './io.ts';
import { loadFolder, loadModel, loadProgress, showProgress, streamOptions } from './model-source.ts';

/** Updates of the encoder that is trained where no model is given: seconds for a folder of notes, a minute for thousands of pages. */
const TRAINING_STEPS = 600;
/** Name of this encoder. */
const TRAINED = 'trained on the documents';

/** Options of the documents, their store and their model. */
interface SourceOptions extends OptionValues<typeof DOCUMENT_OPTIONS> {
  readonly store: string;
  readonly model: string | undefined;
}

/** Machine to compute on, and the terminal. */
interface Surroundings {
  readonly io: Io;
  readonly compute: { readonly threads?: number };
}

/**
 * Brings a store up to date with its source: new and changed documents are indexed, and passages whose documents are gone are removed.
 *
 * @throws InterruptedError when the user stops the training of a model
 */
export async function indexSource(
  source: string,
  options: SourceOptions,
  { io, compute }: Surroundings,
): Promise<void> {
  // Read before the store is made, so that a mistyped path leaves nothing behind.
  const documents = await opened(streamDocuments(source, streamOptions(io, options)));
  const store = await Store.open(options.store, {
    create: optionValues(TERM_OPTIONS, {}),
    onNote: (note) => io.log(`note: ${note}`),
  });
  const isMirror = await claimSource(store, source);
  const training = join(store.place.scratch, 'training');
  const retriever = await encoderFor(store, source, options, { training, io, compute });
  const seen = new SeenPassages();
  const counts = await indexPassages(store, retriever, seen.watch(documents), {
    ...compute,
    model: options.model ?? TRAINED,
    signal: io.signal,
    onProgress: ({ stage, done, total, unit }) => io.progress(stage, done, { total, unit }),
  });
  io.finishProgress();
  const removed = isMirror && !io.signal.aborted ? await seen.removeOthers(store) : 0;
  io.log(describe(counts, removed));
  if (!isMirror) io.log('note: the store has passages of other commands too: none are removed');
  noteModel(store, retriever, io);
  await retriever.dispose();
  await store.close();
  // The store has a copy of the model.
  await rm(training, { recursive: true, force: true });
}

/** Takes the first item, so that errors in opening come here. */
async function opened<T>(items: AsyncGenerator<T, void>): Promise<AsyncIterable<T>> {
  const first = await items.next();
  return (async function* () {
    if (first.done) return;
    yield first.value;
    yield* items;
  })();
}

const describe = ({ read, added, changed, unchanged }: IndexCounts, removed: number): string =>
  `${count(read)} passages: ${count(added)} new, ${count(changed)} changed, ${count(unchanged)} as before` +
  (removed > 0 ? `; ${count(removed)} removed` : '');

/** Says that queries are embedded by another model than the one that was given. */
function noteModel(store: Store, retriever: Retriever, io: Io): void {
  const current = store.space(store.head.current!)!;
  if (current.id === embeddingSpaceId(retriever)) return;
  io.log(
    `note: searches go on with the model ${current.model}; the page shows both side by side, and undrift migrate replaces it`,
  );
}

/** Returns the model that was given, that of the store, or one that is trained on the documents. */
async function encoderFor(
  store: Store,
  source: string,
  { model, passageWords, passageOverlap, columns, skipBadRows }: SourceOptions,
  { training, io, compute }: Surroundings & { readonly training: string },
): Promise<Retriever> {
  if (model !== undefined) return await loadModel(model, io);
  if (store.head.current !== null) return await loadEncoder(store, store.head.current, compute);
  io.log('no model is given: a static encoder is trained on the documents');
  // Files are read by thousands, and shown as one sum.
  const [show, showRead] = [showProgress(io), loadProgress(io)];
  const trained = await trainRetriever(
    {
      method: 'crop',
      data: source,
      out: training,
      model: 'static',
      steps: TRAINING_STEPS,
      evalSplit: 'none',
      passageWords,
      passageOverlap,
      columns,
      skipBadRows,
      ...compute,
      // Quicker than to find out whether the documents have changed since it was stopped.
      overwrite: true,
    },
    {
      signal: io.signal,
      onProgress: (progress) => (progress.stage === 'read' ? showRead : show)(progress),
      onStep: ({ step }) => io.progress('train', step, { total: TRAINING_STEPS, unit: 'steps' }),
    },
  );
  io.finishProgress();
  return await loadFolder(trained.model, io);
}
