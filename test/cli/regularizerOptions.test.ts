import { Command } from 'commander';
import { addRegularizerOptions, regularizerConfig, type RegularizerOptions } from '../../lib/cli/regularizerOptions';
import { OptionError } from '../../lib/errors';
import { expectThrown } from '../nn/expectations';

function configOf(...args: string[]) {
  const command = addRegularizerOptions(new Command()).exitOverride();
  return regularizerConfig(command.parse(args, { from: 'user' }).opts<RegularizerOptions>());
}

/** Without what was not given. */
const given = (config: object | null): unknown => JSON.parse(JSON.stringify(config));

test('flags become a config', () => {
  expect(given(configOf())).toEqual({ regularizer: 'orthogonality' });
  expect(given(configOf('--regularizer', 'mhe', '--coefficient', '0.5', '--energy-power', '0', '--half-space'))).toEqual({
    regularizer: 'mhe', coefficient: 0.5, power: 0, halfSpace: true,
  });
  expect(given(configOf('--normalized-filters', '--coefficient', '1e-3'))).toEqual({
    regularizer: 'orthogonality', coefficient: 1e-3, normalized: true,
  });
  expect(given(configOf('--regularizer', 'mma'))).toEqual({ regularizer: 'mma' });
  expect(configOf('--regularizer', 'none')).toBeNull();
});

test.each<[string[], string, RegExp]>([
  [['--regularizer', 'mhs'], '--regularizer', /one of "orthogonality", "mhe", "mma", "none"/],
  [['--half-space'], 'halfSpace', /--half-space belongs to --regularizer mhe, but the regularizer is orthogonality/],
  [['--regularizer', 'none', '--coefficient', '1'], 'coefficient', /belongs to --regularizer orthogonality or mhe or mma/],
  [['--regularizer', 'mhe', '--energy-power', '3'], 'power', /one of 0, 1, 2/],
  [['--coefficient', '-1'], 'coefficient', /at least 0/],
])('%j is refused', (args, argument, message) => {
  expectThrown(() => configOf(...args), OptionError, argument, message);
});
