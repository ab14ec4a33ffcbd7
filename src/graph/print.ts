import type { Graph } from './graph.ts';

/**
 * Formats a graph as text, one value per line:
 *
 *     input  x f32[batch, 4]
 *     matmul f32[batch, 2] = MatMul(x, w) {transB: true}
 *     output loss = mean
 */
export function printGraph(graph: Graph): string {
  const lines = graph.inputs.map((tensor) => `input ${tensor}`);
  for (const node of graph.nodes) {
    const results = node.outputs.join(', ');
    const attributes = Object.entries(node.attributes).filter(([, value]) => value !== false);
    const suffix = attributes.length
      ? ` {${attributes.map(([key, value]) => `${key}: ${JSON.stringify(value)}`).join(', ')}}`
      : '';
    lines.push(`${results} = ${node.op}(${node.inputs.map((t) => t.name).join(', ')})${suffix}`);
  }
  for (const [name, tensor] of graph.outputs) lines.push(`output ${name} = ${tensor.name}`);
  return `${lines.join('\n')}\n`;
}
