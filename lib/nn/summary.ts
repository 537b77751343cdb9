import { formatCount } from '../report/format';
import { textTable } from '../report/table';
import { noGrad, type Shape, Tensor, zeros } from '../tensor';
import { deviceOf, modesOf, type Module, type Parameter, requireModule } from './module';

export interface SummaryRow {
  name: string;
  /** The layer's class. */
  type: string;
  /** Of one input, without the batch. */
  outputShape: Shape;
  /** Numbers to be learned; those shared with a row above are not counted again. */
  parameters: number;
  /** Of the convolutions and matrix products, for one input. */
  multiplyAdds: number;
}

export interface Summary {
  rows: SummaryRow[];
  totals: { parameters: number; multiplyAdds: number };
}

/**
 * What a module consists of, found by running it on zeros in evaluation mode: one row for each innermost layer in the
 * order of its use. A `Classifier` is run with its head, whose output shape is that of the logits.
 * @param inputShape Of one input without the batch, such as `[32, 32, 3]`.
 * @throws {SphereNetError} what the module's forward pass throws.
 */
export function summary(module: Module, inputShape: Shape): Summary {
  requireModule('module', module);
  const rows: SummaryRow[] = [];
  const counted = new Set<Parameter>();
  const unwrap = module.namedModules().map(([name, part]) =>
    wrapForward(part, (forward, ...inputs) => {
      const rowsBefore = rows.length;
      const result = forward(...inputs);
      const output = outputOf(result);
      const isInnermost = rows.length === rowsBefore;
      if (output && inputs[0] instanceof Tensor && isInnermost) rows.push(rowOf(name, part, output.shape, counted));
      return result;
    }),
  );
  try {
    runOnZeros(module, inputShape);
  } finally {
    for (const each of unwrap) each();
  }
  return {
    rows,
    totals: {
      parameters: countNew(module.parameters(), new Set()),
      multiplyAdds: rows.reduce((sum, row) => sum + row.multiplyAdds, 0),
    },
  };
}

type Forward = (...inputs: unknown[]) => unknown;

/** Puts `wrapper` around a module's forward pass. Returns how to take it away again. */
function wrapForward(module: Module, wrapper: (forward: Forward, ...inputs: unknown[]) => unknown): () => void {
  const own = Object.getOwnPropertyDescriptor(module, 'forward');
  const forward = (Reflect.get(module, 'forward') as Forward).bind(module);
  Reflect.set(module, 'forward', wrapper.bind(null, forward));
  return () => {
    Reflect.deleteProperty(module, 'forward');
    if (own) Object.defineProperty(module, 'forward', own);
  };
}

/** The tensor that a forward pass gave; of a head, the logits. */
function outputOf(result: unknown): Tensor | null {
  const output = result instanceof Tensor ? result : (result as { logits?: unknown } | undefined)?.logits;
  return output instanceof Tensor ? output : null;
}

function rowOf(name: string, part: Module, output: Shape, counted: Set<Parameter>): SummaryRow {
  return {
    name,
    type: part.constructor.name,
    outputShape: output.slice(1),
    parameters: countNew(part.parameters(), counted),
    multiplyAdds: part.multiplyAdds?.(output) ?? 0,
  };
}

/** How many numbers there are in the parameters that were not counted before. */
function countNew(parameters: readonly Parameter[], counted: Set<Parameter>): number {
  const added = parameters.filter((parameter) => !counted.has(parameter));
  for (const parameter of added) counted.add(parameter);
  return added.reduce((sum, parameter) => sum + parameter.size, 0);
}

/** Runs a module in evaluation mode, with labels for the case that it is a classifier, and restores its mode. */
function runOnZeros(module: Module, inputShape: Shape): void {
  const restoreModes = modesOf(module);
  const forward = (Reflect.get(module, 'forward') as Forward).bind(module);
  module.eval();
  try {
    const device = deviceOf(module);
    noGrad(() => {
      forward(zeros([1, ...inputShape], { device }), zeros([1], { dtype: 'i32', device }));
    });
  } finally {
    restoreModes();
  }
}

/** The summary as a table for a terminal. */
export function formatSummary({ rows, totals }: Summary): string {
  const cells = rows.map(({ name, type, outputShape, parameters, multiplyAdds }) => [
    name, type, outputShape.join(' × '), formatCount(parameters), formatCount(multiplyAdds),
  ]);
  return textTable({
    head: ['layer', 'type', 'output', 'parameters', 'multiply-adds'],
    rows: [...cells, ['total', '', '', formatCount(totals.parameters), formatCount(totals.multiplyAdds)]],
    align: ['left', 'left', 'left', 'right', 'right'],
  });
}
