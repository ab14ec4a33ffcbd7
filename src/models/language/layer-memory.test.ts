import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TEST_COMPUTE } from '../../../test/test-device.ts';
import { Graph } from '../../graph/graph.ts';
import { mul } from '../../graph/ops.ts';
import { float32 } from '../../runtime/host-tensor.ts';
import { Program } from '../../runtime/program.ts';
import type { LayerMemory } from '../architectures/architecture.ts';
import { wholeTableFeeds } from '../retriever/token-feeds.ts';
import { tokenInputs } from '../retriever/token-inputs.ts';
import { LanguageModel } from './language-model.ts';

const CAUSAL = fileURLToPath(new URL('fixtures/causal', import.meta.url));

describe.each(['gpt2', 'llama-untied', 'qwen3-tied'])('memory of %s', (name) => {
  let model: LanguageModel;
  beforeAll(async () => {
    model = await LanguageModel.load(join(CAUSAL, name));
  });
  afterAll(() => model.dispose());

  function graphWith(memory?: LayerMemory): Graph {
    const graph = new Graph('memory');
    const declared = model.declare(graph);
    const inputs = tokenInputs(declared, 'texts');
    graph.output('logits', model.decoder.logits(declared.get, inputs, { memory }));
    return graph;
  }

  async function logits(memory?: LayerMemory): Promise<Float32Array> {
    const program = await Program.compile(graphWith(memory), TEST_COMPUTE);
    const ids = Int32Array.from([3, 4, 5, 6, 7, 8]);
    const texts = { ids, mask: new Float32Array(6).fill(1), batch: 2, tokens: 3 };
    const { logits } = await program.run({ ...model.weights, ...wholeTableFeeds({ texts }) });
    await program.dispose();
    return float32(logits);
  }

  test('a memory that no layer reads changes no bit', async () => {
    expect(await logits({ read: () => undefined })).toEqual(await logits());
  });

  test('every layer is asked once, in order, with hidden states of its batch', () => {
    const asked: unknown[] = [];
    graphWith({
      read(layer, hidden, batch) {
        asked.push([layer, ...hidden.shape, batch]);
        return undefined;
      },
    });
    const size = model.decoder.hiddenSize;
    expect(asked).toEqual([0, 1].map((layer) => [layer, 'texts', 'textsTokens', size, 0]));
  });

  test('the residual stream gets what a layer reads, and the layers after it see it', async () => {
    const base = await logits();
    const scaled = (factor: number, only: number) => ({
      read: (layer: number, hidden: Parameters<LayerMemory['read']>[1]) =>
        layer === only ? mul(hidden, factor) : undefined,
    });
    expect(await logits(scaled(0, 0))).toEqual(base);
    const [first, last] = [await logits(scaled(2, 0)), await logits(scaled(2, 1))];
    expect(first).not.toEqual(base);
    expect(last).not.toEqual(base);
    expect(first).not.toEqual(last);
  });
});
