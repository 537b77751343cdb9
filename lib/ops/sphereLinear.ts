import { requireKnownKeys } from '../errors';
import type { Tensor } from '../tensor';
import { convGeometry } from './conv2d';
import { linearOutputShape } from './linear';
import { reshape } from './reshape';
import { prepareSphereConv2d, type SphereArguments, sphereArguments, type SphereOptions } from './sphereConv2d';

/**
 * SphereLinear: `y = g(theta) + bias`, theta the angle between x and each row of weight (paper: eq. 1-4). Invariant to
 * the length of both; without bias, y lies in [-1, 1]. Where x or the row is zero, theta = pi/2 and y = 0.
 * @param x `[N, D]`; N may be 0.
 * @param weight `[O, D]`
 * @param options.bias `[O]`
 * @returns `[N, O]`
 * @throws {ShapeError | DTypeError | DeviceError | OptionError} naming the argument at fault.
 */
export function sphereLinear(x: Tensor, weight: Tensor, options: SphereOptions & { bias?: Tensor | null } = {}): Tensor {
  requireKnownKeys('sphereLinear', options, ['operator', 'k', 'normGuard', 'bias']);
  return sphereLinearWithArguments(x, weight, options.bias ?? null, sphereArguments(options));
}

const onePixel = convGeometry({}, [1, 1]);

/** {@link sphereLinear} with options that were checked before. @internal */
export function sphereLinearWithArguments(x: Tensor, weight: Tensor, bias: Tensor | null, options: SphereArguments): Tensor {
  const shape = linearOutputShape(x, weight, bias);
  const asImages = (rows: Tensor) => reshape(rows, [rows.shape[0], 1, 1, rows.shape[1]]);
  const [images, filters] = [asImages(x), asImages(weight)];
  const responses = prepareSphereConv2d(images, filters, bias, onePixel, options).run(null);
  const y = reshape(responses, shape);
  if (!y.node) for (const view of [images, filters, responses]) view.dispose();
  return y;
}
