import { native } from '../../lib/native';

/**
 * The steps of a training before whose end, since the one before, it waited for the device.
 * @param fit Trains, and calls back after each step.
 */
export async function stepsThatWait(fit: (onStep: (iteration: number) => void) => Promise<unknown>): Promise<number[]> {
  const waits = [jest.spyOn(native, 'read'), jest.spyOn(native, 'synchronize')];
  const waitsAt: number[] = [];
  let before = 0;
  const onStep = (iteration: number) => {
    const calls = waits.reduce((sum, { mock }) => sum + mock.calls.length, 0);
    if (calls > before) waitsAt.push(iteration);
    before = calls;
  };
  try {
    await fit(onStep);
  } finally {
    for (const wait of waits) wait.mockRestore();
  }
  return waitsAt;
}
