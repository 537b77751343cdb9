#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { addBenchCommand } from './bench';
import { addDataCommand } from './data';
import { addDoctorCommand } from './doctor';
import { addEvalCommand } from './eval';
import { addPaperCommand } from './paper';
import { newProgram, runProgram } from './program';
import { addTrainCommand } from './train';

const packageFile = join(__dirname, '..', '..', 'package.json');
const { version } = JSON.parse(readFileSync(packageFile, 'utf8')) as { version: string };

const program = newProgram('spherenet')
  .description('Hyperspherical deep learning: trains, evaluates and measures SphereNets.')
  .version(version)
  .helpCommand(false)
  .addHelpText('after', '\nspherenet <command> --help shows the options of a command, with examples.');
for (const add of [addTrainCommand, addEvalCommand, addPaperCommand, addDataCommand, addBenchCommand, addDoctorCommand]) add(program);

void runProgram(program);
