import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  below,
  type Case,
  type CaseFolder,
  type Check,
  holds,
  near,
  refused,
  said,
  same,
} from './harness.ts';

/** Cases of data sets, mining, training, evaluation and BM25; the right values are those of their READMEs. */
export const DATA_CASES: readonly Case[] = [
  { folder: 'data/bm25-cjk', run: scriptsWithoutSpaces },
  {
    folder: 'data/bm25-marks-and-forms',
    run: async (at) => [
      ...(await bm25(at, '{hi}', ['ndcg@10', 'success@1'], [1, 1])),
      ...(await bm25(at, '{norm}', ['ndcg@10', 'recall@10'], [1, 1])),
    ],
  },
  { folder: 'data/bm25-mines-copies-of-the-positive', run: copies },
  { folder: 'data/cache-advice', run: cacheAdvice },
  { folder: 'data/dangling-qrels', run: danglingQrels },
  { folder: 'data/label-column', run: labels },
  { folder: 'data/last-step-has-rate-zero', run: lastStep },
  { folder: 'data/metric-depends-on-depth', run: depth },
  { folder: 'data/own-text-is-negative', run: ownText },
  { folder: 'data/same-question-two-ids', run: sameQuestion },
  { folder: 'data/stale-embeddings', run: staleVectors },
  { folder: 'data/teacher-scores-first-row-wins', run: teacherScores },
];

/** Evaluates BM25; one check for each metric. */
async function bm25(at: CaseFolder, data: string, metrics: readonly string[], right: readonly number[]) {
  const { json } = await at.succeed(`eval --model bm25 --data ${data} --metrics ${metrics.join(',')}`);
  return metrics.map((metric, i) => near(`${data} ${metric}`, json.metrics[metric], right[i]!));
}

const firstId = (json: { results?: { id: string }[]; hits?: { id: string }[] }): unknown =>
  (json.results ?? json.hits)?.[0]?.id;

/** Checks that a command succeeds. */
const succeeds = (what: string, ended: Parameters<typeof said>[0]): Check =>
  holds(what, ended.code === 0, ended.code === 0 ? 'succeeds' : said(ended), 'succeeds');

async function scriptsWithoutSpaces(at: CaseFolder): Promise<Check[]> {
  const metrics = ['ndcg@10', 'recall@10'];
  return [
    ...(await bm25(at, '{zh}', metrics, [1, 1])),
    ...(await bm25(at, '{ja}', metrics, [1, 1])),
    same(
      'search, first',
      firstId((await at.undrift('search --model bm25 --data {zh} 机器学习')).json),
      'zh1',
    ),
    succeeds('mine', await at.undrift('mine --data {zhpairs} --model bm25 --negatives 2 --out m.jsonl')),
    succeeds(
      'train',
      await at.undrift(
        'train --data {zhpairs} --method bm25-negatives --batch-size 16 --steps 2 --eval-split none --out r',
      ),
    ),
  ];
}

async function copies(at: CaseFolder): Promise<Check[]> {
  await at.succeed('mine --data {neardup} --model bm25 --negatives 7 --out m.jsonl');
  const found = at.lines('m.jsonl').flatMap(({ negative, negatives }) => negative ?? negatives);
  const cities = found.map((text: string) => /Lyon|Berlin/.exec(text)?.[0] ?? text).sort();
  return [same('negatives', cities, ['Berlin', 'Lyon'])];
}

async function cacheAdvice(at: CaseFolder): Promise<Check[]> {
  const checks = [];
  for (const method of ['negative-cache', 'momentum-queue', 'in-batch', 'grad-cache', 'exhaustive']) {
    const ended = await at.undrift(
      `train --data {intent} --method ${method} --batch-size 16 --steps 3 --eval-split none --out ${method}`,
    );
    const helps = ended.code === 0 || /batch-size [1-8]\b/.test(said(ended));
    checks.push(holds(method, helps, said(ended), 'trains, or advises --batch-size 8 or less'));
  }
  return checks;
}

async function danglingQrels(at: CaseFolder): Promise<Check[]> {
  const metrics = ['ndcg@10', 'recall@10', 'map'];
  return [
    ...(await bm25(at, '{dangling}', metrics, [0.333333, 0.666667, 0.222222])),
    ...(await bm25(at, '{dangling} --drop-same-id', metrics, [0.42062, 0.666667, 0.333333])),
    succeeds('data stats', await at.undrift('data stats {dangling}')),
    succeeds(
      'train without that split',
      await at.undrift('train --data {trdang} --out r --batch-size 2 --steps 2 --eval-split none'),
    ),
  ];
}

