import { env, type InferenceSession } from 'onnxruntime-node';
import { type ComputeOptions, defaultThreads } from './devices.ts';

// Errors are thrown with all details. The log lines of onnxruntime would only interrupt the output.
env.logLevel = 'fatal';

/**
 * Session settings of onnxruntime for a device. The comments inside give the measurements behind them.
 *
 * @param hostNodes names of nodes that must run on the CPU; see `DeviceModel`
 */
export function sessionOptions(
  { device = 'cpu', threads = defaultThreads() }: ComputeOptions,
  hostNodes: readonly string[] = [],
): InferenceSession.SessionOptions {
  const provider =
    device === 'webgpu' && hostNodes.length > 0 ? { name: device, forceCpuNodeNames: hostNodes } : device;
  return {
    executionProviders: device === 'cpu' ? ['cpu'] : [provider, 'cpu'],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    graphOptimizationLevel: 'all',
    // Without the arena, every intermediate is mapped, faulted in and unmapped anew, which makes steps 12 %
    // slower. Freed blocks are reused at once, so the arena also takes 15 % less memory (reference step, 810
    // against 954 MB).
    enableCpuMemArena: true,
    enableMemPattern: false,
    logSeverityLevel: 4,
    // Threads of a session that has finished would keep spinning and take the cores from the next session.
    // With the default, alternating between two programs was 2.5 times slower.
    extra: { session: { force_spinning_stop: '1' } },
  };
}
