import type { NativeInfo, NativeMemoryStats } from '../typings/native';
import { DeviceError, requireOneOf } from './errors';
import { native } from './native';

/** Where a tensor lives. */
export type Device = 'cpu' | 'cuda';

/**
 * The device for a name: `'cpu'`, `'cuda'` or `'auto'` (cuda where it can be used, else cpu).
 * Asking for `'cuda'` never falls back.
 * @throws {DeviceError} when `'cuda'` is asked for and cannot be used, saying why.
 * @throws {OptionError} for another name.
 */
export function resolveDevice(name: Device | 'auto'): Device {
  requireOneOf('device', name, ['cpu', 'cuda', 'auto']);
  if (name === 'cpu') return 'cpu';
  const { available, reason } = native.info().cuda;
  if (name === 'cuda' && !available) throw new DeviceError('device', `device "cuda" cannot be used: ${reason}`);
  return available ? 'cuda' : 'cpu';
}

/** What the addon and this machine offer. */
export function deviceInfo(): NativeInfo {
  return native.info();
}

/**
 * Native memory in bytes: `allocated` by live tensors, `reserved` from the system with the cache included, the `peak`
 * of `allocated` since the last {@link resetPeakMemory}, and the number of live `storages`.
 */
export function memoryStats(): NativeMemoryStats {
  return native.memoryStats();
}

/** Starts a new peak for {@link memoryStats}. */
export function resetPeakMemory(): void {
  native.resetPeak();
}

/** Gives cached memory that no tensor uses back to the system. */
export function releaseCachedMemory(): void {
  native.releaseCache();
}
