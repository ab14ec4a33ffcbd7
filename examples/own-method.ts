/** A method of your own: cross-batch memory (arXiv:1912.06798). Documents of earlier batches are negatives without gradient. */
// npx tsx own-method.ts DATA RUN
import {
  allowedCandidates,
  ContrastiveStep,
  candidateSoftmax,
  defineObjective,
  type Method,
  optionValues,
  ScoreTable,
  trainRetriever,
} from 'undrift';

const OPTIONS = {
  memorySize: { type: 'integer', min: 1, default: 256, help: 'document embeddings kept of earlier batches' },
} as const;

const crossBatchMemory: Method = {
  id: 'cross-batch-memory',
  summary: 'in-batch negatives, and the embeddings of earlier batches',
  options: OPTIONS,
  describe: ({ options }) => [`negatives: the batch, and ${options.memorySize} documents of earlier batches`],
  async start(context) {
    const { ledger, positives, retriever, documents } = context;
    const { memorySize: rows } = optionValues(OPTIONS, context.options);
    const memory = new ScoreTable({ rows, dimension: retriever.dimension, documents: documents.rows });
    const fed = { memory: 'f32' } as const;
    const step = await ContrastiveStep.compile('cross-batch-memory', context, candidateSoftmax, { fed });
    const made: { rows: Int32Array; embeddings: Float32Array }[] = [];
    return defineObjective({
      async step({ queryRows, positiveRows, negativeRows }, draw) {
        const documentRows = Int32Array.of(...positiveRows, ...negativeRows);
        ledger.documents('positive', positiveRows.length);
        ledger.documents('negative', negativeRows.length);
        const candidates = Int32Array.of(...documentRows, ...memory.documents.subarray(0, memory.filled));
        const allowed = allowedCandidates(queryRows, candidates, { positives });
        const inputs = { allowed, memory: memory.block(0, memory.filled) };
        const result = await step.run({ queryRows, documentRows, inputs, draw });
        made.push({ rows: documentRows, embeddings: result.documentEmbeddings });
        return result;
      },
      // Called after each update: no batch of an update sees the documents of another.
      async updated() {
        for (const { rows, embeddings } of made.splice(0)) memory.insert(rows, embeddings);
        memory.tick();
        return { memoryRows: memory.filled };
      },
      state: () => memory.state(),
      restore: async (state) => memory.restore(state),
      dispose: () => step.dispose(),
    });
  },
};

const [data = 'data/api-docs', out = 'runs/own-method'] = process.argv.slice(2);
const options = { data, out, method: crossBatchMemory, methodOptions: { memorySize: 512 }, epochs: 2 };
const { best, settings } = await trainRetriever({ ...options, overwrite: true });
console.log(`${settings.method}: nDCG@10 ${best.value?.toFixed(3)} on the dev split at step ${best.step}`);
