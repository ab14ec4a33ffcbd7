import { env, type InferenceSession } from 'onnxruntime-node';
import { type ComputeOptions, defaultThreads } from './devices.ts';

// What goes wrong is in the errors that are thrown; the runtime's own lines would come between ours.
env.logLevel = 'fatal';

/**
 * Session settings. Measured reasons stand beside each.
 * @param hostNodes  see `DeviceModel`
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
    // Without the arena every intermediate is mapped, faulted in and unmapped anew: 12 % slower steps and, as freed blocks
    // are reused at once, 15 % more memory (reference step, 954 against 810 MB).
    enableCpuMemArena: true,
    enableMemPattern: false,
    logSeverityLevel: 4,
    // Threads of a session that has finished would go on spinning and take the cores from the next one: alternating two
    // programs was 2.5 times slower with the default.
    extra: { session: { force_spinning_stop: '1' } },
  };
}
