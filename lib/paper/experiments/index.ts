import { describe, OptionError } from '../../errors';
import type { Experiment } from '../experiment';
import { table1 } from './table1';

/** Every experiment. The command line and the documentation's tests know them from here. */
export const experiments: readonly Experiment[] = [table1];

/** @throws {OptionError} when there is no such experiment. */
export function requireExperiment(name: string): Experiment {
  const experiment = experiments.find((each) => each.name === name);
  if (experiment) return experiment;
  const known = experiments.map((each) => each.name).join(', ');
  throw new OptionError('experiment', `experiment must be one of ${known}, but got ${describe(name)}`);
}
