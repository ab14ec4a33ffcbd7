import { Graph } from '../graph/graph.ts';
import { neg } from '../graph/ops.ts';
import { UsageError } from '../util/errors.ts';
import { option } from '../util/option-name.ts';
import type { ComputeOptions, Device } from './devices.ts';
import { Program } from './program.ts';

/** Advice on getting each device to work. */
export const DEVICE_HELP: Readonly<Record<Device, string>> = {
  cpu: 'install again for this platform: npm ci',
  webgpu:
    'a GPU with a current driver is needed; on Linux a Vulkan driver and its loader (Debian: libvulkan1). ' +
    'Without a GPU the software driver SwiftShader works: docs/devices.md',
  cuda:
    process.platform === 'linux' && process.arch === 'x64'
      ? 'an NVIDIA GPU, CUDA 12 and cuDNN 9; then: ONNXRUNTIME_NODE_INSTALL=true npm rebuild onnxruntime-node (it downloads; docs/devices.md)'
      : 'onnxruntime-node has CUDA on Linux x64 only',
};

/**
 * Checks that programs can be loaded on a device, before other work is done in vain.
 *
 * @throws UsageError if they cannot. The error says what is missing and how to get it.
 */
export async function checkDevice({ device = 'cpu', ...compute }: ComputeOptions): Promise<void> {
  if (device === 'cpu') return;
  const graph = new Graph('device');
  graph.output('y', neg(graph.input('x', 'f32', [1])));
  try {
    await (await Program.compile(graph, { ...compute, device })).dispose();
  } catch (cause) {
    throw new UsageError(`${option('device', device)} does not work here: ${reasonIn(cause)}`, {
      cause,
      help: `${DEVICE_HELP[device]}. undrift doctor tells more`,
    });
  }
}

/** Extracts the reason from an error message of onnxruntime, without the location in its sources. */
export function reasonIn(error: unknown): string {
  const line = (error instanceof Error ? error.message : String(error)).split('\n')[0]!.trim();
  return (/\b(Failed|Unable|No|Not|Cannot)\b.*$/.exec(line)?.[0] ?? line) || 'it ended without a reason';
}
