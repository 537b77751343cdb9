import { Command } from 'commander';
import { addLossOptions, headConfig, type LossOptions } from '../../lib/cli/lossOptions';
import { OptionError } from '../../lib/errors';
import { expectThrown } from '../nn/expectations';

function configOf(...args: string[]): unknown {
  const command = addLossOptions(new Command()).exitOverride();
  const config = headConfig(command.parse(args, { from: 'user' }).opts<LossOptions>());
  // Without what was not given.
  return JSON.parse(JSON.stringify(config));
}

test('flags become a config', () => {
  expect(configOf()).toEqual({ loss: 'softmax' });
  expect(configOf('--loss', 'normface', '--scale', '16', '--learn-scale')).toEqual({ loss: 'normface', scale: 16, learnScale: true });
  expect(configOf('--loss', 'hinge', '--squared', '--margin', '2', '--loss-operator', 'linear', '--radius', '3')).toEqual({
    loss: 'hinge', squared: true, margin: 2, operator: 'linear', radius: 3,
  });
  expect(configOf('--loss', 'ga-softmax', '--annealing', 'lsoftmax', '--annealing-start', '500')).toEqual({
    loss: 'ga-softmax', annealing: 'lsoftmax', annealingStart: 500,
  });
});

test.each<[string[], string, RegExp]>([
  [['--loss', 'arcface', '--scale', '1e300'], 'scale', /at most 1000000/],
  [['--squared'], 'squared', /--squared belongs to --loss hinge, but the loss is softmax/],
  [['--loss', 'hinge', '--radius', '3'], 'radius', /needs an operator/],
  [['--loss', 's-softmax'], 'radius', /--loss s-softmax needs --radius/],
  [['--loss', 'a-softmax', '--annealing-start', '-1'], 'annealingStart', /at least 0/],
])('%j is refused', (args, argument, message) => {
  expectThrown(() => configOf(...args), OptionError, argument, message);
});
