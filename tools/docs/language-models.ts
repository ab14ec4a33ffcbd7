/** @file Makes the table of methods of docs/language-models.md, with figures from bench/results/rlm/. */
import { mean } from '../../bench/rlm/results.ts';
import { taxonomy } from '../../src/rlm/taxonomy.ts';
import { type MadePage, markdownTable, readResult } from './page.ts';
import { resultsOf } from './token-experiments.ts';

interface KnnFile {
  readonly rows: Readonly<Record<string, { readonly perplexity: number }>>;
}
interface PassageFile {
  readonly means: { readonly natsPerAnswer: number };
}

const NOT_MEASURED = 'not measured yet';
const SEVERAL = '[experiments.md](experiments.md)';

const knn = (name: string): string => {
  const { rows } = readResult<KnnFile>(`rlm/knn-lm-${name}-full.json`);
  return `${rows.none!.perplexity.toFixed(2)} → ${rows.both!.perplexity.toFixed(2)}`;
};
const nats = (task: string, arm: string): string =>
  readResult<PassageFile>(`rlm/in-context-${task}-${arm}.json`).means.natsPerAnswer.toFixed(2);
const squad = (arm: string): string =>
  `nats an answer, squad: ${nats('squad', 'none')} → ${nats('squad', arm)}`;

/** Mean over three seeds of nats an answer. */
const meanNats = (arm: string): string =>
  mean(
    [1, 2, 3].map((seed) => readResult<PassageFile>(`rlm/${arm}-${seed}.json`).means.natsPerAnswer),
  ).toFixed(2);
const facts = (system: string, arm: string): string => meanNats(`facts-${system}-${arm}`);
/** Nats an answer about stories, by a retriever that is frozen and by one that learns from answers. */
const stories = (arm: string): string => {
  const [before, after] = ['frozen', arm].map((each) => meanNats(`joint-fairytaleqa-${each}`));
  return `fairytaleqa: ${before} (MiniLM frozen) → ${after}`;
};
const jointFacts = (system: string, arm: string): string =>
  `nats an answer, made-up facts: ${facts(system, 'frozen')} (retriever frozen) → ${facts(system, arm)}; never refreshed ` +
  `${facts(system, 'never')}, with a corrector ${facts(system, 'corrector')}`;

/** Mean perplexity over the seeds of an arm. */
const tokenPerplexity = (arm: string): string =>
  mean(resultsOf<{ readonly perplexity: number }>(arm).map(({ perplexity }) => perplexity)).toFixed(1);
const trime = (arm: string): string => tokenPerplexity(`trime-${arm}`);

/** Figures of a method by its name. */
const FIGURES: Readonly<Record<string, () => string>> = {
  'BM25, TF-IDF': () => SEVERAL,
  DPR: () => SEVERAL,
  Contriever: () => SEVERAL,
  'kNN-LM': () =>
    `perplexity, wikipedia: ${knn('wikipedia')}; medquad: ${knn('medquad')}; api-docs: ${knn('api-docs')}`,
  'in-context RALM': () => `${squad('bm25')} (BM25), ${nats('squad', 'rerank')} (reranked)`,
  REPLUG: () => `${squad('replug')} (MiniLM, 4 passages)`,
  RETRO: () => {
    const { readings } = readResult<{
      readings: Record<string, { perplexities: readonly number[] }>;
    }>('rlm/retro-summary.json');
    const perplexity = (reading: string) => mean(readings[reading]!.perplexities).toFixed(1);
    return `perplexity, medquad: ${perplexity('off')} → ${perplexity('true')} (shuffled neighbours ${perplexity('shuffled')})`;
  },
  'REPLUG LSR': () => `nats an answer, ${stories('lsr')}`,
  REALM: () => `${jointFacts('realm', 'joint')}; ${stories('joint')}`,
  TRIME: () =>
    `perplexity, wikipedia: ${trime('more-knn-cache')} (kNN-LM and cache) → ${trime('external-outside')}; a model trained on next tokens, read as TRIME ` +
    `${trime('more-outside')}`,
  NPM: () => {
    const [before, after] = ['npm-base-phrases-0', 'npm-same-document-phrases-1'].map((name) =>
      (100 * readResult<{ readonly exactMatch: number }>(`rlm/${name}.json`).exactMatch).toFixed(1),
    );
    return `masked phrases found, wikipedia: ${before} % (MiniLM) → ${after} %`;
  },
  RPT: () => {
    const [random, semantic, oracle] = ['random', 'semantic', 'oracle'].map((arm) =>
      tokenPerplexity(`rpt-${arm}`),
    );
    return `perplexity, wikipedia: ${semantic} (random chunks ${random}, best chunks by grade ${oracle})`;
  },
  Atlas: () => `${jointFacts('atlas', 'emdr2')}; ${stories('atlas')}`,
};

/** Makes the generated parts of docs/language-models.md. */
export function languageModelsPage(): MadePage {
  const code = (command: string | undefined) => (command ? `\`undrift ${command}\`` : '');
  const table = markdownTable(
    ['order of training', 'method', 'trained', 'index meanwhile', 'commands', 'figures'],
    taxonomy.map(({ order, name, paper, trained, index, train, use }) => [
      order,
      `${name} (${paper})`,
      trained,
      index,
      [code(train), code(use)].filter((text) => text !== '').join('<br>'),
      FIGURES[name]?.() ?? NOT_MEASURED,
    ]),
  );
  return { page: 'docs/language-models.md', blocks: { taxonomy: table } };
}
