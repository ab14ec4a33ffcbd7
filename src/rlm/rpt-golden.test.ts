import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TEST_COMPUTE } from '../../test/test-device.ts';
import { Graph } from '../graph/graph.ts';
import { logSumExp } from '../graph/ops.ts';
import { LanguageModel } from '../models/language/language-model.ts';
import { float32 } from '../runtime/host-tensor.ts';
import { Program } from '../runtime/program.ts';
import { RptModel } from './rpt.ts';
import type { RptConfig } from './rpt-config.ts';
import { allowedNeighbours, rptLayout } from './rpt-feeds.ts';
import { type ChosenNeighbours, RptSystem } from './rpt-system.ts';
import type { RptFound } from './rpt-wing.ts';
import { windowsOf } from './text-windows.ts';

/** Text and what RPT computes for it, made by tools/reference/rpt_golden.py. */
interface Golden {
  readonly config: Partial<RptConfig>;
  readonly ids: readonly number[];
  readonly chunks: readonly Readonly<Record<'allowed' | 'scores' | 'chosen' | 'gates', readonly number[]>>[];
  readonly logProbabilities: readonly number[];
}
const golden: Golden = JSON.parse(readFileSync(new URL('fixtures/rpt.json', import.meta.url), 'utf8'));
const BASE = fileURLToPath(new URL('../models/language/fixtures/causal/llama-untied', import.meta.url));
const ids = Int32Array.from(golden.ids);

/** Sets the added weights as the script does. */
function fill(rpt: RptModel): void {
  for (const { name } of rpt.wing.specs) {
    const seed = [...name].reduce((sum, letter, i) => sum + (i + 1) * letter.charCodeAt(0), 0) % 1000;
    const data = float32(rpt.weights[name]);
    for (let i = 0; i < data.length; i++) {
      const x = Math.sin(12.9898 * (i + 1) + 78.233 * (seed + 1));
      data[i] = name.endsWith('norm.weight') ? 1 + 0.3 * x : (name === 'rpt.gate.weight' ? 12 : 0.8) * x;
    }
  }
}
const expectClose = (found: ArrayLike<number>, expected: readonly number[]) => {
  expect(found).toHaveLength(expected.length);
  for (const [i, value] of expected.entries()) expect(Math.abs(found[i]! - value)).toBeLessThan(1e-5);
};

describe('RPT, against the formulas token by token', () => {
  let rpt: RptModel;
  beforeAll(async () => {
    rpt = RptModel.create(await LanguageModel.load(BASE), golden.config);
    fill(rpt);
  });
  afterAll(() => rpt.base.dispose());

  it('gives tokens their probabilities, window by window', async () => {
    const chosen: ChosenNeighbours[] = [];
    const system = new RptSystem(rpt, { onChosen: (each) => chosen.push(each) });
    const scores = await system.score([...windowsOf(ids, rpt.wing.config, 'd')], TEST_COMPUTE);
    expectClose(
      scores.flatMap((each) => [...each]),
      golden.logProbabilities,
    );
    expect(chosen.map(({ neighbours }) => [...neighbours])).toEqual(
      golden.chunks.map(({ chosen }) => chosen),
    );
    await system.dispose();
  });

  it('scores and gates chunks, all windows at once as in training', async () => {
    const { config } = rpt.wing;
    const graph = new Graph('golden');
    const { get } = rpt.declare(graph);
    const inputs = rpt.wing.inputs(graph, { learned: true, given: false, past: false });
    let found: RptFound | undefined;
    const memory = rpt.wing.memory(get, inputs, (results) => {
      found = results;
    });
    const logits = rpt.base.decoder.logits(get, inputs.tokens, { memory });
    graph.output('logits', logits);
    graph.output('sums', logSumExp(logits, { axes: 2 }));
    graph.output('scores', found!.scores!);
    graph.output('gates', found!.gates!);
    const program = await Program.compile(graph, TEST_COMPUTE);
    const windows = [...windowsOf(ids, config)];
    const layout = rptLayout([{ windows }], config);
    const outputs = await program.run({
      ...rpt.weights,
      ...layout.feeds,
      'chunks/allowed': allowedNeighbours(layout),
    });
    await program.dispose();
    const { columns } = layout;
    const [scores, gates] = [float32(outputs.scores), float32(outputs.gates)];
    for (const [i, chunk] of golden.chunks.entries()) {
      const own = chunk.allowed.map((j) => scores[i * columns + j]!);
      expectClose(own, chunk.scores);
      const K = config.neighbours;
      expectClose([...gates.subarray(i * K, i * K + chunk.gates.length)], chunk.gates);
    }
    const [, length, V] = outputs.logits!.dims as [number, number, number];
    const probabilities = windows.flatMap((window, row) =>
      Array.from({ length: window.ids.length - window.from }, (_, i) => {
        const at = row * length + window.from + i - 1;
        const logit = float32(outputs.logits)[at * V + window.ids[window.from + i]!]!;
        return logit - float32(outputs.sums)[at]!;
      }),
    );
    expectClose(probabilities, golden.logProbabilities);
  });
});
