import { permutation, randomInts, rngKey } from '../../src/util/rng.ts';

export interface SyntheticOptions {
  documents: number;
  trainQueries: number;
  devQueries: number;
  testQueries: number;
  topics: number;
  facetsPerTopic: number;
  backgroundWords: number;
  seed: number;
}

export const SYNTHETIC_DEFAULTS: SyntheticOptions = {
  documents: 10_000,
  trainQueries: 6_000,
  devQueries: 500,
  testQueries: 2_000,
  topics: 40,
  facetsPerTopic: 16,
  backgroundWords: 200,
  seed: 1,
};

/** Word types of a topic and of a facet. */
const TOPIC_TYPES = 8;
const FACET_TYPES = 3;
/** Words of a document: of its topic, of each of its facets, of the background. */
const TOPIC_WORDS = 8;
const FACETS = 3;
const FACET_WORDS = 3;
const BACKGROUND_WORDS = 7;
/** Words of a query, out of each of these groups. */
const QUERY_WORDS = 2;

export interface SyntheticQuery {
  text: string;
  /** Row of the one document that answers it. */
  document: number;
}

export interface SyntheticData {
  documents: string[];
  queries: Readonly<Record<'train' | 'dev' | 'test', SyntheticQuery[]>>;
  /** Every word that documents or queries may have, in a fixed order. */
  vocabulary: string[];
}

/**
 * Documents that differ in facets, queries that say half of it in other words: made so that negatives matter, and small enough to train
 * in seconds.
 *
 * - A document has 24 words: 8 of one topic (8 word types each), 3 of each of 3 facets of this topic (3 word types each), 7
 *   background words; all drawn with replacement. Only the facets, and chance, tell the documents of a topic apart.
 * - A query has 10 words: 2 of its document's topic words, 2 of each facet's, 2 of the background's; no two queries have the same
 *   document.
 * - Half of all word types have a paraphrase, which stands in queries instead of the word, and which no document has: it has to be
 *   learnt, and counting common words (BM25) finds half of them.
 *
 * Document i depends on (seed, i) and the numbers of word types alone.
 *
 * @throws RangeError where there are fewer documents than queries, or fewer than three facets per topic
 */
export function syntheticData(given: Partial<SyntheticOptions> = {}): SyntheticData {
  const options = { ...SYNTHETIC_DEFAULTS, ...given };
  const { documents: count, trainQueries, devQueries, testQueries, facetsPerTopic, seed } = options;
  if (trainQueries + devQueries + testQueries > count) {
    throw new RangeError(`${count} documents are fewer than queries: each query has a document of its own`);
  }
  if (facetsPerTopic < FACETS) throw new RangeError(`a document has ${FACETS} different facets of a topic`);

  const types = wordTypes(options);
  const paraphrased = new Set(
    permutation(rngKey(seed, 0, 'paraphrases'), types.length).subarray(0, types.length / 2),
  );
  const documents = Array.from({ length: count }, (_, row) => documentGroups(row, options));
  const order = permutation(rngKey(seed, 0, 'queries'), count);
  const makeQueries = (from: number, length: number): SyntheticQuery[] =>
    Array.from(order.subarray(from, from + length), (document) => {
      const words = queryWords(document, documents[document]!, seed);
      return {
        document,
        text: words
          .map((type) => (paraphrased.has(type) ? paraphrase(types[type]!) : types[type]!))
          .join(' '),
      };
    });
  return {
    documents: documents.map((groups) =>
      groups
        .flat()
        .map((type) => types[type]!)
        .join(' '),
    ),
    queries: {
      train: makeQueries(0, trainQueries),
      dev: makeQueries(trainQueries, devQueries),
      test: makeQueries(trainQueries + devQueries, testQueries),
    },
    vocabulary: [...types, ...types.filter((_, type) => paraphrased.has(type)).map(paraphrase)],
  };
}

const paraphrase = (word: string): string => `other${word}`;

/** Word types by number: topics', facets', background's. */
function wordTypes({ topics, facetsPerTopic, backgroundWords }: SyntheticOptions): string[] {
  const list = (length: number, word: (i: number) => string) => Array.from({ length }, (_, i) => word(i));
  const ofTopic = list(topics * TOPIC_TYPES, (i) => `topic${Math.floor(i / TOPIC_TYPES)}x${i % TOPIC_TYPES}`);
  const ofFacet = list(topics * facetsPerTopic * FACET_TYPES, (i) => {
    const facet = Math.floor(i / FACET_TYPES);
    return `facet${Math.floor(facet / facetsPerTopic)}x${facet % facetsPerTopic}x${i % FACET_TYPES}`;
  });
  return [...ofTopic, ...ofFacet, ...list(backgroundWords, (i) => `word${i}`)];
}

/** Word types of a document, one group for its topic, one for each facet, one for the background. */
function documentGroups(
  row: number,
  { topics, facetsPerTopic, backgroundWords, seed }: SyntheticOptions,
): number[][] {
  const draw = (bound: number, length: number, what: string): number[] => {
    const out = new Int32Array(length);
    randomInts(rngKey(seed, row, what), bound, out);
    return [...out];
  };
  const topic = draw(topics, 1, 'topic')[0]!;
  const facets = permutation(rngKey(seed, row, 'facets'), facetsPerTopic).subarray(0, FACETS);
  const firstOfFacets = topics * TOPIC_TYPES;
  const firstOfBackground = firstOfFacets + topics * facetsPerTopic * FACET_TYPES;
  return [
    draw(TOPIC_TYPES, TOPIC_WORDS, 'topic words').map((i) => topic * TOPIC_TYPES + i),
    ...Array.from(facets, (facet) => {
      const first = firstOfFacets + (topic * facetsPerTopic + facet) * FACET_TYPES;
      return draw(FACET_TYPES, FACET_WORDS, `facet words/${facet}`).map((i) => first + i);
    }),
    draw(backgroundWords, BACKGROUND_WORDS, 'background words').map((i) => firstOfBackground + i),
  ];
}

/** Some words of each group. */
const queryWords = (document: number, groups: readonly number[][], seed: number): number[] =>
  groups.flatMap((group, i) => {
    const order = permutation(rngKey(seed, document, `query/${i}`), group.length);
    return Array.from(order.subarray(0, QUERY_WORDS), (at) => group[at]!);
  });
