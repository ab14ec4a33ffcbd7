import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { UsageError } from '../util/errors.ts';
import { checkDevice, reasonIn } from './check-device.ts';
import { checkPrecision } from './check-precision.ts';

const runtime = dirname(createRequire(import.meta.url).resolve('onnxruntime-node'));
const hasCuda = existsSync(join(runtime, '../bin/napi-v6/linux/x64/libonnxruntime_providers_cuda.so'));

describe('checkDevice', () => {
  it('lets the CPU pass', async () => {
    await checkDevice({});
    await checkPrecision('f32', {});
  });

  it.skipIf(hasCuda)('says how to get CUDA where its libraries were not installed', async () => {
    const check = checkDevice({ device: 'cuda' });
    await expect(check).rejects.toBeInstanceOf(UsageError);
    await expect(check).rejects.toThrow(
      /^device: 'cuda' does not work here: .*\n {2}help: (an NVIDIA GPU.*npm rebuild onnxruntime-node|onnxruntime-node has CUDA on Linux x64 only)/,
    );
  });

  it('refuses half precision on the CPU', async () => {
    await expect(checkPrecision('f16', {})).rejects.toThrow(/precision: 'f16' on the CPU/);
  });

  it('leaves the places in the runtime out of reasons', () => {
    const message =
      '/src/webgpu_context.cc:136 Initialize() status was false. Failed to get an adapter: none\nmore';
    expect(reasonIn(new Error(message))).toBe('Failed to get an adapter: none');
    expect(reasonIn('')).toBe('it ended without a reason');
  });
});
