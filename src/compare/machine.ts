import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, totalmem } from 'node:os';

/** Machine on which a run took place. */
export interface Machine {
  /** Model of the processor. */
  readonly processor: string;
  /** Number of processor cores available. */
  readonly cores: number;
  /** Size of the memory, in bytes. */
  readonly memoryBytes: number;
  /** Operating system and architecture. */
  readonly platform: string;
  /** Versions of Undrift, onnxruntime-node and Node, by name. */
  readonly versions: Readonly<Record<string, string>>;
}

/** Describes this machine and the versions that run on it. */
export function thisMachine(): Machine {
  // package.json is two folders up, from the sources and from the built package. It pins the exact version of
  // the runtime.
  const own = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string;
    dependencies: Record<string, string>;
  };
  return {
    processor: cpus()[0]?.model.trim() ?? 'unknown processor',
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    platform: `${process.platform} ${process.arch}`,
    versions: {
      undrift: own.version,
      'onnxruntime-node': own.dependencies['onnxruntime-node'] ?? 'unknown',
      node: process.versions.node,
    },
  };
}
