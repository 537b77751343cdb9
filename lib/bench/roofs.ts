import { type Device, deviceInfo, type MatmulPrecision, releaseCachedMemory } from '../device';
import { native } from '../native';
import { matmul } from '../ops';
import { full, noGrad, type Tensor } from '../tensor';
import { timed } from './measure';
import { variedTensor } from './variedTensor';

/** What a device does at best, by operators of ours on large operands. */
export interface Roof {
  device: Device;
  /** Of the matrix product. */
  precision: MatmulPrecision;
  /** 10⁹ floating-point operations a second, in a product of square matrices. */
  gflops: number;
  /** 10⁹ bytes a second read and written, in a copy, a scaling or a sum, whichever is the fastest. */
  gbps: number;
}

/** How large: long beside a call, and beyond every cache. */
interface Sizes {
  /** Rows and columns of the matrices. */
  matrix: number;
  /** Elements of the vectors. */
  vector: number;
}

const sizes: Record<Device | 'emulated', Sizes> = {
  cpu: { matrix: 1024, vector: 2 ** 25 },
  cuda: { matrix: 8192, vector: 2 ** 28 },
  // It has to run, not to be fast.
  emulated: { matrix: 32, vector: 2 ** 10 },
};

/** At least so many rounds, and as many as fit into so many milliseconds. */
const least = { rounds: 5, milliseconds: 300 };

/** Measures both roofs of a device. The best of the rounds counts: a roof is what the machine can do. */
export function measureRoof(device: Device, precision: MatmulPrecision): Roof {
  const { matrix, vector } = sizes[device === 'cuda' && deviceInfo().cuda.emulated ? 'emulated' : device];
  const roof = { device, precision, gflops: productRoof(device, matrix), gbps: trafficRoof(device, vector) };
  // What comes next finds memory as it was.
  releaseCachedMemory(device);
  return roof;
}

function productRoof(device: Device, size: number): number {
  using a = variedTensor([size, size], 0, device);
  using b = variedTensor([size, size], 1, device);
  const ms = shortest(device, () => { noGrad(() => void matmul(a, b)); });
  return (2 * size ** 3) / ms / 1e6;
}

function trafficRoof(device: Device, size: number): number {
  using a = full([size], 1, { device });
  using b = full([size], 2, { device });
  using out = a.newEmpty();
  const works: [tensors: Tensor[], work: () => void][] = [
    [[a, out], () => { native.copy(a.handle, out.handle); }],
    [[a, out], () => { native.scale(a.handle, 2, out.handle); }],
    [[a, b, out], () => { native.add(a.handle, b.handle, out.handle); }],
  ];
  return Math.max(
    ...works.map(([tensors, work]) => tensors.reduce((bytes, each) => bytes + each.bytes, 0) / shortest(device, work) / 1e6),
  );
}

/** Milliseconds. The first round, in which memory is touched and kernels are made, is one of many. */
function shortest(device: Device, work: () => void): number {
  let [best, total] = [Infinity, 0];
  for (let round = 0; round < least.rounds || total < least.milliseconds; round++) {
    const [milliseconds] = timed(device, work);
    best = Math.min(best, milliseconds);
    total += milliseconds;
  }
  return best;
}
