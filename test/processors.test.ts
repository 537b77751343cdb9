import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { deviceInfo } from '../lib/device';
import { operatorThreads, type ThreadLimit, usableProcessors } from '../lib/processors';

const folders: string[] = [];
afterAll(() => { for (const folder of folders) rmSync(folder, { recursive: true }); });

/** A root folder with these files of the kernel's. */
function rootWith(files: Record<string, string>): string {
  const root = mkdtempSync(path.join(tmpdir(), 'spherenet-processors-'));
  folders.push(root);
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(path.join(root, path.dirname(name)), { recursive: true });
    writeFileSync(path.join(root, name), text);
  }
  return root;
}

/** Of a machine with 16 processors, of which the process may use those of `allowed`. */
function machine(allowed: string, files: Record<string, string> = {}): string {
  return rootWith({
    'sys/devices/system/cpu/online': '0-15\n',
    'proc/self/status': `Name:\tnode\nCpus_allowed:\tffff\nCpus_allowed_list:\t${allowed}\nMems_allowed:\t1\n`,
    ...files,
  });
}

const version2 = (mountRoot: string, group: string, point = '/sys/fs/cgroup') => ({
  'proc/self/cgroup': `0::${group}\n`,
  'proc/self/mountinfo': `22 1 0:5 / /proc rw shared:5 - proc proc rw\n30 22 0:26 ${mountRoot} ${point} rw,nosuid shared:4 - cgroup2 cgroup2 rw\n`,
});
const version1 = (mountRoot: string, group: string, controllers = 'cpu,cpuacct') => ({
  'proc/self/cgroup': `9:memory:/elsewhere\n4:${controllers}:${group}\n1:name=systemd:/s\n0::/unified\n`,
  'proc/self/mountinfo': [
    `31 22 0:28 /elsewhere /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory`,
    `32 22 0:29 ${mountRoot} /sys/fs/cgroup/cpu rw,relatime shared:9 master:3 - cgroup cgroup rw,${controllers}`,
    `33 22 0:30 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset`,
    `41 22 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw`, '',
  ].join('\n'),
});
const quota1 = (folder: string, quota: string, period = '100000\n') => ({
  [`sys/fs/cgroup/cpu${folder}/cpu.cfs_quota_us`]: quota,
  [`sys/fs/cgroup/cpu${folder}/cpu.cfs_period_us`]: period,
});

describe('usable processors', () => {
  test.each<[string, string, number, ThreadLimit | null]>([
    ['no limit', machine('0-15'), 16, null],
    ['an affinity mask', machine('0-3,8'), 5, 'affinity'],
    ['one processor', machine('7'), 1, 'affinity'],
    ['v2, no quota', machine('0-15', { ...version2('/', '/'), 'sys/fs/cgroup/cpu.max': 'max 100000\n' }), 16, null],
    ['v2, in a container', machine('0-15', { ...version2('/', '/'), 'sys/fs/cgroup/cpu.max': '200000 100000\n' }), 2, 'cgroup quota'],
    ['v2, rounded up', machine('0-15', { ...version2('/', '/'), 'sys/fs/cgroup/cpu.max': '250000 100000\n' }), 3, 'cgroup quota'],
    ['v2, less than one processor', machine('0-15', { ...version2('/', '/'), 'sys/fs/cgroup/cpu.max': '20000 100000\n' }), 1, 'cgroup quota'],
    ['v2, another period', machine('0-15', { ...version2('/', '/'), 'sys/fs/cgroup/cpu.max': '20000 10000\n' }), 2, 'cgroup quota'],
    ['v2, in a nested group', machine('0-15', {
      ...version2('/', '/user.slice/job.scope'), 'sys/fs/cgroup/user.slice/job.scope/cpu.max': '400000 100000\n',
    }), 4, 'cgroup quota'],
    ['v2, a group around it is narrower', machine('0-15', {
      ...version2('/', '/pod/box'), 'sys/fs/cgroup/pod/box/cpu.max': '400000 100000\n', 'sys/fs/cgroup/pod/cpu.max': '300000 100000\n',
    }), 3, 'cgroup quota'],
    ['v2, a name with a blank', machine('0-15', {
      ...version2('/', '/my job', '/sys/fs/my\\040cgroup'), 'sys/fs/my cgroup/my job/cpu.max': '100000 100000\n',
    }), 1, 'cgroup quota'],
    ['v2, a group outside of its namespace', machine('0-15', {
      ...version2('/', '/../../other'), 'sys/fs/cgroup/cpu.max': '300000 100000\n',
    }), 3, 'cgroup quota'],
    ['v1, no quota', machine('0-15', { ...version1('/', '/'), ...quota1('', '-1\n') }), 16, null],
    ['v1, under its root', machine('0-15', { ...version1('/', '/'), ...quota1('', '100000\n') }), 1, 'cgroup quota'],
    ['v1, the cpu controller alone', machine('0-15', { ...version1('/', '/a/b', 'cpu'), ...quota1('/a/b', '150000\n') }), 2, 'cgroup quota'],
    ['v1, as docker mounts it', machine('0-15', { ...version1('/docker/1234', '/docker/1234'), ...quota1('', '600000\n') }), 6, 'cgroup quota'],
    ['v1, below what docker mounts', machine('0-15', {
      ...version1('/docker/1234', '/docker/1234/inner'), ...quota1('', '600000\n'), ...quota1('/inner', '500000\n'),
    }), 5, 'cgroup quota'],
    ['a quota wider than the mask', machine('0-1', { ...version2('/', '/'), 'sys/fs/cgroup/cpu.max': '800000 100000\n' }), 2, 'affinity'],
    ['a quota as wide as the mask', machine('0-1', { ...version2('/', '/'), 'sys/fs/cgroup/cpu.max': '200000 100000\n' }), 2, 'affinity'],
    ['files that make no sense', machine('0-15', {
      'proc/self/cgroup': 'what?\n0:\n', 'proc/self/mountinfo': 'a b - cgroup2\n1 2 - \n - - -\n', 'sys/fs/cgroup/cpu.max': 'no\n',
    }), 16, null],
  ])('%s', (_, root, count, limitedBy) => {
    expect(usableProcessors(root)).toEqual({ count, limitedBy });
  });

  test('where there are no such files are those of libuv', () => {
    expect(usableProcessors(rootWith({})).count).toBeGreaterThanOrEqual(1);
  });
});

describe('threads of the operators', () => {
  const usable = { count: 2, limitedBy: 'cgroup quota' } as const;

  test.each(['', 'many', '0', '-3'])('with OMP_NUM_THREADS=%p are the usable processors', (wanted) => {
    expect(operatorThreads(wanted, usable)).toEqual(usable);
  });

  test.each([['1', 1], ['8', 8], [' 4,2', 4], ['1000000', 64]])('with OMP_NUM_THREADS=%p are as many', (wanted, count) => {
    expect(operatorThreads(wanted, usable)).toEqual({ count, limitedBy: 'OMP_NUM_THREADS' });
  });

  test('are told by deviceInfo()', () => {
    const { count, limitedBy } = operatorThreads();
    expect(deviceInfo()).toMatchObject({ threads: count, threadsLimitedBy: limitedBy });
  });
});
