import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hasCuda } from '../support/device';
import { runCli, startCli } from './cli';
import { writeTinyMnist } from './idx';

const commands = ['train', 'eval', 'paper', 'data', 'bench', 'doctor'];

describe('help', () => {
  test('of the program lists the commands and goes to stdout', async () => {
    const { code, stdout, stderr } = await runCli(['--help']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    for (const command of commands) expect(stdout).toMatch(new RegExp(`^  ${command}\\b.*[a-z]`, 'm'));
  });

  test.each(commands)('of %s has a description, options and examples', async (command) => {
    const { code, stdout, stderr } = await runCli([command, '--help']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(new RegExp(`^Usage: spherenet ${command} [\\s\\S]*--json[\\s\\S]*Examples:\\n  \\$ spherenet ${command}`));
  });

  test('is what no command at all gives, as wrong use', async () => {
    const { code, stdout, stderr } = await runCli([]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain('Commands:');
  });
});

describe('wrong options give one sentence that names the culprit, and exit code 2', () => {
  // Not in beforeAll(), for which concurrent tests do not wait.
  const prepared = mkdtemp(join(tmpdir(), 'spherenet-test-')).then(async (folder) => {
    await writeTinyMnist(folder, { train: 30, test: 20 });
    return folder;
  });
  afterAll(async () => {
    await rm(await prepared, { recursive: true });
  });

  /** `train` with images that are there. */
  const tiny = (...args: string[]) => [
    'train', '--data', 'mnist', '--source', '<folder>', '--output', '<folder>/run', '--batch-size', '10', ...args,
  ];

  const cases: [argument: string, args: string[]][] = [
    ['tarin', ['tarin']],
    ['--batchsize', ['train', '--batchsize', '3']],
    ['--json', ['bench', '--jsn']],
    ['--widths', ['train', '--widths', '16,x,48']],
    ['--widths', tiny('--widths', '16,32')],
    ['--network', ['train', '--network', 'cnn10']],
    ['--operator', ['train', '--operator', 'tanh']],
    ['--k', ['train', '--k', '0']],
    ['--k', ['train', '--convolution', 'plain', '--k', '0.5']],
    ['--learnable', tiny('--operator', 'linear', '--learnable', 'filter')],
    ['--convolution', ['train', '--convolution', 'spherical']],
    ['--loss', ['train', '--loss', 'triplet']],
    ['--radius', ['train', '--loss', 's-softmax']],
    ['--margin', ['train', '--loss', 'softmax', '--margin', '4']],
    ['--margin', tiny('--loss', 'ga-softmax', '--margin', '2.5')],
    ['--radius', ['train', '--loss', 's-softmax', '--radius', '0']],
    ['--iterations', ['train', '--iterations', '0']],
    ['--batch-size', tiny('--batch-size', '31')],
    ['--learning-rate', ['train', '--learning-rate', 'fast']],
    ['--milestones', tiny('--milestones', '3,2')],
    ['--seed', ['train', '--seed', '1.5']],
    ['--device', ['train', '--device', 'tpu']],
    ...(hasCuda ? [] : [['cuda', ['train', '--device', 'cuda']], ['cuda', ['bench', '--device', 'cuda']]] as typeof cases),
    ['--precision', ['train', '--precision', 'fp8']],
    ['--precision', ['bench', '--device', 'cpu', '--precision', 'bf16']],
    ['table9', ['paper', 'table9']],
    ['--cells', ['paper', 'table1', '--cells', 'sine/softmax']],
    ['--cells', ['paper', 'table1', '--cells', 'linear']],
    ['--preset', ['paper', 'table1', '--preset', 'huge']],
    ['--seeds', ['paper', 'table1', '--seeds', '0,-1']],
    ['--minutes', ['paper', 'table1', '--minutes', '0']],
    ['--iterations', ['paper', 'table1', '--iterations', '1e6.5']],
    ['--cuda-graph', ['paper', 'table1', '--device', 'cpu', '--cuda-graph']],
    ['--source', ['paper', 'table1', '--source', '/nowhere', '--output', '<folder>/paper']],
    ['--source', ['train', '--source', '/nowhere']],
    ['/nowhere.safetensors', tiny('--resume', '/nowhere.safetensors')],
    ['/nowhere.safetensors', ['eval', '/nowhere.safetensors']],
    ['checkpoint', ['eval']],
    ['name', ['data', 'cifar11']],
    ['/nowhere', ['data', 'mnist', '--source', '/nowhere']],
    ['--repeats', ['bench', '--repeats', '3']],
    ['--shapes', ['bench', '--shapes', '64x64']],
    ['--operators', ['bench', '--operators', 'sine']],
    ["'doctor'", ['doctor', 'surplus']],
  ];

  test.concurrent.each(cases)('%s: %j', async (argument, args) => {
    const folder = await prepared;
    const { code, stdout, stderr } = await runCli(args.map((arg) => arg.replace('<folder>', folder)));
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(/^((Using|Training on) [^\n]+\n)*error: [^\n]+\n$/);
    expect(stderr).toContain(argument);
  });
});

test('a reader that goes away ends the program in silence, as SIGPIPE does', async () => {
  const { child, outcome } = startCli(['train', '--help']);
  child.stdout!.destroy();
  expect(await outcome).toEqual({ code: 141, stdout: '', stderr: '' });
});

test('SPHERENET_DEBUG adds where an error came from', async () => {
  const { stderr } = await runCli(['bench', '--repeats', '3'], { SPHERENET_DEBUG: '1' });
  expect(stderr).toMatch(/^error: .*--repeats.*\n\s+at /);
});
