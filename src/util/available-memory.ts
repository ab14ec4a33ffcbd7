import { readFileSync } from 'node:fs';
import { freemem } from 'node:os';
import { join } from 'node:path';

/** Files in which Linux tells memory and limits. */
interface MemoryFiles {
  /** Reads a file; undefined where it is absent or must not be read. */
  read(file: string): string | undefined;
  /** Free memory of the machine in bytes, where no file tells it. */
  free(): number;
}

const SYSTEM: MemoryFiles = {
  read(file) {
    try {
      return readFileSync(file, 'utf8');
    } catch {
      return undefined;
    }
  },
  free: freemem,
};

/**
 * Returns the number of bytes that this process can still take: the least of what the machine has available, what
 * its control groups allow (containers), and what is left of its address space (`ulimit -v`).
 *
 * Memory that only holds copies of files counts as available. Where the system tells nothing, this is the free
 * memory of the machine.
 */
export function availableMemory(files: MemoryFiles = SYSTEM): number {
  return Math.min(machine(files), ...controlGroups(files), addressSpace(files));
}

function machine({ read, free }: MemoryFiles): number {
  const available = /^MemAvailable:\s+(\d+) kB/m.exec(read('/proc/meminfo') ?? '');
  return available ? Number(available[1]) * 1024 : free();
}

/** Returns what is left to each control group of this process, and to the groups around it. */
function controlGroups({ read }: MemoryFiles): number[] {
  const groups = (read('/proc/self/cgroup') ?? '').split('\n').filter((line) => line !== '');
  return groups.flatMap((line) => {
    // "0::/path" of version 2; "4:memory:/path" of version 1.
    const [, controllers = '', ...path] = line.split(':');
    const isV1 = controllers.split(',').includes('memory');
    if (controllers !== '' && !isV1) return [];
    const root = isV1 ? '/sys/fs/cgroup/memory' : '/sys/fs/cgroup';
    const names = path
      .join(':')
      .split('/')
      .filter((name) => name !== '');
    return names.concat('').flatMap((_, depth) => {
      const folder = join(root, ...names.slice(0, depth));
      const number = (file: string) => {
        const text = read(join(folder, file))?.trim();
        return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined;
      };
      const limit = number(isV1 ? 'memory.limit_in_bytes' : 'memory.max');
      const used = number(isV1 ? 'memory.usage_in_bytes' : 'memory.current');
      if (limit === undefined || used === undefined) return [];
      const files = /^(?:total_)?inactive_file (\d+)/m.exec(read(join(folder, 'memory.stat')) ?? '');
      return [Math.max(0, limit - used + Number(files?.[1] ?? 0))];
    });
  });
}

function addressSpace({ read }: MemoryFiles): number {
  const limit = /^Max address space\s+(\d+)/m.exec(read('/proc/self/limits') ?? '');
  const size = /^VmSize:\s+(\d+) kB/m.exec(read('/proc/self/status') ?? '');
  return limit && size ? Math.max(0, Number(limit[1]) - Number(size[1]) * 1024) : Number.POSITIVE_INFINITY;
}