async function labels(at: CaseFolder): Promise<Check[]> {
  const relevant = (json: { splits?: Record<string, { relevant: number }> }) =>
    Object.values(json.splits ?? {}).reduce((sum, split) => sum + split.relevant, 0);
  const plain = await at.undrift('data stats {labelled.jsonl}');
  const other = await at.undrift('data stats {tb.jsonl}');
  return [
    same('labelled.jsonl, relevant in all splits', relevant(plain.json), 96),
    same('labelled.jsonl, negatives of a query', plain.json.training?.negativesPerQuery, 1),
    other.code === 0
      ? same('tb.jsonl, relevant in all splits', relevant(other.json), 1)
      : refused('tb.jsonl', other, /relevance|score/),
  ];
}

/** Rates of the first steps as shares of the maximum, as transformers' schedules without warm-up have them. */
const SCHEDULES: Readonly<Record<string, readonly (readonly number[])[]>> = {
  linear: [[1], [1, 0.5], [1, 2 / 3, 1 / 3]],
  cosine: [[1], [1, 0.5], [1, 0.75, 0.25]],
};

async function lastStep(at: CaseFolder): Promise<Check[]> {
  await at.succeed('train --data {split} --batch-size 16 --out base --epochs 8');
  const weights = (run: string) => readFileSync(join(at.out(run), 'model/model.safetensors'));
  const train = async (out: string, options: string) => {
    await at.succeed(`train --model base --out ${out} --eval-split none ${options}`);
    const events = at.lines(`${out}/metrics.jsonl`).filter(({ kind }) => kind === 'train');
    // Not every step is logged, and the last one may be twice.
    const rates = new Map(events.map(({ step, learningRate }) => [step as number, learningRate as number]));
    return { moved: !weights('base').equals(weights(out)), rates };
  };
  const checks: Check[] = [];
  for (const [schedule, all] of Object.entries(SCHEDULES)) {
    for (const expected of all) {
      const steps = expected.length;
      const what = `${schedule}, ${steps} steps`;
      const { moved, rates } = await train(
        `${schedule}-${steps}`,
        `--data {split} --batch-size 16 --steps ${steps} --schedule ${schedule} --lr 0.01`,
      );
      checks.push(same(`${what}: weights moved`, moved, true));
      const shares = [...rates].map(([step, rate]) => ({ step, share: rate / 0.01 }));
      const ok =
        rates.has(1) &&
        rates.has(steps) &&
        shares.every(({ step, share }) => Math.abs(share - expected[step - 1]!) < 1e-6);
      const text = shares.map(({ step, share }) => `${step}: ${share.toFixed(3)}`).join(' ');
      const wanted = expected.map((share, i) => `${i + 1}: ${share.toFixed(3)}`).join(' ');
      checks.push(holds(`${what}: rates`, ok, text, wanted));
    }
  }
  const one = await train('t40', '--data {tiny40.jsonl} --epochs 1');
  checks.push(same('one epoch of 40 pairs: weights moved', one.moved, true));
  const four = await train('four', '--data {split} --batch-size 16 --epochs 1 --accumulate 4');
  checks.push(
    same('accumulate 4: last step, moved', [Math.max(...four.rates.keys()), four.moved], [1, true]),
  );
  return checks;
}

async function depth(at: CaseFolder): Promise<Check[]> {
  const checks: Check[] = [];
  const ndcg = async (options: string): Promise<number> =>
    (await at.succeed(`eval ${options}`)).json.metrics['ndcg@10'];
  for (const options of [
    '--metrics ndcg@10,mrr@10,recall@10 --top-k 10',
    '--metrics ndcg@10,mrr@10,recall@10 --top-k 100',
    '--metrics ndcg@10,mrr@10,recall@10 --top-k 1000',
    '--metrics ndcg@10',
    '--metrics ndcg@10,recall@1000',
  ]) {
    const found = await ndcg(`--model bm25 --data {ties} ${options}`);
    checks.push(near(`ties, ${options}`, found, 0.806574));
  }
  await at.succeed('train --data {faq} --out r --batch-size 8 --steps 80 --eval-every 40');
  const inTraining = at.lines('r/metrics.jsonl').findLast(({ kind }) => kind === 'eval')['ndcg@10'];
  const faq = (model: string, k: number) =>
    ndcg(`--model ${model} --data {faq} --split dev --metrics ndcg@10,mrr@10 --top-k ${k}`);
  for (const k of [10, 100, 1000]) {
    checks.push(near(`faq, top ${k}, against the evaluation in training`, await faq('r', k), inTraining));
  }
  checks.push(near('faq, BM25, top 10 against top 1000', await faq('bm25', 10), await faq('bm25', 1000)));
  return checks;
}

