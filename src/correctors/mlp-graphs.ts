import { backward } from '../grad/backward.ts';
import { Graph } from '../graph/graph.ts';
import {
  add,
  cast,
  exp,
  gelu,
  log,
  logSoftmax,
  matmul,
  maximum,
  mean,
  mul,
  square,
  sub,
  sum,
  unsqueeze,
} from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { linear, normalize } from '../nn/layers.ts';
import {
  declareParameters,
  linearParameters,
  type ParameterSpec,
  type Parameters,
} from '../nn/parameters.ts';
import { gradientOutput } from '../runtime/learner.ts';
import type { CorrectorPlan } from './corrector-options.ts';

/**
 * Factor of the last product, over H √D'. Adam moves all weights alike, and the sum of H such moves would throw a vector of unit norm
 * across the sphere in a step. With 64, and 3e-3 to learn by, the network follows an encoder that turns by radians in some hundred steps;
 * with 4 or 16 it lags behind, and gains nothing in calm.
 */
const OUTPUT_SCALE = 64;

/** Weights of the residual network. What is not learned, the skip between different dimensions, is not among them. */
export function mlpParameters(plan: CorrectorPlan): ParameterSpec[] {
  const { dimension, toDimension, hidden, depth, ages } = plan;
  const normal = (deviation: number) => ({ kind: 'normal', deviation }) as const;
  const specs: ParameterSpec[] = [];
  for (let i = 0; i < depth; i++) {
    const inputs = i === 0 ? dimension : hidden;
    const [weight, bias] = linearParameters(`layer.${i}`, inputs, hidden) as [ParameterSpec, ParameterSpec];
    // Of inputs of unit norm, and then of H that are about 1/√2 each, this makes sums of about 1: half of a gelu is bent there. Without
    // biases a gelu has no odd part but the straight one.
    specs.push({ ...weight, init: normal(i === 0 ? 1 : Math.sqrt(2 / hidden)) });
    specs.push({ ...bias, init: normal(i === 0 ? 0.5 : 0.1) });
  }
  if (ages !== undefined) specs.push({ name: 'age.weight', shape: [hidden], init: normal(1), decay: false });
  const zero = { kind: 'constant', value: 0 } as const;
  const [weight] = linearParameters('out', hidden, toDimension) as [ParameterSpec];
  // No bias: what does not depend on b comes out of the hidden ones, and a pass over all rows is spared.
  return [...specs, { ...weight, init: zero }];
}

/** Skip from D to D' numbers: W [D', D] and c [D']. */
export const skipSizes = ({ dimension, toDimension }: CorrectorPlan): Record<string, number[]> =>
  dimension === toDimension ? {} : { 'skip.weight': [toDimension, dimension], 'skip.bias': [toDimension] };

/**
 * m(b) = S b + a·r(b, a),  before it is made unit length, with r of one hidden layer:
 *
 *     r(b, a) = s V gelu(W b + w + u a)        s = 64/(H √D')
 *     a = log(1 + age)/log(1 + ages)                   1, and u absent, where no ages are given
 *
 * S is the identity, or a fixed affine map between models of different dimension. V is 0 at first.
 *
 * @param rows  f32[rows, D];  @param ages  i32[rows]
 */
export function residualNetwork(
  plan: CorrectorPlan,
  p: Parameters,
  inputs: { rows: Tensor; ages?: Tensor | undefined; skip?: Record<string, Tensor> | undefined },
): Tensor {
  const { hidden, depth, toDimension, ages: total } = plan;
  const { rows, skip } = inputs;
  const age = total !== undefined && inputs.ages ? logAge(inputs.ages, total) : undefined;
  let x = rows;
  for (let i = 0; i < depth; i++) {
    let sums = linear(x, p, `layer.${i}`);
    if (i === 0 && age) sums = add(sums, mul(age, p('age.weight')));
    x = gelu(sums);
  }
  const alpha = OUTPUT_SCALE / (hidden * Math.sqrt(toDimension));
  const moved = matmul(x, p('out.weight'), { transB: true, alpha });
  const base = skip?.['skip.weight']
    ? add(matmul(rows, skip['skip.weight'], { transB: true }), skip['skip.bias']!)
    : rows;
  return add(base, age ? mul(moved, age) : moved);
}

/** f32[rows, 1]: 0 for what is fresh, 1 for what is as old as the run. */
function logAge(ages: Tensor, total: number): Tensor {
  const passed = log(add(maximum(cast(unsqueeze(ages, 1), 'f32'), 0), 1));
  return mul(passed, 1 / Math.log(1 + total));
}

/**
 * Loss of pairs and its gradients:
 *
 *     regression = mean ‖h(b) − fresh‖²        kl = mean over q of KL(softmax(q·fresh) ‖ softmax(q·h(b)))
 *
 * Neither the fresh embeddings nor the queries get a gradient: they are inputs.
 */
export function lossGraph(plan: CorrectorPlan, { hasQueries }: { hasQueries: boolean }): Graph {
  const { dimension, toDimension, loss, klWeight, ages } = plan;
  const graph = new Graph(`corrector/mlp-loss${hasQueries ? '-queries' : ''}`);
  const p = declareParameters(graph, mlpParameters(plan), (table) => table);
  const rows = graph.input('stale', 'f32', ['pairs', dimension]);
  const fresh = graph.input('fresh', 'f32', ['pairs', toDimension]);
  const corrected = normalize(
    residualNetwork(plan, p.get, {
      rows,
      ages: ages === undefined ? undefined : graph.input('ages', 'i32', ['pairs']),
      skip: declareSkip(graph, plan),
    }),
  );
  const regression = mean(sum(square(sub(corrected, fresh)), { axes: 1 }));
  graph.output('regression', regression);
  let total = loss === 'kl' ? undefined : regression;
  if (hasQueries) {
    const queries = graph.input('queries', 'f32', ['queries', toDimension]);
    const logProbability = (documents: Tensor) => logSoftmax(matmul(queries, documents, { transB: true }));
    const truth = logProbability(fresh);
    const kl = mean(sum(mul(exp(truth), sub(truth, logProbability(corrected))), { axes: 1 }));
    graph.output('kl', kl);
    const weighted = mul(kl, loss === 'kl' ? 1 : klWeight);
    total = total ? add(total, weighted) : weighted;
  }
  const gradients = backward(total!, [...p.targets.values()]);
  for (const [i, name] of [...p.targets.keys()].entries()) graph.output(gradientOutput(name), gradients[i]!);
  return graph;
}

export const declareSkip = (graph: Graph, plan: CorrectorPlan): Record<string, Tensor> =>
  Object.fromEntries(
    Object.entries(skipSizes(plan)).map(([name, dims]) => [name, graph.input(name, 'f32', dims)]),
  );
