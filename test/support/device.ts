// The device of the whole suite: SPHERENET_TEST_DEVICE, else the cpu. With it, jest.config.js runs this before every test
// file.
import { defaultDevice, type DeviceChoice, deviceInfo, setDefaultDevice, setMatmulPrecision } from '../../lib/device';

setDefaultDevice((process.env['SPHERENET_TEST_DEVICE'] ?? 'cpu') as DeviceChoice);
// Rounded factors would hide what the tests look for.
setMatmulPrecision('fp32');

export const testDevice = defaultDevice();

/** Whether everything runs on the emulated GPU, where a step takes a hundred times as long. */
export const isEmulated = testDevice === 'cuda' && deviceInfo().cuda.emulated;

/** For what needs a second device; `test.skip` and `describe.skip` where there is none. */
export const hasCuda = deviceInfo().cuda.available;