/** Options of runs that go on until the loss does not fall any more. */
const LONG = '--steps 300 --schedule constant --threads 1';

async function ownText(at: CaseFolder): Promise<Check[]> {
  const checks: Check[] = [];
  for (const [data, count] of [
    ['quora', 2],
    ['selfid', 1],
  ] as const) {
    await at.succeed(`mine --data {${data}} --model bm25 --negatives ${count} --out ${data}.jsonl`);
    const own = at
      .lines(`${data}.jsonl`)
      .filter((row) => [row.negative ?? row.negatives ?? []].flat().includes(row.query ?? row.anchor));
    checks.push(same(`${data}: queries whose own text is a negative`, own.length, 0));
  }
  for (const options of [
    '--data {plain8} --batch-size 4',
    '--data {mirror8} --batch-size 8',
    '--data {mirror8} --batch-size 8 --method grad-cache',
    '--data {selfid} --batch-size 6 --method bm25-negatives --rank-to 1',
    '--data {selfid} --batch-size 6 --method bm25-negatives',
    '--data {selfid} --batch-size 6 --method momentum-queue',
  ]) {
    checks.push(below(`${options}: loss`, await at.finalLoss(`${options} ${LONG}`), 0.01));
  }
  return checks;
}

async function sameQuestion(at: CaseFolder): Promise<Check[]> {
  const checks: Check[] = [];
  for (const method of ['in-batch', 'grad-cache', 'momentum-queue', 'bm25-negatives', 'snapshot']) {
    const loss = await at.finalLoss(`--data {dupq} --method ${method} --batch-size 8 ${LONG}`);
    checks.push(below(`dupq, ${method}: loss`, loss, 0.01));
  }
  return [...checks, below('oneq: loss', await at.finalLoss(`--data {oneq} --batch-size 4 ${LONG}`), 0.01)];
}

async function staleVectors(at: CaseFolder): Promise<Check[]> {
  for (const [run, seed] of [
    ['base', 0],
    ['base2', 9],
  ] as const) {
    await at.succeed(`train --data {split} --out ${run} --batch-size 16 --epochs 8 --seed ${seed}`);
  }
  await at.succeed('encode --model base --data {plain} --out emb.npy');
  const search = (model: string, data: string) =>
    at.undrift(`search --model ${model} --data ${data} --embeddings emb.npy --top-k 1 apples on trees`);
  const checks = [same('as they were made: first', firstId((await search('base', '{plain}')).json), 'd0')];
  for (const [what, model, data] of [
    ['reordered corpus', 'base', '{shuf}'],
    ['another model', 'base2', '{plain}'],
  ] as const) {
    const ended = await search(model, data);
    const isRight = ended.code === 0;
    checks.push(
      isRight ? same(`${what}: first`, firstId(ended.json), 'd0') : refused(what, ended, /emb\.npy/),
    );
  }
  return checks;
}

async function teacherScores(at: CaseFolder): Promise<Check[]> {
  const distil = async (name: string) => {
    const ended = await at.undrift(
      `train --data {${name}.jsonl} --out ${name} --method distill --negatives 1 --temperature 1 --batch-size 16 --steps 2 --eval-split none`,
    );
    const events = ended.code === 0 ? at.lines(`${name}/metrics.jsonl`) : [];
    return { ended, loss: events.find(({ kind }) => kind === 'train')?.trainingLoss as number | undefined };
  };
  const right = (await distil('sc-a')).loss!;
  const checks: Check[] = [];
  for (const name of ['sc-none-a', 'sc-a-none']) {
    const { ended, loss } = await distil(name);
    checks.push(
      loss === undefined
        ? holds(name, false, said(ended), `the first loss of sc-a, ${right}`)
        : near(`${name}: first loss`, loss, right, 1e-3),
    );
  }
  for (const name of ['sc-ab', 'sc-ba']) {
    const { ended } = await distil(name);
    const isNamed = /scores? .*(differ|conflict|two|other)/i.test(`${said(ended)} ${ended.stderr}`);
    checks.push(holds(`${name}: conflict`, isNamed, said(ended), 'two scores of a pair are named'));
  }
  return checks;
}
