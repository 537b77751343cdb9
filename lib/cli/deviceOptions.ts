import type { Command, Option } from 'commander';
import {
  type Device, type DeviceChoice, deviceChoices, deviceInfo, type MatmulPrecision, precisions, resolveDevice, setMatmulPrecision,
} from '../device';
import { OptionError } from '../errors';
import { choiceOption } from './options';

/** Where a command computes, and how precisely. */
export interface DeviceOptions {
  device: DeviceChoice;
  precision?: MatmulPrecision;
}

/** The same for a command that trains. */
export interface TrainingDeviceOptions extends DeviceOptions {
  cudaGraph?: boolean;
}

/** `--device`, alike for every command. */
export function deviceOption(): Option {
  return choiceOption('--device <name>', 'auto: cuda where it can be used', deviceChoices, 'auto');
}

/** Adds `--device` and `--precision`. */
export function addDeviceOptions(command: Command): Command {
  const precision = 'of matrix products on cuda (default: tf32)';
  return command.addOption(deviceOption()).addOption(choiceOption('--precision <name>', precision, precisions));
}

/** Adds `--device`, `--precision` and `--cuda-graph`. */
export function addTrainingDeviceOptions(command: Command): Command {
  return addDeviceOptions(command).option('--cuda-graph', 'on cuda, replay the step as a graph: less work for the host');
}

/**
 * The device that was asked for, with the precision set. Where there is a GPU, stderr tells what `auto` has made of it.
 * @throws {DeviceError} when cuda is asked for and cannot be used, saying why.
 * @throws {OptionError} when a precision is asked for that the device has not.
 */
export function useDevice({ device: choice, precision }: DeviceOptions): Device {
  const device = resolveDevice(choice);
  if (choice === 'auto') tellChoice(device);
  if (precision === undefined) return device;
  if (device === 'cpu' && precision !== 'fp32') {
    throw new OptionError('precision', `--precision ${precision} belongs to --device cuda, but the device is cpu`);
  }
  setMatmulPrecision(precision);
  return device;
}

/**
 * {@link useDevice} for a command that trains.
 * @throws {DeviceError | OptionError}
 */
export function useTrainingDevice(options: TrainingDeviceOptions): Device {
  const device = useDevice(options);
  if (options.cudaGraph && device !== 'cuda') {
    throw new OptionError('cudaGraph', `--cuda-graph belongs to --device cuda, but the device is ${device}`);
  }
  return device;
}

/** A machine without a GPU needs no word. */
function tellChoice(device: Device): void {
  const { driver, name, reason } = deviceInfo().cuda;
  if (device === 'cuda') process.stderr.write(`Using cuda: ${name ?? reason}\n`);
  else if (driver) process.stderr.write(`Using the cpu, because cuda cannot be used: ${reason}\n`);
}
