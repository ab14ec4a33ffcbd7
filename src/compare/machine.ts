import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, totalmem } from 'node:os';

/** Where a run took place. */
export interface Machine {
  readonly processor: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly platform: string;
  /** Versions of what computes, by name. */
  readonly versions: Readonly<Record<string, string>>;
}

/** This machine, and the versions that run on it. */
export function thisMachine(): Machine {
  // package.json lies two folders up, from the sources and from the built package; it pins the runtime exactly.
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
