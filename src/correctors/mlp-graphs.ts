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
import { outputGradients } from '../runtime/gradients.ts';
import type { CorrectorPlan } from './corrector-options.ts';

/**
 * Scale of the last product, divided by H √D'.
 *
 * Adam moves all weights by similar amounts, and the sum of H such moves would throw a vector of unit norm
 * across the sphere in one step. With 64 and a learning rate of 3e-3, the network follows an encoder that
 * turns by radians within a few hundred steps. With 4 or 16 it lags behind, without a gain when the encoder
 * drifts little.
 */
const OUTPUT_SCALE = 64;

/**
 * Lists the learned weights of the residual network. The skip between different dimensions is not among them,
 * because it is not learned.
 */
export function mlpParameters(plan: CorrectorPlan): ParameterSpec[] {
  const { dimension, toDimension, hidden, depth, ages } = plan;
  const normal = (deviation: number) => ({ kind: 'normal', deviation }) as const;
  const specs: ParameterSpec[] = [];
  for (let i = 0; i < depth; i++) {
    const inputs = i === 0 ? dimension : hidden;
    const [weight, bias] = linearParameters(`layer.${i}`, inputs, hidden) as [ParameterSpec, ParameterSpec];
    // With these deviations the sums are about 1, for inputs of unit norm and then for H inputs of about 1/√2
    // each, where a gelu is half bent. Biases matter: without them the only odd part of a gelu is its linear
    // one.
    specs.push({ ...weight, init: normal(i === 0 ? 1 : Math.sqrt(2 / hidden)) });
    specs.push({ ...bias, init: normal(i === 0 ? 0.5 : 0.1) });
  }
  if (ages !== undefined) specs.push({ name: 'age.weight', shape: [hidden], init: normal(1), decay: false });
  const zero = { kind: 'constant', value: 0 } as const;
  const [weight] = linearParameters('out', hidden, toDimension) as [ParameterSpec];
  // There is no output bias: the hidden biases already provide terms that do not depend on b, and a pass over
  // all rows is saved.
  return [...specs, { ...weight, init: zero }];
}

/** Shapes of the skip from D to D' numbers: W [D', D] and c [D']. Empty if D = D'. */
export const skipSizes = ({ dimension, toDimension }: CorrectorPlan): Record<string, number[]> =>
  dimension === toDimension ? {} : { 'skip.weight': [toDimension, dimension], 'skip.bias': [toDimension] };

/**
 * Builds the residual network  m(b) = S b + a·r(b, a),  before normalisation. With one hidden layer:
 *
 *     r(b, a) = s V gelu(W b + w + u a)        s = 64/(H √D')
 *     a = log(1 + age)/log(1 + ages)           1, and u absent, if ages are not used
 *
 * S is the identity, or a fixed affine map between models of different dimension. V is 0 at first.
 *
 * @param inputs.rows  f32[rows, D]
 * @param inputs.ages  i32[rows]
 * @param inputs.skip  parts of S if D ≠ D'
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

/** Scales ages logarithmically, f32[rows, 1]: 0 for a fresh row, 1 for a row as old as the run. */
function logAge(ages: Tensor, total: number): Tensor {
  const passed = log(add(maximum(cast(unsqueeze(ages, 1), 'f32'), 0), 1));
  return mul(passed, 1 / Math.log(1 + total));
}

/**
 * Builds the loss of pairs and its gradients:
 *
 *     regression = mean ‖h(b) − fresh‖²        kl = mean over q of KL(softmax(q·fresh) ‖ softmax(q·h(b)))
 *
 * Fresh embeddings and queries are inputs and get no gradient.
 */
export function lossGraph(plan: CorrectorPlan, { hasQueries }: { hasQueries: boolean }): Graph {
  const { dimension, toDimension, loss, klWeight, ages } = plan;
  const graph = new Graph(`corrector/mlp-loss${hasQueries ? '-queries' : ''}`);
  const p = declareParameters(graph, mlpParameters(plan));
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
  outputGradients(total!, {}, p.targets);
  return graph;
}

/** Declares the parts of the skip as inputs of a graph. */
export const declareSkip = (graph: Graph, plan: CorrectorPlan): Record<string, Tensor> =>
  Object.fromEntries(
    Object.entries(skipSizes(plan)).map(([name, dims]) => [name, graph.input(name, 'f32', dims)]),
  );
