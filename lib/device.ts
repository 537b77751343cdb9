import { totalmem } from 'node:os';
import { constrainedMemory } from 'node:process';
import type { NativeCudaInfo, NativeDevice, NativeInfo, NativeMemoryStats } from '../typings/native';
import { describe, DeviceError, requireOneOf } from './errors';
import { codeOf, native, threads } from './native';
import type { ThreadLimit } from './processors';

/** Where a tensor lives. */
export const devices = ['cpu', 'cuda'] as const satisfies readonly NativeDevice[];
export type Device = (typeof devices)[number];

/** A device by its name, or `auto`: cuda where it can be used, else cpu. */
export const deviceChoices = [...devices, 'auto'] as const;
export type DeviceChoice = (typeof deviceChoices)[number];

let cuda: NativeCudaInfo | null = null;
let current: Device = 'cpu';

/** What there is of CUDA, asked for once: looking for a GPU takes time. */
function cudaInfo(): NativeCudaInfo {
  return (cuda ??= native.info().cuda);
}

/**
 * The device for a name: `'cpu'`, `'cuda'` or `'auto'` (cuda where it can be used, else cpu).
 * Asking for `'cuda'` never falls back.
 * @throws {DeviceError} when `'cuda'` is asked for and cannot be used, saying why.
 * @throws {OptionError} for another name.
 */
export function resolveDevice(name: DeviceChoice): Device {
  requireOneOf('device', name, deviceChoices);
  if (name === 'cpu') return 'cpu';
  const { available, reason } = cudaInfo();
  if (name === 'cuda' && !available) throw new DeviceError('device', `device "cuda" cannot be used: ${reason}`);
  return available ? 'cuda' : 'cpu';
}

/** Where tensors are made that are not told otherwise: `'cpu'` until {@link setDefaultDevice}. */
export function defaultDevice(): Device {
  return current;
}

/**
 * Sets where tensors, layers and batches are made from now on; those that are there stay where they are.
 * @throws {DeviceError | OptionError} as {@link resolveDevice}.
 */
export function setDefaultDevice(name: DeviceChoice): void {
  current = resolveDevice(name);
}

/** @throws {DeviceError} when the tensor `name` lives elsewhere than the tensor `other`. @internal */
export function requireSameDevice(name: string, device: Device, other: string, expected: Device): void {
  if (device === expected) return;
  throw new DeviceError(name, `${name} must be on ${expected} like ${other}, but found on ${device}; to("${expected}") moves a tensor`);
}

let hostBytes: number | null = null;

/** Bytes of memory that this process may use: the container's limit where there is one below the machine's memory. */
export function hostMemory(): number {
  return (hostBytes ??= Math.min(totalmem(), constrainedMemory() || Infinity));
}

/** Bytes that are not worth the question. */
const alwaysThere = 2 ** 20;

/**
 * Checks a size before anything is asked for: a system that overcommits gives out more than it has, and ends the process
 * when it is written. Products beyond 2^53, which numbers do not hold exactly, are beyond any memory.
 * @throws {DeviceError} when the device's memory could not hold an array of these extents, even alone.
 */
export function requireMemory(device: Device, bytesPerElement: number, extents: readonly number[]): void {
  let bytes = bytesPerElement;
  // Extents of 0 are passed over, so that [2^52, 2^52, 0] is refused too.
  for (const extent of extents) bytes *= extent || 1;
  if (bytes <= alwaysThere) return;
  // The emulated device has the host's memory.
  const most = device === 'cpu' ? hostMemory() : cudaInfo().memoryBytes || hostMemory();
  if (bytes <= most) return;
  throw new DeviceError(
    'memory',
    `out of memory: an array of shape ${describe([...extents])} takes ${bytes} bytes, but the ${device} device has ${most}`,
  );
}

/** What the addon and this machine offer. */
export interface DeviceInfo extends NativeInfo {
  /** What set `threads`: null where each of the machine's processors has one. */
  threadsLimitedBy: ThreadLimit | null;
}

/** What the addon and this machine offer. */
export function deviceInfo(): DeviceInfo {
  return { ...native.info(), threadsLimitedBy: threads.limitedBy };
}

/**
 * Waits until a device has done all work submitted to it, as a measurement of time must. On cuda an operator returns
 * before its result is there; reading a result waits by itself. The cpu has always done its work.
 * @param device Default: the default device.
 * @throws {DeviceError} for what went wrong in that work.
 */
export function synchronize(device: DeviceChoice = current): void {
  native.synchronize(resolveDevice(device));
}

/** How cuda multiplies the numbers of f32 tensors; see {@link setMatmulPrecision}. */
export const precisions = ['fp32', 'tf32', 'bf16'] as const;
export type MatmulPrecision = (typeof precisions)[number];

/** As the native side begins. */
let currentPrecision: MatmulPrecision = 'tf32';

/**
 * Sets how cuda computes matrix products and convolutions of f32 tensors. Factors are rounded, sums are float32 always:
 * - `tf32`, the default, which every GPU has that is supported (sm_80, compute capability 8.0, or newer): factors of 10
 *   bits, a product is off by at most 2⁻⁹ of itself.
 * - `bf16`: factors of 7 bits, a product is off by at most 2⁻⁷ of itself.
 * - `fp32`: no rounding of factors. For comparisons with another device.
 *
 * All other operators, f64 tensors and the cpu know one precision only.
 * @throws {OptionError} for another name.
 */
export function setMatmulPrecision(precision: MatmulPrecision): void {
  native.setMatmulPrecision(codeOf('precisions', requireOneOf('precision', precision, precisions)));
  currentPrecision = precision;
}

/** What {@link setMatmulPrecision} has set, `'tf32'` at first. */
export function matmulPrecision(): MatmulPrecision {
  return currentPrecision;
}

/**
 * Native memory in bytes: `allocated` by live tensors, `reserved` from the system with the cache included, the `peak`
 * of `allocated` since the last {@link resetPeakMemory}, and the number of live `storages`.
 * @param device Default: the default device.
 */
export function memoryStats(device: DeviceChoice = current): NativeMemoryStats {
  return native.memoryStats(resolveDevice(device));
}

/** Starts a new peak for {@link memoryStats}. @param device Default: the default device. */
export function resetPeakMemory(device: DeviceChoice = current): void {
  native.resetPeak(resolveDevice(device));
}

/** Gives cached memory that no tensor uses back to the system. @param device Default: the default device. */
export function releaseCachedMemory(device: DeviceChoice = current): void {
  native.releaseCache(resolveDevice(device));
}
