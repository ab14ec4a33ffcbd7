import { Graph } from '../graph/graph.ts';
import {
  add,
  concat,
  expand,
  fill,
  gather,
  matmul,
  mul,
  scatter,
  scatterAdd,
  square,
  stopGradient,
  sum,
  unsqueeze,
} from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import type { Optimizer } from '../optim/optimizer.ts';

/** @file Graphs that update parameters, add up gradients and compute their norms. */

/** Graphs of a `ParameterUpdate` for tensors in this process's memory. */
export const UPDATE_GRAPHS = {
  dense: denseGraph,
  rows: rowsGraph,
  accumulate: accumulationGraph,
  mergeRows: mergeRowsGraph,
  squaredNorm: squaredNormGraph,
} as const;

/** Graphs of a `ParameterUpdate` for tensors that are kept on a device. */
export const DEVICE_UPDATE_GRAPHS = {
  dense: denseGraph,
  rows: rowsInTableGraph,
  accumulate: accumulationGraph,
  copy: copyGraph,
} as const;

function denseGraph(optimizer: Optimizer): Graph {
  const graph = new Graph(`${optimizer.id}/dense`);
  return update(graph, optimizer, ['n'], ['n'], (state) => state);
}

function rowsGraph(optimizer: Optimizer): Graph {
  const graph = new Graph(`${optimizer.id}/rows`);
  const rows = graph.input('rows', 'i64', ['rows']);
  return update(graph, optimizer, ['vocabulary', 'width'], ['rows', 'width'], (state) => gather(state, rows));
}

/** Like `rowsGraph`, but with whole tables as results, for tables that are written in place. */
function rowsInTableGraph(optimizer: Optimizer): Graph {
  const graph = new Graph(`${optimizer.id}/rows-in-table`);
  const rows = graph.input('rows', 'i64', ['rows']);
  const places = expand(unsqueeze(rows, 1), ['rows', 'width']);
  return update(
    graph,
    optimizer,
    ['vocabulary', 'width'],
    ['rows', 'width'],
    (state) => gather(state, rows),
    (next, state) => scatter(state, places, next),
  );
}

/**
 * Builds the graph of an update.
 *
 * @param pick selects the part of a parameter, or of its state, that is updated
 * @param put makes the result from the updated part and the whole before the update; default: the part alone
 */
function update(
  graph: Graph,
  optimizer: Optimizer,
  stateShape: string[],
  gradientShape: string[],
  pick: (state: Tensor) => Tensor,
  put: (next: Tensor, state: Tensor) => Tensor = (next) => next,
): Graph {
  const parameter = graph.input('parameter', 'f32', stateShape);
  const gradient = graph.input('gradient', 'f32', gradientShape);
  const slots = inputs(graph, optimizer.slots, stateShape);
  const scalars = inputs(graph, optimizer.scalars, []);
  const next = optimizer.update(
    {
      parameter: pick(parameter),
      gradient,
      slots: Object.fromEntries(Object.entries(slots).map(([slot, state]) => [slot, pick(state)])),
    },
    scalars,
  );
  graph.output('next/parameter', put(next.parameter, parameter));
  for (const [slot, tensor] of Object.entries(next.slots)) {
    graph.output(`next/${slot}`, put(tensor, slots[slot]!));
  }
  return graph;
}

function copyGraph(): Graph {
  const graph = new Graph('copy');
  graph.output('copy', stopGradient(graph.input('gradient', 'f32', ['n'])));
  return graph;
}

/** Σ g² of every row of several matrices, concatenated. */
export function squaredRowsGraph(gradients: readonly { readonly dims: readonly number[] }[]): Graph {
  const graph = new Graph('squared-rows');
  const squares = gradients.map(({ dims }, i) =>
    sum(square(graph.input(`gradient${i}`, 'f32', dims)), { axes: 1 }),
  );
  graph.output('squares', concat(squares, 0));
  return graph;
}

function accumulationGraph(): Graph {
  const graph = new Graph('accumulate');
  const total = graph.input('total', 'f32', ['n']);
  const weighted = mul(graph.input('gradient', 'f32', ['n']), graph.input('weight', 'f32', []));
  graph.output('next/total', add(total, weighted));
  return graph;
}

function squaredNormGraph(): Graph {
  const graph = new Graph('squared-norm');
  // Products of vectors take one pass over memory and write no intermediate.
  const rows = unsqueeze(graph.input('gradient', 'f32', ['rows', 'n']), 1);
  graph.output('squared', matmul(rows, rows, { transB: true }));
  return graph;
}

function mergeRowsGraph(): Graph {
  const graph = new Graph('merge-rows');
  graph.input('rows', 'i64', ['rows']);
  const parts = ['a', 'b'].map((name) => {
    const given = graph.input(name, 'f32', [`${name}Rows`, 'width']);
    const values = name === 'b' ? mul(given, graph.input('weight', 'f32', [])) : given;
    const places = graph.input(`places${name.toUpperCase()}`, 'i64', [`${name}Rows`]);
    return { values, places: expand(unsqueeze(places, 1), values.shape) };
  });
  const total = parts.reduce(
    (sum, { values, places }) => scatterAdd(sum, places, values, { axis: 0 }),
    fill(graph, 0, ['rows', 'width']),
  );
  graph.output('total', total);
  return graph;
}

const inputs = (graph: Graph, names: readonly string[], shape: string[]): Record<string, Tensor> =>
  Object.fromEntries(names.map((name) => [name, graph.input(name, 'f32', shape)]));
