import { afterEach, describe, expect, it } from 'vitest';
import type { Method } from '../../src/methods/contract/method.ts';
import { gradCache } from '../../src/methods/grad-cache.ts';
import { inBatch } from '../../src/methods/in-batch.ts';
import { momentumQueue } from '../../src/methods/momentum-queue.ts';
import { elementCount } from '../../src/onnx/dtypes.ts';
import { deviceTraffic, keptTensor } from '../../src/runtime/device-memory.ts';
import type { Device } from '../../src/runtime/devices.ts';
import { float32, type HostTensor } from '../../src/runtime/host-tensor.ts';
import { largestDifference, smallRetriever, TEXTS } from '../small-models.ts';
import { type ToyOptions, ToyRun } from '../toy-training.ts';

const STEPS = 3;

const bytesOf = ({ dims }: HostTensor) => 4 * elementCount(dims);

const runs: ToyRun[] = [];
afterEach(async () => {
  for (const run of runs.splice(0)) await run.dispose();
});

async function begin(device: Device, method: Method, options: ToyOptions): Promise<ToyRun> {
  const run = await ToyRun.begin(method, { ...options, device });
  runs.push(run);
  return run;
}

/** Transformer large enough for weights that are kept on the device. */
const TRANSFORMER: ToyOptions = {
  model: { kind: 'transformer', hidden: 96, layers: 1, heads: 2, intermediate: 192 },
  learningRate: 1e-3,
};
const LEARNED = { initial: 0.1, learned: true };
const STATIC: ToyOptions = { model: { kind: 'static', hidden: 64 } };

describe('training on WebGPU', () => {
  it.each<[string, Method, ToyOptions]>([
    [
      'transformer, dropout, gradients of two batches',
      inBatch,
      { ...TRANSFORMER, accumulate: 2, dropoutRatio: 0.1 },
    ],
    ['transformer, gradient cache', gradCache, TRANSFORMER],
    ['static encoder, accumulated', inBatch, { ...STATIC, accumulate: 2, temperature: LEARNED }],
    ['static encoder, momentum queue', momentumQueue, STATIC],
  ])('%s: the losses and gradient norms of the CPU', async (_, method, options) => {
    const [cpu, gpu] = [await begin('cpu', method, options), await begin('webgpu', method, options)];
    const [expected, found] = [await cpu.train(STEPS), await gpu.train(STEPS)];
    for (const [step, { trainingLoss, gradientNorm }] of expected.entries()) {
      expect(found[step]!.trainingLoss / trainingLoss, `loss of step ${step + 1}`).toBeCloseTo(1, 4);
      expect(found[step]!.gradientNorm / gradientNorm, `gradient norm of step ${step + 1}`).toBeCloseTo(1, 3);
    }
    expect(expected.at(-1)!.trainingLoss).not.toBe(expected[0]!.trainingLoss);
    for (const [name, tensor] of Object.entries(cpu.context.weights)) {
      const other = float32(gpu.context.weights[name]);
      const largest = float32(tensor).reduce(
        (max, value, i) => Math.max(max, Math.abs(value - other[i]!)),
        0,
      );
      // Adam moves a weight by the learning rate, whatever the size of its gradient. If the gradient is only
      // rounding error, its sign is arbitrary.
      expect(largest, name).toBeLessThan(2.1 * STEPS * (options.learningRate ?? 0.01));
    }
  });

  it('keeps long weights, their state and gradients on the device, and copies only batches and short ones', async () => {
    const run = await begin('webgpu', inBatch, TRANSFORMER);
    const long = Object.entries(run.context.weights).filter(([, { dims }]) => elementCount(dims) > 4096);
    expect(long.length).toBeGreaterThan(2);
    for (const [name, tensor] of long) expect(keptTensor(tensor), name).toBeDefined();
    const batch = run.batches.batch(0);
    const step = async () => {
      const { gradients } = await run.running.step(batch, 0);
      await run.learner.apply(gradients, { learningRate: 0.01, weightDecay: 0, maxGradientNorm: 1 });
    };
    await step();
    const before = { ...deviceTraffic };
    await step();
    const weightBytes = Object.values(run.context.weights).reduce((sum, w) => sum + bytesOf(w), 0);
    const longBytes = long.reduce((sum, [, w]) => sum + bytesOf(w), 0);
    expect(longBytes / weightBytes).toBeGreaterThan(0.8);
    // Neither weights, nor gradients, nor the tensors of the optimizer are transferred.
    expect(deviceTraffic.upBytes - before.upBytes).toBeLessThan(weightBytes / 3);
    expect(deviceTraffic.downBytes - before.downBytes).toBeLessThan(weightBytes / 3);
  });

  it('copies the long weights once for all passes of an encoder', async () => {
    const retriever = smallRetriever({ kind: 'transformer', hidden: 96, intermediate: 192 });
    const cpu = await retriever.encode('document', TEXTS);
    const before = deviceTraffic.upBytes;
    const first = await retriever.encode('document', TEXTS, { device: 'webgpu' });
    const [once, again] = [
      deviceTraffic.upBytes - before,
      await retriever.encode('document', TEXTS, { device: 'webgpu' }),
    ];
    expect(deviceTraffic.upBytes - before - once).toBeLessThan(once / 3);
    expect(largestDifference(first, cpu)).toBeLessThan(1e-5);
    expect(again).toEqual(first);
    await retriever.dispose();
  });

  it('goes on from a checkpoint to the same bytes', async () => {
    const options = { ...TRANSFORMER, dropoutRatio: 0.1 };
    const whole = await begin('webgpu', inBatch, options);
    await whole.train(2);
    const folder = await whole.save();
    await whole.train(2);
    const resumed = await ToyRun.resume(inBatch, { ...options, device: 'webgpu' }, folder);
    runs.push(resumed);
    await resumed.train(2);
    const [expected, found] = [whole.bytes(), resumed.bytes()];
    expect(Object.keys(expected).filter((name) => expected[name] !== found[name])).toEqual([]);
  });

  it('does not let values be read that only the device has', async () => {
    const run = await begin('webgpu', inBatch, TRANSFORMER);
    await run.train(1);
    const [name, tensor] = Object.entries(run.context.weights).find(([, weight]) => keptTensor(weight))!;
    const before = float32(tensor).slice();
    const batch = run.batches.batch(1);
    const { gradients } = await run.running.step(batch, 1);
    await run.learner.apply(gradients, { learningRate: 0.01, weightDecay: 0, maxGradientNorm: 0 });
    expect(() => tensor.data, name).toThrow(/latest values of this tensor are on webgpu/);
    await run.learner.bringToHost();
    expect(float32(tensor)).not.toEqual(before);
    // A write to the host tensor has to reach the device.
    float32(tensor).fill(0);
    const { gradientNorm } = (await run.train(1))[0]!;
    expect(Number.isFinite(gradientNorm)).toBe(true);
  });
});
