import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { env } from 'node:process';

/** What may keep a process from some of the machine's processors, or its operators from some of the process's. */
export type ThreadLimit = 'affinity' | 'cgroup quota' | 'OMP_NUM_THREADS';

/** A number of threads, and what made it smaller than the number of processors. */
export interface Threads {
  count: number;
  limitedBy: ThreadLimit | null;
}

/**
 * Processors that this process may keep busy: those of its affinity mask, or its cgroup's CPU quota (of version 1 or 2)
 * rounded up, whichever is less. Node's own `availableParallelism` knows the quota only in later versions.
 * @param root Where /proc and the cgroups are mounted; tests have one of their own.
 */
export function usableProcessors(root = '/'): Threads {
  const affinity = affinityOf(root);
  const quota = Math.max(1, Math.ceil(cpuQuota(root)));
  if (quota < affinity.count) return { count: quota, limitedBy: 'cgroup quota' };
  return affinity;
}

/** The addon takes no more. */
const mostThreads = 1024;

/**
 * Threads for the operators: as many as OMP_NUM_THREADS says, else one for each usable processor. A slip in the former must
 * not ask for a hundred thousand: where the system refuses a thread, libgomp ends the process.
 */
export function operatorThreads(wanted = env['OMP_NUM_THREADS'], usable = usableProcessors()): Threads {
  const count = Number.parseInt(wanted ?? '', 10);
  const threads: Threads = count >= 1 ? { count, limitedBy: 'OMP_NUM_THREADS' } : usable;
  return { ...threads, count: Math.min(threads.count, Math.max(64, 4 * usable.count), mostThreads) };
}

function affinityOf(root: string): Threads {
  const allowed = /^Cpus_allowed_list:\s*(.+)$/m.exec(read(root, 'proc/self/status'))?.[1];
  const online = read(root, 'sys/devices/system/cpu/online').trim();
  // Without Linux's files libuv knows best.
  if (!allowed || !online) return { count: availableParallelism(), limitedBy: null };
  const count = lengthOfList(allowed);
  return { count, limitedBy: count < lengthOfList(online) ? 'affinity' : null };
}

/** The length of a list of the kernel's, such as `0-3,8`. */
function lengthOfList(list: string): number {
  return list.split(',').reduce((sum, range) => {
    const [first, last = first] = range.split('-').map(Number);
    return sum + last - first + 1;
  }, 0);
}

/** Processors' worth of time that the process's cgroup and those around it leave it; Infinity where none limits it. */
function cpuQuota(root: string): number {
  const groups = read(root, 'proc/self/cgroup').split('\n').map((line) => /^\d+:([^:]*):(.*)$/.exec(line));
  const quotas = cpuHierarchies(root).flatMap(({ version, mountRoot, mountPoint }) => {
    const group = groups.find((found) => (version === 2 ? found?.[1] === '' : found?.[1].split(',').includes('cpu')));
    if (!group) return [];
    // Docker mounts a container's own group, whose path outside is that of the mount's root.
    const inside = path.relative(mountRoot, group[2]);
    const parts = inside.startsWith('..') ? [] : inside.split('/').filter(Boolean);
    const folders = [mountPoint, ...parts.map((_, i) => path.join(mountPoint, ...parts.slice(0, i + 1)))];
    return folders.map((folder) => (version === 2 ? quotaOfVersion2(root, folder) : quotaOfVersion1(root, folder)));
  });
  return Math.min(...quotas);
}

interface CpuHierarchy {
  version: 1 | 2;
  /** The group that is mounted, by its path in the hierarchy. */
  mountRoot: string;
  mountPoint: string;
}

function cpuHierarchies(root: string): CpuHierarchy[] {
  return read(root, 'proc/self/mountinfo').split('\n').flatMap((line): CpuHierarchy[] => {
    const [mount, filesystem = ''] = line.split(' - ');
    const [, , , mountRoot, mountPoint] = mount.split(' ').map(unescapePath);
    const [type, , options = ''] = filesystem.split(' ');
    if (type === 'cgroup2') return [{ version: 2, mountRoot, mountPoint }];
    return type === 'cgroup' && options.split(',').includes('cpu') ? [{ version: 1, mountRoot, mountPoint }] : [];
  });
}

/** Blanks and backslashes in the paths of mountinfo are written in octal. */
function unescapePath(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 8)));
}

function quotaOfVersion2(root: string, folder: string): number {
  const [quota, period] = read(root, folder, 'cpu.max').trim().split(' ');
  return ratio(quota, period);
}

function quotaOfVersion1(root: string, folder: string): number {
  return ratio(read(root, folder, 'cpu.cfs_quota_us'), read(root, folder, 'cpu.cfs_period_us'));
}

/** "max", -1 and files that are not there mean no limit. */
function ratio(quota: string, period: string): number {
  const processors = Number(quota) / Number(period);
  return processors > 0 ? processors : Infinity;
}

/** The text of a file, or nothing where there is none. */
function read(...parts: string[]): string {
  try {
    return readFileSync(path.join(...parts), 'utf8');
  } catch {
    return '';
  }
}
