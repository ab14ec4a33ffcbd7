/**
 * A loss of your own: decoupled contrastive learning (Yeh et al., ECCV 2022), whose denominator leaves out the positive.
 *
 *   L = (1/B) Σ_i [ log Σ_{j ∈ negatives(i)} exp(s_ij) − s_ii ]
 *
 * `npx tsx own-loss.ts DATA RUN` trains with it and compares it with the in-batch softmax.
 */
import { batchMethod, evaluateRetriever, loadData, loadRetriever, ops, trainRetriever } from 'undrift';

const decoupled = batchMethod({
  id: 'decoupled',
  summary: 'contrastive loss whose denominator has the negatives alone',
  paper: {
    title: 'Decoupled Contrastive Learning',
    year: 2022,
    url: 'https://arxiv.org/abs/2110.06848',
  },
  // s_ij = q_i·d_j / τ. Known right answers are no negatives, and gradients reach both encoders.
  loss({ scores, positives, negatives }) {
    const others = ops.where(negatives, scores, -1e30);
    const hardest = ops.max(others, { axes: 1 });
    const loss = ops.sub(ops.logSumExp(others, { axes: 1 }), positives);
    // A query without negatives has nothing to be compared with.
    const counted = ops.where(ops.greater(hardest, -1e29), loss, 0);
    return { trainingLoss: ops.mean(counted), metrics: { hardest: ops.mean(hardest) } };
  },
});

const [DATA = 'data/api-docs', RUN = 'runs/own-loss'] = process.argv.slice(2);
const data = await loadData(DATA);
for (const method of ['in-batch', decoupled]) {
  const out = `${RUN}-${typeof method === 'string' ? method : method.id}`;
  const run = await trainRetriever({ data: DATA, out, method, epochs: 2, overwrite: true });
  const retriever = await loadRetriever(run.model);
  const { metrics } = await evaluateRetriever(retriever, data, 'dev', { metrics: ['ndcg@10'] });
  console.log(`${run.settings.method.padEnd(12)} nDCG@10 ${metrics['ndcg@10']!.toFixed(3)}`);
  await retriever.dispose();
}
