#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { newProgram, runProgram } from './program';

/** The commands. One that is asked for is loaded then, since most load the addon: help and errors stay quick. */
const commands: Record<string, { description: string; load: () => Promise<{ define: (command: Command) => void }> }> = {
  train: {
    description: 'Trains a SphereNet or its plain twin.',
    load: () => import('./train'),
  },
  eval: {
    description: 'Evaluates a trained network on the test images: accuracy, loss, and how it does on each class.',
    load: () => import('./eval'),
  },
  paper: {
    description: "Repeats the paper's tables, figures and lemmas, and sets its numbers beside those measured.",
    load: () => import('./paper'),
  },
  data: {
    description: 'Fetches a data set where needed, checks it and shows what it holds.',
    load: () => import('./data'),
  },
  bench: {
    description: 'Times SphereConv against plain convolution, by layers or whole training steps, beside other libraries.',
    load: () => import('./bench'),
  },
  doctor: {
    description: 'Shows what this machine offers: devices, libraries, instruction set, threads, memory.',
    load: () => import('./doctor'),
  },
};

const packageFile = join(__dirname, '..', '..', 'package.json');
const { version } = JSON.parse(readFileSync(packageFile, 'utf8')) as { version: string };

const program = newProgram('spherenet')
  .description('Hyperspherical deep learning: trains, evaluates and measures SphereNets.')
  .version(version)
  .helpCommand(false)
  .addHelpText('after', '\nspherenet <command> --help shows the options of a command, with examples.');
for (const [name, { description }] of Object.entries(commands)) program.command(name).description(description);
program.hook('preSubcommand', async (_, command) => {
  const { define } = await commands[command.name()].load();
  define(command);
});

void runProgram(program);
