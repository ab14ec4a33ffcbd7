import { expect, it } from 'vitest';
import { availableMemory } from './available-memory.ts';

const GIB = 2 ** 30;
const available = (files: Readonly<Record<string, string>>, free = 100 * GIB) =>
  availableMemory({ read: (file) => files[file], free: () => free });

const MEMINFO = {
  '/proc/meminfo': `MemTotal: 64000000 kB\nMemFree: 1000 kB\nMemAvailable: ${32 * 2 ** 20} kB\n`,
};

it('is what the machine has available, or its free memory where nothing tells more', () => {
  expect(available({}, 5 * GIB)).toBe(5 * GIB);
  expect(available(MEMINFO)).toBe(32 * GIB);
  expect(availableMemory()).toBeGreaterThan(0);
});

it('is what the control groups leave, at any level, with copies of files taken as free', () => {
  const v2 = {
    ...MEMINFO,
    '/proc/self/cgroup': '0::/pod/app\n',
    '/sys/fs/cgroup/pod/app/memory.max': 'max\n',
    '/sys/fs/cgroup/pod/app/memory.current': `${1 * GIB}\n`,
    '/sys/fs/cgroup/pod/memory.max': `${8 * GIB}\n`,
    '/sys/fs/cgroup/pod/memory.current': `${6 * GIB}\n`,
  };
  expect(available(v2)).toBe(2 * GIB);
  expect(available({ ...v2, '/sys/fs/cgroup/pod/memory.stat': `anon 1\ninactive_file ${GIB}\n` })).toBe(
    3 * GIB,
  );
  // Inside a container the group's own files are at the root.
  const root = { '/sys/fs/cgroup/memory.max': `${GIB}`, '/sys/fs/cgroup/memory.current': `${2 * GIB}` };
  expect(available({ ...MEMINFO, '/proc/self/cgroup': '0::/\n', ...root })).toBe(0);
  const v1 = {
    ...MEMINFO,
    '/proc/self/cgroup': '5:cpu,cpuacct:/x\n4:memory:/docker/a:b\n',
    '/sys/fs/cgroup/memory/docker/a:b/memory.limit_in_bytes': `${4 * GIB}`,
    '/sys/fs/cgroup/memory/docker/a:b/memory.usage_in_bytes': `${3 * GIB}`,
    '/sys/fs/cgroup/x/memory.max': '1',
    '/sys/fs/cgroup/x/memory.current': '1',
  };
  expect(available(v1)).toBe(GIB);
});

it('is what a limit of the address space leaves', () => {
  const limits = (text: string) => ({
    ...MEMINFO,
    '/proc/self/limits': `Limit  Soft Limit  Hard Limit  Units\nMax address space         ${text}    unlimited  bytes\n`,
    '/proc/self/status': `VmPeak: 1 kB\nVmSize:\t ${3 * 2 ** 20} kB\n`,
  });
  expect(available(limits('unlimited'))).toBe(32 * GIB);
  expect(available(limits(String(4 * GIB)))).toBe(GIB);
  expect(available(limits(String(2 * GIB)))).toBe(0);
});
