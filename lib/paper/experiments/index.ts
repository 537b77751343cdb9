import { describe, OptionError } from '../../errors';
import type { Experiment } from '../experiment';
import { datasize } from './datasize';
import { fig2 } from './fig2';
import { fig3a } from './fig3a';
import { fig3b } from './fig3b';
import { fig3c } from './fig3c';
import { fig3d } from './fig3d';
import { fig4 } from './fig4';
import { fig5 } from './fig5';
import { fig6 } from './fig6';
import { lemma1, lemma2 } from './lemmas';
import { recipe } from './recipe';
import { table1 } from './table1';
import { table2 } from './table2';
import { table3 } from './table3';
import { table4 } from './table4';

/** Every experiment. The command line and the documentation's tests know them from here. */
export const experiments: readonly Experiment[] = [
  fig2, lemma1, lemma2, table1, table2, table3, table4, fig3a, fig3b, fig3c, fig3d, fig4, fig5, fig6, datasize, recipe,
];

/** @throws {OptionError} when there is no such experiment. */
export function requireExperiment(name: string): Experiment {
  const experiment = experiments.find((each) => each.name === name);
  if (experiment) return experiment;
  const known = experiments.map((each) => each.name).join(', ');
  throw new OptionError('experiment', `experiment must be one of ${known}, but got ${describe(name)}`);
}
