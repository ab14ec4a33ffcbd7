import type { Retriever } from '../models/retriever/retriever.ts';
import { type Store, spaceOf } from '../store/store.ts';
import type { StoredSpace } from '../store/store-head.ts';
import { UsageError } from '../util/errors.ts';
import {
  type ChosenCorrector,
  chooseCorrector,
  embedSample,
  type HeldOut,
  type MigrationOptions,
  neighboursMoved,
  neighboursOf,
  type Sample,
} from './choose-corrector.ts';
import { neighbourOverlap } from './neighbours.ts';
import { type RefittedThreshold, refitThreshold } from './score-threshold.ts';

/** Settings of {@link planMigration}. */
export interface PlanOptions extends MigrationOptions {
  /** Price of an hour of this machine, in any currency. Default none. */
  readonly pricePerHour?: number | undefined;
  /** Threshold of scores in use with the present model, to be mapped to the new one. Default none. */
  readonly threshold?: number | undefined;
}

/** Thresholds of scores that let as many neighbours of sampled passages pass as the present one. */
export interface PlannedThresholds {
  /** While old vectors are moved by the corrector. */
  readonly mixed: RefittedThreshold;
  /** With new queries moved to the old space. */
  readonly queries: RefittedThreshold;
  /** After full re-embedding. */
  readonly full: RefittedThreshold;
}

/**
 * Plan of a migration: what it would take and how good it would be before anything but a sample is embedded. The fields of a chosen
 * corrector are those of the one that moves old documents to the new space.
 */
export interface MigrationPlan extends ChosenCorrector {
  /** Space of the present vectors. */
  readonly from: StoredSpace;
  /** Space of the new model. */
  readonly to: StoredSpace;
  /** Number of passages. */
  readonly passages: number;
  /** Passages that the new model has not embedded. */
  readonly missing: number;
  /** Time of embedding these, in seconds, at the rate of the sample. */
  readonly seconds: number;
  /** Processor time of embedding these, over all cores, in hours. */
  readonly cpuHours: number;
  /** Price of the time at `pricePerHour`; null without it. */
  readonly cost: number | null;
  /** Corrector that moves new queries to the old space, so that an index of old vectors is searched as it is. */
  readonly queries: ChosenCorrector;
  /** Overlap of the neighbours without a migration: old queries over old vectors against the new model. */
  readonly oldOverlap: number;
  /** Threshold of scores for the new model; null without `threshold`. */
  readonly thresholds: PlannedThresholds | null;
}

/**
 * Measures what a migration to another model would take: embeds a sample of passages by the new model and fits correctors to it.
 * Nothing is stored.
 *
 * @throws UsageError if the store has no vectors, the model is that of the store, or vectors are not of unit norm
 */
export async function planMigration(
  store: Store,
  retriever: Retriever,
  options: PlanOptions = {},
): Promise<MigrationPlan> {
  const snapshot = await store.snapshot();
  const [from, to] = spacesOf(store, retriever, options);
  const sampled = await embedSample(snapshot, from, retriever, options);
  const passages = await snapshot.passages.count();
  const stored = snapshot.head.spaces.some(({ id }) => id === to.id)
    ? await snapshot.embeddings(to.id).count()
    : 0;
  return await planFromSample(sampled, { from, to, passages, missing: passages - stored }, options);
}

/** Makes a plan from a sample of passages with vectors of both models. */
export async function planFromSample(
  sampled: Sample,
  facts: Pick<MigrationPlan, 'from' | 'to' | 'passages' | 'missing'>,
  options: PlanOptions,
): Promise<MigrationPlan> {
  const { from, to, missing } = facts;
  const choose = async (direction: 'documents' | 'queries') => {
    const { corrector, ...chosen } = await chooseCorrector(sampled, from, to, options, direction);
    await corrector.dispose();
    return chosen;
  };
  const { heldOut, ...documents } = await choose('documents');
  const { heldOut: heldOutQueries, ...queries } = await choose('queries');
  const seconds = missing / sampled.passagesPerSecond;
  const { pricePerHour, threshold } = options;
  return {
    ...facts,
    ...documents,
    seconds,
    cpuHours: (missing * sampled.cpuSecondsPerPassage) / 3600,
    cost: pricePerHour === undefined ? null : (seconds / 3600) * pricePerHour,
    queries,
    oldOverlap: neighbourOverlap(neighboursOf(heldOut.stale), neighboursOf(heldOut.fresh)),
    thresholds:
      threshold === undefined ? null : planThresholds(heldOut, heldOutQueries, threshold, options.seed),
  };
}

function planThresholds(
  documents: HeldOut,
  queries: HeldOut,
  threshold: number,
  seed: number | undefined,
): PlannedThresholds {
  const present = neighboursOf(documents.stale);
  return {
    mixed: refitThreshold(present, neighboursMoved(documents, 'documents'), threshold, { seed }),
    queries: refitThreshold(present, neighboursMoved(queries, 'queries'), threshold, { seed }),
    full: refitThreshold(present, neighboursOf(documents.fresh), threshold, { seed }),
  };
}

/**
 * Describes the spaces of a migration from the current space to a model.
 *
 * @throws UsageError if the store has no vectors, the model is that of the store, or vectors are not of unit norm
 */
export function spacesOf(store: Store, retriever: Retriever, { model = '(memory)' }: MigrationOptions) {
  const { current, spaces } = store.head;
  const from = spaces.find(({ id }) => id === current);
  if (!from)
    throw new UsageError('the store has no vectors yet', {
      help: 'undrift index --model MODEL --store STORE',
    });
  const to = spaceOf(retriever, model);
  if (to.id === from.id)
    throw new UsageError(`the store holds vectors of this model already (space ${to.id})`);
  if (!retriever.config.encoder.normalize) {
    throw new UsageError(
      'the model does not normalise its vectors, and correctors give vectors of unit norm',
      {
        help: 'use a model with normalisation, or index the documents anew: undrift index --model MODEL --store NEW',
      },
    );
  }
  return [from, to] as const;
}
