// The cuda device's memory: reuse, statistics, and what happens when there is no more.
import { deviceInfo, memoryStats, releaseCachedMemory } from '../../lib/device';
import { DeviceError } from '../../lib/errors';
import { add } from '../../lib/ops';
import { Tensor, tensor } from '../../lib/tensor';
import { collectGarbage } from '../support/garbage';

const withCuda = deviceInfo().cuda.available ? describe : describe.skip;

withCuda('memory on cuda', () => {
  const floats = (mebibytes: number): Tensor => Tensor.empty([mebibytes, 1 << 18], 'f32', 'cuda');

  test('a released block is handed out again', () => {
    floats(4).dispose();
    const { reserved } = memoryStats('cuda');
    floats(4).dispose();
    expect(memoryStats('cuda').reserved).toBe(reserved);
  });

  test('the cache is given back on demand', async () => {
    await collectGarbage();
    floats(8).dispose();
    releaseCachedMemory('cuda');
    const { allocated, reserved } = memoryStats('cuda');
    expect(reserved).toBe(allocated);
  });

  test('out of memory is a typed error, comes after the cache was emptied, and leaves the device usable', () => {
    const total = deviceInfo().cuda.memoryBytes;
    const held: Tensor[] = [];
    const half = Math.floor(total / 2 / (1 << 20));
    floats(half).dispose(); // cached, and in the way of what comes now
    held.push(floats(Math.floor(half * 1.3)));
    expect(() => floats(half)).toThrow(DeviceError);
    expect(() => floats(half)).toThrow(/out of memory: the cuda device could not allocate \d+ bytes beside the \d+ in use/);
    for (const each of held) each.dispose();
    releaseCachedMemory('cuda');
    const [a, b] = [tensor([1, 2], [2], { device: 'cuda' }), tensor([3, 4], [2], { device: 'cuda' })];
    expect([...add(a, b).data()]).toEqual([4, 6]);
  });
});
