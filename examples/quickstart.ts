/** `npm run quickstart`: a dense retriever, trained from scratch on the documentation of installed packages, against BM25. */
import {
  buildApiDocs,
  evaluateBm25,
  evaluateRetriever,
  InterruptedError,
  loadData,
  loadRetriever,
  trainRetriever,
} from 'undrift';

const DATA = 'quickstart-data';
const RUN = 'runs/quickstart';
const METRICS = ['ndcg@10', 'mrr@10', 'recall@10'];

// Query: the description of a declaration. Document: the declaration itself, without its comment.
const { documents, queries, splits } = await buildApiDocs({ out: DATA });
console.log(`${documents} documents: declarations of TypeScript and Node`);
console.log(`${queries} queries: their descriptions, ${splits.test.queries} of them to test with\n`);
const data = await loadData(DATA);
const bm25 = await evaluateBm25(data, 'test', { metrics: METRICS });

const interrupt = new AbortController();
process.once('SIGINT', () => interrupt.abort());
const clear = process.stdout.isTTY ? '\r\x1b[K' : '';
const run = await trainRetriever(
  { data: DATA, out: RUN, model: 'static', overwrite: true },
  {
    signal: interrupt.signal,
    onStep: ({ step, totalSteps, trainingLoss }) => {
      if (clear)
        process.stdout.write(`${clear}step ${step} of ${totalSteps}: loss ${trainingLoss.toFixed(3)}`);
    },
    onEvaluation: ({ step, metrics }) =>
      console.log(`${clear}step ${step}: nDCG@10 ${metrics['ndcg@10']!.toFixed(3)} on the dev split`),
  },
).catch((error: Error) => {
  if (!(error instanceof InterruptedError)) throw error;
  console.error(`\n${error.message}`);
  process.exit(130);
});

const retriever = await loadRetriever(run.model);
const trained = await evaluateRetriever(retriever, data, 'test', { metrics: METRICS });
const row = (cells: string[]) => console.log(cells.map((cell) => cell.padEnd(12)).join(''));
const cells = (of: typeof bm25) => METRICS.map((name) => of.metrics[name]!.toFixed(3));
console.log();
row(['test split', ...METRICS]);
row(['BM25', ...cells(bm25)]);
row(['trained', ...cells(trained)]);

const every = Math.floor(trained.queries / 5);
for (const [queryId, [best]] of [...trained.run].filter((_, i) => i % every === 0).slice(0, 5)) {
  const verdict = trained.task.qrels.get(queryId)!.has(best!.docId) ? 'right' : 'wrong';
  const found = data.corpus.text(data.corpus.row(best!.docId)!).replace(/\s+/g, ' ').slice(0, 120);
  console.log(`\n"${data.queries.text(data.queries.row(queryId)!).slice(0, 120)}"\n  ${verdict}: ${found}`);
}
console.log(`\n${(performance.now() / 1000).toFixed(0)} seconds. Search with the model in ${run.model}:`);
console.log(`  npx undrift search --model ${RUN} --data ${DATA} "compress data with gzip"`);
